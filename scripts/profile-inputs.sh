#!/usr/bin/env bash
# Prints a hash of what a profile of the training run is valid for: the compiled sources, the locked dependencies, the
# features and build profiles of Cargo.toml, and the compiler. scripts/pgo.sh stores it next to the profile, and
# scripts/dist.sh compares it.
set -euo pipefail
cd "$(dirname "$0")/.."

{
    "${RUSTC:-rustc}" -vV
    # The sections [features] and [profile.*], up to the next section.
    awk '/^\[/ { wanted = /^\[(features|profile[].])/ } wanted' Cargo.toml
    # Modules of tests are not compiled into it.
    find src -type f -name '*.rs' ! -name tests.rs ! -path '*/tests/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum -- Cargo.lock
} | sha256sum | cut -d ' ' -f 1
