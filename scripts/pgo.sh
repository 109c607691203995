#!/usr/bin/env bash
# The training run: counts what the program executes under load (pgo/train.py), for the build that ships to be optimised
# by (scripts/dist.sh). Writes pgo/dist.profdata, and pgo/dist.inputs with a hash of what was trained.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/profiled.sh

profdata=${LLVM_PROFDATA:-}
if [ -z "$profdata" ]; then
    # The counts can be read by the LLVM version of rustc only.
    major=$("${RUSTC:-rustc}" -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    profdata=$(command -v "llvm-profdata-$major" || true)
    [ -n "$profdata" ] || {
        printf 'pgo: please install llvm-profdata of LLVM %s (apt-get install llvm-%s), or name it with LLVM_PROFDATA.\n' "$major" "$major" >&2
        exit 1
    }
fi
counts=$PWD/target/pgo-counts
rm -rf "$counts"
# Before the build: sources that are edited meanwhile make the profile stale.
inputs=$(scripts/profile-inputs.sh)
profiled "-Cprofile-generate=$counts"
triple=$(host)
"${CARGO:-cargo}" build --profile dist --bin wire-scim-guard --target "$triple" --target-dir target/pgo
python3 pgo/train.py "target/pgo/$triple/dist/wire-scim-guard"
"$profdata" merge --sparse -o pgo/dist.profdata "$counts"
printf '%s\n' "$inputs" >pgo/dist.inputs
rm -rf target/pgo "$counts"
ls -l pgo/dist.profdata
