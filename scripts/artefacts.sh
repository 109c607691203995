#!/usr/bin/env bash
# All files of a release, of built programs: packages, image, chart, what wire-server-deploy takes, an archive for other systems, the
# bills of materials, and their checksums.
#
#     scripts/artefacts.sh PROGRAM STATIC-PROGRAM FOLDER
#
# VERSION, MAINTAINER and IMAGE as in scripts/package.sh and scripts/image.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(realpath --canonicalize-existing "$1")
static=$(realpath --canonicalize-existing "$2") out=$3
. scripts/lib/packing.sh

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
rm -rf "$out"
mkdir -p "$out"
scripts/package.sh "$program" "$out"
scripts/image.sh "$static" "$out"

# The chart refers to the image of this release.
cp -r conf/helm "$stage/charts"
chart=$stage/charts/wire-scim-guard
sed -i "0,/^  repository: .*/s||  repository: ${IMAGE:-wire-scim-guard}|" "$chart/values.yaml"
sed -i -e "s/^version: .*/version: $version/" -e "s/^appVersion: .*/appVersion: \"$version\"/" "$chart/Chart.yaml"
archive "$out/wire-scim-guard-chart-$version.tgz" "$stage/charts" wire-scim-guard

# To be unpacked in the folder of wire-server-deploy: it renders each chart with the example of the same name, to know its images.
mkdir -p "$stage"/offline/{charts,values/wire-scim-guard,values/wire-server,dashboards/api_upload}
cp -r "$chart" "$stage/offline/charts/"
cp "$stage/charts/examples/between-nginz-and-spar.yaml" "$stage/offline/values/wire-scim-guard/prod-values.example.yaml"
cp conf/placements/nginz-values.yaml "$stage/offline/values/wire-server/"
cp conf/grafana/upload/wire-scim-guard.json "$stage/offline/dashboards/api_upload/"
archive "$out/wire-scim-guard-wire-server-deploy-$version.tgz" "$stage/offline" charts dashboards values

name=wire-scim-guard-$version-linux-$arch
mkdir "$stage/$name"
stripped "$program" "$stage/$name/wire-scim-guard"
extras "$program" "$stage/$name"
licences "$stage/$name"
cp -r LICENSE README.md CHANGELOG.md SECURITY.md docs conf "$stage/$name/"
cp -r "$stage/charts/." "$stage/$name/conf/helm/"
archive "$out/$name.tar.gz" "$stage" "$name"

scripts/sbom.py "$out/wire-scim-guard-$version.cdx.json" "$out/wire-scim-guard-image-$version.cdx.json"

cd "$out"
sha256sum -- * >SHA256SUMS
