#!/usr/bin/env bash
# All files of a release, of built programs: packages, image, chart, an archive for other systems, the bill of materials, and
# their checksums.
#
#     scripts/artefacts.sh PROGRAM STATIC-PROGRAM FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(realpath "$1") static=$(realpath "$2") out=$3
. scripts/lib/packing.sh

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
rm -rf "$out"
mkdir -p "$out"
scripts/package.sh "$program" "$out"
scripts/image.sh "$static" "$out"

archive "$out/wire-scim-guard-chart-$version.tgz" conf/helm wire-scim-guard

name=wire-scim-guard-$version-linux-$arch
mkdir "$stage/$name"
stripped "$program" "$stage/$name/wire-scim-guard"
extras "$program" "$stage/$name"
licences "$stage/$name"
cp -r LICENSE README.md CHANGELOG.md SECURITY.md docs conf "$stage/$name/"
archive "$out/$name.tar.gz" "$stage" "$name"

cargo cyclonedx --quiet --format json --override-filename wire-scim-guard
mv wire-scim-guard.json "$out/wire-scim-guard-$version.cdx.json"

cd "$out"
sha256sum -- * >SHA256SUMS
