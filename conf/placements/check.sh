#!/usr/bin/env bash
# Shows whether a way around the guard is left: check.sh https://nginz-https.example.com
#
# Asks for a path that does not exist, in every spelling that leads to Wire's SCIM API. The guard refuses it in every mode, with
# the header Scim-Guard-Rule; an answer without that header comes from elsewhere. It leads nowhere if the same spelling of a
# path that is not SCIM (`scin`) has the same answers, and around the guard otherwise. Redirects on the same host are followed.
# Nothing is changed, and no token is needed.
# Exit code: 0 every spelling leads to the guard or nowhere, 1 at least one leads around it, 2 the check was not possible.
set -uo pipefail

[ $# -ge 1 ] || { echo "usage: check.sh URL [OPTIONS OF CURL...], such as check.sh https://nginz-https.example.com" >&2; exit 2; }
url=${1%/}
shift
options=("$@")
# Below a path of the guard it would refuse everything, whatever else is open.
if ! [[ $url =~ ^https?://[^/?#]+$ ]]; then
    echo "check: $url: give the scheme and the host only, such as https://nginz-https.example.com" >&2
    exit 2
fi
files=$(mktemp -d) || exit 2
trap 'rm -rf "$files"' EXIT

host() { # host URL
    sed 's|^[^:]*://||; s|[/?#].*||; s|.*@||; s|:[0-9]*$||' <<<"$1" | tr '[:upper:]' '[:lower:]'
}

# ask PATH: sets `status`, `rule` (of the guard, or empty), `body` and `trail` (the redirects before) of the final answer. Fails,
# with `why`, if there is none that says who answers.
ask() {
    local at=$url$1 next
    trail=
    for _ in 1 2 3 4; do
        : >"$files/head"
        : >"$files/body"
        # nginz limits the rate of requests. A .curlrc of the user's could change what is asked.
        sleep 0.05
        if ! status=$(curl -q --silent --show-error --path-as-is --globoff --proto =http,https --suppress-connect-headers \
            --max-time 10 --dump-header "$files/head" --output "$files/body" --write-out '%{http_code} %{redirect_url}' \
            ${options[@]+"${options[@]}"} "$at" 2>"$files/error"); then
            status=none
            why="${trail}no answer: $(tr -cd '[:print:]' <"$files/error")"
            return 1
        fi
        next=${status#* }
        status=${status%% *}
        # Interim responses have heads of their own.
        rule=$(awk '/^HTTP\// { r = "" } tolower($1) == "scim-guard-rule:" { r = $2 } END { print r }' "$files/head" |
            tr -cd '[:print:]')
        body=$(cksum <"$files/body")
        [ -z "$rule" ] || return 0
        case $status in
        301 | 302 | 303 | 307 | 308) ;;
        420 | 429)
            why="${trail}$status, too many requests: run the check again later"
            return 1
            ;;
        5??)
            why="${trail}$status, which does not say where it leads"
            return 1
            ;;
        *) return 0 ;;
        esac
        [ -n "$next" ] || return 0
        next=$(tr -cd '[:print:]' <<<"$next")
        trail="$trail$status to $next, "
        if [ "$(host "$next")" != "$(host "$at")" ] || [[ $at == https:* && $next != https:* ]]; then
            why="${trail}which is elsewhere: check that one too"
            return 1
        fi
        at=$next
    done
    why="${trail}too many redirects"
    return 1
}

# nowhere PATH BESIDE: whether the same comes from a path that is not SCIM. Fails with 2 if that cannot be said.
nowhere() {
    local end here
    # Wire serves the second one without a token: it differs also where a proxy replaces all answers with 404.
    for end in no-such-path ServiceProviderConfig; do
        ask "$1/$end" || return 2
        here="$status $body"
        ask "$2/$end" || return 2
        [ "$here" = "$status $body" ] || return 1
    done
}

ask /no-such-path-beside-scim
[ "$status" != none ] || { echo "check: $url: $why" >&2; exit 2; }

around=0 unclear=0 guarded=
for path in \
    /scim/v2 /scim/Users /scim/Groups \
    /v1/scim/v2 /v8/scim/v2 /v99/scim/v2 /V8/scim/v2 /v8/scim/Users \
    /SCIM/v2 /Scim/V2 /scim/V2 \
    /%73cim/v2 /%53CIM/v2 /scim/%762 /scim%2fv2 /scim%2Fv2 /%76%38/scim/v2 /v8%2fscim/v2 /%73%63%69%6d/%76%32 \
    /%2fscim/v2 \
    //scim/v2 /scim//v2 //v8//scim//v2 \
    /./scim/v2 /x/../scim/v2 /v8/../scim/v2 /scim/./v2 /scim/x/../v2 /%2e/scim/v2 /x/%2e%2e/scim/v2; do
    beside=$(sed 's/%6d/%6e/; s/m/n/; s/M/N/' <<<"$path")
    if ! ask "$path/no-such-path"; then
        printf 'unclear %s  %s\n' "$path" "$why"
        unclear=$((unclear + 1))
    elif [ -n "$rule" ]; then
        printf 'guard   %s  %s%s %s\n' "$path" "$trail" "$status" "$rule"
        guarded="$guarded $path "
    else
        answered="$trail$status"
        nowhere "$path" "$beside"
        case $? in
        0) printf 'nowhere %s  %s, like %s\n' "$path" "$answered" "$beside" ;;
        1)
            printf 'AROUND  %s  %s\n' "$path" "$answered"
            around=$((around + 1))
            ;;
        *)
            printf 'unclear %s  %s\n' "$path" "$why"
            unclear=$((unclear + 1))
            ;;
        esac
    fi
done
[ "$around" -eq 0 ] || { echo "$around spellings go around the guard."; exit 1; }
[ "$unclear" -eq 0 ] || { echo "check: $unclear spellings are unclear: a way around the guard may be left." >&2; exit 2; }
if [[ $guarded != *" /scim/v2 "* ]]; then
    echo "check: $url: /scim/v2 does not lead to the guard: is it inserted, and is this its host?" >&2
    exit 2
fi
echo "No way around the guard was found."
