#!/usr/bin/env bash
# All tests. A step prints output only if it fails; the last line has the number of steps that passed and failed.
set -uo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never INSTA_UPDATE=no

passed=0
failed=0
step() { # step NAME COMMAND...: runs a step and counts the result
    local name=$1 began=$SECONDS
    shift
    printf -- '--- %s\n' "$name"
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED: %s\n' "$name"
    fi
    printf '    %d s\n' $((SECONDS - began))
}

# What an embedding service compiles has no dependency of the program's. (Pingora depends on clap itself.)
library_is_alone() {
    local tree direct
    tree=$(cargo tree --quiet --no-default-features --edges normal --prefix none --format '{p}') || return 1
    direct=$(cargo tree --quiet --no-default-features --edges normal --prefix none --format '{p}' --depth 1) || return 1
    ! grep -E '^(indicatif|ldap3|mimalloc|redis|rpassword|ureq|opentelemetry-proto|prost) ' <<<"$tree" &&
        ! grep -E '^clap ' <<<"$direct"
}

# What only reads sources and keeps a processor busy.
checks() {
    step 'lints' cargo clippy --quiet --all-targets -- -D warnings
    step 'the library alone' cargo clippy --quiet --lib --no-default-features -- -D warnings
    step 'dependencies of the library alone' library_is_alone
    step 'lints of the Python' target/venv/bin/ruff check --isolated --quiet --no-cache --select F,E4,E9,RUF100 .
    step 'documentation' env RUSTDOCFLAGS='-D warnings' cargo doc --quiet --no-deps --document-private-items
}

# What runs the program, and mostly waits.
tests() {
    step 'differential, 20,000 cases' python3 tests/differential/run.py --binary "$binary" --cases 20000 --seed 7
    step 'real clients' target/venv/bin/python tests/clients/run.py --binary "$binary"
    step 'preflight, with a real OpenLDAP' python3 tests/preflight/run.py --binary "$binary"
    step 'hostile HTTP/2' target/venv/bin/python tests/http2/run.py --binary "$binary"
    step 'hostile HTTP/2 over TLS' target/venv/bin/python tests/http2/run.py --tls --binary "$binary"
    step 'nginx in front' target/venv/bin/python tests/nginx/run.py --binary "$binary"
    step 'nginx behind, over TLS' target/venv/bin/python tests/nginx/tls.py --binary "$binary"
    step 'configs, documents and commands of the book' python3 tests/book/run.py --binary "$binary"
    step 'pictures of the book' python3 scripts/pictures.py --check
    step 'sizes in the book' python3 benches/scaling/simulate.py --check
    step 'WebSocket' target/venv/bin/python tests/websocket/run.py --binary "$binary"
    step 'WebSocket over TLS' target/venv/bin/python tests/websocket/run.py --tls --binary "$binary"
    # The last of these, as they wait for the cargo that checks.
    step 'tests that mostly wait' cargo test --quiet --no-fail-fast "${waiting[@]}" -- --test-threads=8
    step 'unit and socket tests' cargo test --quiet --no-fail-fast --lib --bins "${others[@]}"
}

# Of tests/*.rs, those that leave the processors idle, and the others.
waiting=() others=()
for file in tests/*.rs; do
    name=$(basename "$file" .rs)
    case $name in
    compare | live) waiting+=(--test "$name") ;;
    *) others+=(--test "$name") ;;
    esac
done

binary=${CARGO_TARGET_DIR:-target}/debug/wire-scim-guard
step 'format' cargo fmt --check
step 'build' cargo build --quiet --all-targets

# Side by side; the output of the checks follows that of the tests.
beside=$(mktemp)
(
    passed=0 failed=0
    checks
    printf '%d %d\n' "$passed" "$failed" >"$beside.counts"
) >"$beside" 2>&1 &
tests
wait
cat "$beside"
read -r more_passed more_failed <"$beside.counts"
rm -f "$beside" "$beside.counts"
passed=$((passed + more_passed))
failed=$((failed + more_failed))

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
