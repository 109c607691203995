#!/usr/bin/env bash
# The build that ships: profile `dist`, optimised by the profile of the training run (pgo/dist.profdata, `make pgo`).
#
#     scripts/dist.sh                          builds the program, into target/dist/wire-scim-guard
#     scripts/dist.sh EXAMPLE                  builds an example in the same way, into target/dist/examples/EXAMPLE
#     LINK=static scripts/dist.sh              builds a static program, for images, into target/dist-static/
#     LINK=static BUILD=debug scripts/dist.sh  the same for tests, without optimisation, into target/debug-static/
#
# A static program must run in images only: where /etc/nsswitch.conf names modules for host names, it would load those of the
# host's C library into its own, and crash if that is of another version.
#
# A profile of other sources or of another compiler is refused, because the compiler would silently ignore its counts
# for every function that has changed. Where there is none, and with PGO=off, the build has no profile, and says so.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/profiled.sh

target=${CARGO_TARGET_DIR:-target}
profile=pgo/dist.profdata
pgo=${PGO:-on}
triple=$(host)
case "${BUILD:-dist}" in
dist)
    options=(--profile dist --target "$triple") built=$target/$triple/dist out=$target/dist
    # The allocator, in C, would contain the time of its compilation.
    export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0}
    ;;
debug) options=() built=$target/debug out=$target/debug pgo=none ;;
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
    # Under a name of its own, and with the time of the first copy: cargo builds again when a flag or that time changes, and not when
    # the profile does.
    mkdir -p "$target/dist"
    sum=$(sha256sum "$profile")
    copy=$target/dist/${sum:0:16}.profdata
    [ -e "$copy" ] || cp "$profile" "$copy"
    profiled "-Cprofile-use=$(realpath "$copy")"
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
if [ "${LINK:-}" = static ]; then
    # Only the last step differs, so that the crates need not be compiled again.
    out=$out-static
    "${CARGO:-cargo}" rustc "${options[@]}" "$kind" "$name" -- -Ctarget-feature=+crt-static
else
    "${CARGO:-cargo}" build "${options[@]}" "$kind" "$name"
fi
mkdir -p "$out/$folder"
if [ "$out" != "$built" ]; then
    # Replaced as a whole, so that a program that runs from there does not matter.
    cp "$built/$folder$name" "$out/$folder$name.new"
    mv "$out/$folder$name.new" "$out/$folder$name"
fi
if [ "${LINK:-}" = static ] && [ "${BUILD:-dist}" = debug ]; then
    # What the other tests expect at this place.
    "${CARGO:-cargo}" build --quiet "$kind" "$name"
fi
