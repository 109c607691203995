# Sourced by scripts/dist.sh and scripts/pgo.sh.

# Compiler flags for this build: those of the environment (RUSTFLAGS), and the given one. Cargo reads flags from one
# source only, and prefers the environment to its configuration files. With an explicit --target, flags are not applied
# to build scripts and procedural macros, which run at build time and need no profile.
profiled() { # profiled [FLAG]
    local flags=${CARGO_ENCODED_RUSTFLAGS:-} flag
    if [ -z "$flags" ]; then
        for flag in ${RUSTFLAGS:-}; do
            flags+=${flags:+$'\x1f'}$flag
        done
    fi
    if [ $# -gt 0 ]; then
        flags+=${flags:+$'\x1f'}$1
    fi
    if [ -n "$flags" ]; then
        # Separated by a character that no path contains.
        export CARGO_ENCODED_RUSTFLAGS=$flags
    fi
}

host() {
    "${RUSTC:-rustc}" -vV | sed -n 's/^host: //p'
}
