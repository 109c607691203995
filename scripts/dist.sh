#!/usr/bin/env bash
# The build that ships: a static program in Cargo's profile `dist`, optimised by the profile of the training run
# (pgo/dist.profdata, `make pgo`).
#
#     scripts/dist.sh                builds the program, into target/dist/wire-scim-guard
#     scripts/dist.sh EXAMPLE        builds an example in the same way, into target/dist/examples/EXAMPLE
#     BUILD=debug scripts/dist.sh    builds a static program for tests in a minute, into target/dist-debug/
#
# A profile of other sources or of another compiler is refused, because the compiler would silently ignore its counts
# for every function that has changed. Where there is none, and with PGO=off, the build has no profile, and says so.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/profiled.sh

target=${CARGO_TARGET_DIR:-target}
profile=pgo/dist.profdata
pgo=${PGO:-on}
case "${BUILD:-dist}" in
dist) built=dist out=$target/dist options=(--profile dist) ;;
debug)
    built=debug out=$target/dist-debug options=() pgo=none
    export CARGO_PROFILE_DEV_DEBUG=none
    ;;
*)
    printf 'dist: BUILD is `%s`; it can be `dist` or `debug`.\n' "$BUILD" >&2
    exit 1
    ;;
esac
if [ "$pgo" = on ] && [ ! -e "$profile" ]; then
    printf 'dist: there is no profile yet (`make pgo` trains one); the program will be slower.\n' >&2
    pgo=none
fi
case "$pgo" in
on)
    if [ "$(cat pgo/dist.inputs 2>/dev/null)" != "$(scripts/profile-inputs.sh)" ]; then
        printf 'dist: pgo/dist.profdata was not trained with these sources and this compiler: train it again with `make pgo`, or build without it with `make dist PGO=off`.\n' >&2
        exit 1
    fi
    # Under a name of its own, because cargo builds again when a flag changes, and not when the profile does.
    mkdir -p "$target/dist"
    sum=$(sha256sum "$profile")
    cp "$profile" "$target/dist/${sum:0:16}.profdata"
    profiled "-Cprofile-use=$(realpath "$target/dist/${sum:0:16}.profdata")"
    ;;
off)
    printf 'dist: building without a profile (PGO=off); the program will be slower.\n' >&2
    profiled
    ;;
none) profiled ;;
*)
    printf 'dist: PGO is `%s`; it can be `on` or `off`.\n' "$PGO" >&2
    exit 1
    ;;
esac

name=wire-scim-guard kind=--bin folder=
if [ $# -gt 0 ]; then
    name=$1 kind=--example folder=examples/
fi
triple=$(host)
"${CARGO:-cargo}" build "${options[@]}" --target "$triple" "$kind" "$name"
mkdir -p "$out/$folder"
# Replaced as a whole, so that a program that runs from there does not matter.
cp "$target/$triple/$built/$folder$name" "$out/$folder$name.new"
mv "$out/$folder$name.new" "$out/$folder$name"
