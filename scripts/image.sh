#!/usr/bin/env bash
# The image of a built, static program, as an archive that `docker load`, `podman load` and `ctr images import` read.
#
#     scripts/image.sh PROGRAM FOLDER
#
# VERSION is that of Cargo.toml; IMAGE is the name without the version, such as registry.example.com/wire-scim-guard.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(realpath --canonicalize-existing "$1") out=$2
. scripts/lib/packing.sh

if ! is_static "$program"; then
    printf 'image: %s is not a static program; `LINK=static scripts/dist.sh` builds one.\n' "$1" >&2
    exit 1
fi
name=${IMAGE:-wire-scim-guard}:$version
# A name without a registry is short for this one, in containerd and Kubernetes too.
case "$name" in
*/*) full=$name ;;
*) full=docker.io/library/$name ;;
esac
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
root=$stage/root docs=$stage/root/usr/share/doc/wire-scim-guard
mkdir -p "$out" "$docs" "$root"/{usr/bin,etc/ssl/certs,tmp}
stripped "$program" "$root/usr/bin/wire-scim-guard"
# Mozilla's authorities, for backends on the internet. The machine that builds the image may trust others too; they must not be in it.
cp target/packaging/lib/python3*/site-packages/certifi/cacert.pem "$root/etc/ssl/certs/ca-certificates.crt"
printf 'wire-scim-guard:x:65532:65532::/:/sbin/nologin\n' >"$root/etc/passwd"
printf 'wire-scim-guard:x:65532:\n' >"$root/etc/group"
cp LICENSE "$docs/"
licences "$docs" --image
chmod -R u=rwX,go=rX "$root"
chmod 1777 "$root/tmp"

# A storage of its own needs no kernel support and no rights, and leaves nothing behind.
podman() {
    command podman --storage-driver vfs --root "$stage/storage" --runroot "$stage/run" --cgroup-manager cgroupfs "$@"
}
podman build --quiet --timestamp "$SOURCE_DATE_EPOCH" --platform "linux/$arch" \
    --build-arg VERSION="$version" --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
    --label org.opencontainers.image.created="$time" \
    --tag "$full" --file packaging/Containerfile "$root" >/dev/null
archive=$out/$(tr '/:' '__' <<<"$name").tar
rm -f "$archive"
podman save --quiet --format docker-archive --output "$archive" "$full"
