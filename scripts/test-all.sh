#!/usr/bin/env bash
# `make test`, every `make test-...`, and `make book`: installs the tools of all first, goes on after a failure, and ends with the
# seconds of each.
set -uo pipefail
cd "$(dirname "$0")/.."

mapfile -t groups < <(sed -n 's/^\(test-[a-z0-9]*\):.*/\1/p' Makefile | grep -vx test-all | sort)
passed=0
failed=0
lines=()
group() { # group NAME COMMAND...
    local name=$1 began=$SECONDS outcome
    shift
    printf '=== %s\n' "$name"
    if "$@"; then
        passed=$((passed + 1)) outcome=ok
    else
        failed=$((failed + 1)) outcome=FAILED
    fi
    lines+=("$(printf '%-8s%-24s%5d s' "$outcome" "$name" $((SECONDS - began)))")
}

group 'tools of all groups' scripts/setup.sh test book "${groups[@]#test-}"
for name in test "${groups[@]}" book; do
    group "$name" make --no-print-directory "$name"
done
printf '=== in all: %d s\n' "$SECONDS"
printf '%s\n' "${lines[@]}"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
