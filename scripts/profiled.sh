# Sourced by scripts/dist.sh and scripts/pgo.sh.

# Compiler flags for this build: those of the environment (RUSTFLAGS), static linking, and the given ones. A static program
# runs in an image without any other file, and with the C library of every distribution. Cargo reads flags from one source
# only, and prefers the environment to its configuration files. With an explicit --target, flags are not applied to build
# scripts and procedural macros, which run at build time and can be neither static nor profiled.
profiled() { # profiled [FLAG...]
    local flags=${CARGO_ENCODED_RUSTFLAGS:-} flag
    if [ -z "$flags" ]; then
        for flag in ${RUSTFLAGS:-}; do
            flags+=${flags:+$'\x1f'}$flag
        done
    fi
    for flag in -Ctarget-feature=+crt-static "$@"; do
        # Separated by a character that no path contains.
        flags+=${flags:+$'\x1f'}$flag
    done
    export CARGO_ENCODED_RUSTFLAGS=$flags
}

host() {
    "${RUSTC:-rustc}" -vV | sed -n 's/^host: //p'
}
