#!/usr/bin/env bash
# Counts what the program does under load, for the build that ships to be optimised by (pgo/rustc).
set -euo pipefail
cd "$(dirname "$0")/.."

profdata=${LLVM_PROFDATA:-}
if [ -z "$profdata" ]; then
    # The one that fits rustc's own LLVM.
    major=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    profdata=$(command -v "llvm-profdata-$major" || true)
    [ -n "$profdata" ] || {
        printf 'pgo: please install llvm-profdata of LLVM %s (apt-get install llvm-%s), or name it with LLVM_PROFDATA.\n' "$major" "$major" >&2
        exit 1
    }
fi
counts=$PWD/target/pgo-counts
rm -rf "$counts"
PGO_COUNT=$counts cargo build --profile dist --bin wire-scim-guard --target-dir target/pgo
python3 pgo/train.py target/pgo/dist/wire-scim-guard
"$profdata" merge --sparse -o pgo/dist.profdata "$counts"
rm -rf target/pgo target/dist
ls -l pgo/dist.profdata
