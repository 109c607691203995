# Sourced by the scripts that make what is shipped out of a built program.

version=${VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)}

case "$(uname -m)" in
x86_64) arch=amd64 ;;
aarch64) arch=arm64 ;;
*) arch=$(uname -m) ;;
esac

# The time of all files, so that the same sources give the same bytes: that of the last commit.
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)
fi
export SOURCE_DATE_EPOCH
time=$(date --utc --date "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)

# The program without what only debuggers read. The build that ships has none of it.
stripped() { # stripped PROGRAM FILE
    strip --strip-all -o "$2" "$1"
    chmod 755 "$2"
}

# What the program says of itself, and files for those who run it.
extras() { # extras PROGRAM FOLDER
    local program=$1 folder=$2 shell
    mkdir -p "$folder"/{man,completions,share}
    "$program" man "$folder/man" >/dev/null
    gzip -9n "$folder"/man/*
    for shell in bash fish zsh; do
        "$program" completions "$shell" >"$folder/completions/$shell"
    done
    "$program" config schema >"$folder/share/config.schema.json"
    cp conf/wire-scim-guard.yaml "$folder/share/config.yaml"
    cp conf/tokens.yaml conf/grafana/wire-scim-guard.json conf/prometheus/wire-scim-guard.rules.yaml "$folder/share/"
}

is_static() { # is_static PROGRAM
    ! LC_ALL=C readelf --program-headers "$1" | grep -q INTERP
}

# The licences of what is linked into the program, or of all that is in the image.
licences() { # licences FOLDER [--image]
    local folder=$1
    shift
    scripts/licences.py "$@" >"$folder/THIRD-PARTY.txt"
}

# An archive whose bytes depend on nothing but the files.
archive() { # archive FILE FOLDER NAME...
    local file=$1 folder=$2
    shift 2
    tar --create --sort=name --format=ustar --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        --mode=u=rwX,go=rX --directory="$folder" "$@" | gzip -9n >"$file"
}
