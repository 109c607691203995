#!/usr/bin/env bash
# The .deb and the .rpm of a built program.
#
#     scripts/package.sh PROGRAM FOLDER
#
# VERSION is that of Cargo.toml, and MAINTAINER names who answers for the packages, as `Name <address>`.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(realpath --canonicalize-existing "$1") out=$2
. scripts/lib/packing.sh

if is_static "$program"; then
    printf 'package: %s is a static program, which must run in images only (see scripts/dist.sh).\n' "$1" >&2
    exit 1
fi
# The oldest C library that has all that the program needs.
libc=$(LC_ALL=C objdump --dynamic-syms "$program" | grep -o 'GLIBC_2[.0-9]*' | sort --unique --version-sort | tail -n 1)
libc=${libc#GLIBC_}
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$out" "$stage"/{units,licences}
stripped "$program" "$stage/wire-scim-guard"
extras "$program" "$stage"
for unit in conf/systemd/*; do
    sed 's|/usr/local/bin/|/usr/bin/|' "$unit" >"$stage/units/${unit##*/}"
done
gzip -9n <CHANGELOG.md >"$stage/changelog.gz"
licences "$stage/licences"
gzip -9n "$stage/licences/THIRD-PARTY.txt"
# Files have the modes of this folder, whatever the umask is.
chmod -R u=rwX,go=rX "$stage"

maintainer=${MAINTAINER:-wire-scim-guard <wire-scim-guard@localhost>}
cat >"$stage/changelog.yaml" <<EOF
- semver: "$version"
  date: $time
  packager: "$maintainer"
  deb: {urgency: medium, distributions: [stable]}
  changes:
    - note: Release $version. changelog.gz lists the changes.
EOF
config=$(<packaging/nfpm.yaml)
for variable in STAGE=$stage ARCH=$arch VERSION=$version LIBC=$libc MAINTAINER="$maintainer"; do
    config=${config//"\${${variable%%=*}}"/${variable#*=}}
done
printf '%s\n' "$config" >"$stage/nfpm.yaml"
for format in deb rpm; do
    target/packaging/bin/nfpm package --config "$stage/nfpm.yaml" --packager "$format" --target "$out" >/dev/null
done
