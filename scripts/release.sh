#!/usr/bin/env bash
# A release, in one command: `make release VERSION=1.2.3`.
#
# Sets the version where it is written, dates the section of the changelog, trains the profile if it is stale, and commits
# that. Then builds all files twice, from nothing, compares them, and tags the commit. Can be repeated after a failure: what is done
# already is left as it is. Nothing is published.
#
# MAINTAINER names who answers for the packages, as `Name <address>`; IMAGE is the name of the image without the version.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    printf 'release: %s\n' "$1" >&2
    exit 1
}

version=${1:-}
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || fail 'please name the version: make release VERSION=1.2.3'
maintainer='^[^<>]+ <[^<> ]+@[^<> ]+>$'
[[ ${MAINTAINER:-} =~ $maintainer ]] ||
    fail "please say who answers for the packages: make release VERSION=$version MAINTAINER='Name <address>'"
[ -z "$(git status --porcelain)" ] || fail 'there are changes that are not committed; see git status.'

# tests/dist/release.rs looks for places that this does not know.
set_version() {
    local any='[0-9]\+\.[0-9]\+\.[0-9]\+'
    sed -i "0,/^version = \".*\"/s//version = \"$version\"/" Cargo.toml
    # The line after the name of this package.
    sed -i "/^name = \"wire-scim-guard\"\$/{n;s/.*/version = \"$version\"/}" Cargo.lock fuzz/Cargo.lock
    sed -i -e "s/^version: .*/version: $version/" -e "s/^appVersion: .*/appVersion: \"$version\"/" conf/helm/wire-scim-guard/Chart.yaml
    sed -i "s|\(/wire-scim-guard, tag: \"\)$any|\1$version|" conf/helm/examples/*.yaml
    sed -i "s/\(wire-scim-guard[-a-z]*[-_:]\)$any/\1$version/g" README.md docs/*.md
}

# The items of a section of the changelog.
changes() { # changes HEADING
    awk -v heading="## $1" 'index($0, heading) == 1 { within = 1; next } /^## / { within = 0 } within && /^- /' CHANGELOG.md
}

prepare() {
    local section=Unreleased
    if grep -q "^## $version " CHANGELOG.md; then
        section="$version "
    fi
    [ -n "$(changes "$section")" ] || fail "CHANGELOG.md says nothing about $version; write it below \`## Unreleased\`, and commit it."
    set_version
    if [ "$section" = Unreleased ]; then
        sed -i "s/^## Unreleased\$/&\n\n## $version - $(date --utc +%Y-%m-%d)/" CHANGELOG.md
    fi
    if [ "$(cat pgo/dist.inputs 2>/dev/null)" != "$(scripts/profile-inputs.sh)" ]; then
        scripts/setup.sh pgo
        scripts/pgo.sh
    fi
    if [ -n "$(git status --porcelain)" ]; then
        git commit --quiet --all --message "Release $version"
    fi
}

tagged=$(git rev-parse --quiet --verify "refs/tags/v$version^{commit}" || true)
if [ -z "$tagged" ]; then
    prepare
elif [ "$tagged" != "$(git rev-parse HEAD)" ]; then
    fail "the tag v$version is another commit: a release that was published keeps its version, so take a new one. If nothing was, delete the tag (git tag --delete v$version), and repeat this."
fi

commit=$(git rev-parse HEAD)
scripts/setup.sh package image sbom
# Each time in the same folder, made anew: names of symbols, and so the order of the code, depend on the profile's path.
target=${CARGO_TARGET_DIR:-target}/release-build
build() { # build FOLDER
    rm -rf "$target"
    CARGO_TARGET_DIR=$target scripts/dist.sh
    CARGO_TARGET_DIR=$target LINK=static scripts/dist.sh
    scripts/artefacts.sh "$target/dist/wire-scim-guard" "$target/dist-static/wire-scim-guard" "$1"
}

build "dist/$version"
build dist/again
rm -rf "$target"
scripts/compare-artefacts.py "dist/$version" dist/again || fail "dist/$version and dist/again differ; see the lines above."
rm -rf dist/again
if [ -z "$tagged" ]; then
    git tag --annotate "v$version" --message "wire-scim-guard $version" "$commit"
fi
cat "dist/$version/SHA256SUMS"
