#!/usr/bin/env bash
# Shows whether a way around the guard is left: check.sh https://nginz-https.example.com
#
# Asks for a path that does not exist, in every spelling that leads to Wire's SCIM API. The guard refuses it in every mode, with
# the header Scim-Guard-Rule; an answer without that header comes from elsewhere. Nothing is changed, and no token is needed.
# Exit code: 0 every spelling goes to the guard, 1 at least one goes around it, 2 the check was not possible.
set -uo pipefail

[ $# -ge 1 ] || { echo "usage: check.sh URL [OPTIONS OF CURL...], such as check.sh https://nginz-https.example.com" >&2; exit 2; }
url=${1%/}
shift
options=("$@")

ask() { # ask PATH: the answer's head and body
    # One request at a time and a moment between them: nginz limits their rate.
    sleep 0.1
    curl --silent --show-error --include --path-as-is --max-time 20 "${options[@]}" "$url$1"
}

answer() { # answer TEXT: its status and body, without what differs from request to request
    sed -n '1p; /^\r*$/,$p' <<<"$1"
}

nowhere=$(ask /no-such-path-beside-scim) || { echo "check: $url does not answer." >&2; exit 2; }
nowhere=$(answer "$nowhere")

around=0
for path in \
    /scim/v2 /scim/Users /scim/Groups \
    /v1/scim/v2 /v8/scim/v2 /v99/scim/v2 /V8/scim/v2 /v8/scim/Users \
    /SCIM/v2 /Scim/V2 /scim/V2 \
    /%73cim/v2 /%53CIM/v2 /scim/%762 /scim%2fv2 /scim%2Fv2 /%76%38/scim/v2 /v8%2fscim/v2 /%73%63%69%6d/%76%32 \
    //scim/v2 /scim//v2 //v8//scim//v2 \
    /./scim/v2 /x/../scim/v2 /v8/../scim/v2 /scim/./v2 /scim/x/../v2 /%2e/scim/v2 /x/%2e%2e/scim/v2; do
    got=$(ask "$path/no-such-path") || { echo "check: no answer to $path" >&2; exit 2; }
    status=$(sed -n '1s/[^ ]* \([0-9]*\).*/\1/p' <<<"$got")
    if rule=$(grep -i '^scim-guard-rule:' <<<"$got"); then
        printf 'guard   %s  %s %s\n' "$path" "$status" "$(cut -d' ' -f2 <<<"$rule" | tr -d '\r')"
    elif [ "$(answer "$got")" = "$nowhere" ]; then
        printf 'nowhere %s  %s, like any path that does not exist\n' "$path" "$status"
    elif [ "$status" = 400 ] && grep -qi '^server: *\(nginx\|envoy\)' <<<"$got"; then
        printf 'refused %s  400, before any service\n' "$path"
    else
        printf 'AROUND  %s  %s\n' "$path" "$status"
        around=$((around + 1))
    fi
done
[ "$around" -eq 0 ] || { echo "$around spellings go around the guard."; exit 1; }
echo "No way around the guard was found."
