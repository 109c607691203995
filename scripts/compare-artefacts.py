#!/usr/bin/env python3
"""Compares two builds of the same release: says which files differ, and which parts of them."""

import gzip
import hashlib
import io
import sys
import tarfile
from pathlib import Path


def main():
    first, second = (files(Path(argument)) for argument in sys.argv[1:3])
    different = [name for name in sorted(first | second) if first.get(name) != second.get(name)]
    for name in different:
        where = "only in one of them" if name not in first or name not in second else "differs"
        print(f"{name}: {where}")
        if where == "differs":
            one, other = (dict(parts(Path(folder) / name)) for folder in sys.argv[1:3])
            for part in sorted(one | other):
                if one.get(part) != other.get(part):
                    print(f"    {part}: {one.get(part, 'is missing')} and {other.get(part, 'is missing')}")
    print(f"{len(first | second) - len(different)} files are the same, {len(different)} differ")
    return 1 if different else 0


def files(folder):
    # The checksums follow from the other files.
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "SHA256SUMS"}


def parts(file):
    """The parts of a file, (path, what is compared): members of archives, also of archives in archives."""
    yield from of_bytes(file.name, file.read_bytes())


def of_bytes(name, data):
    if data[:2] == b"\x1f\x8b":
        yield f"{name} (header of gzip)", data[:10].hex()
        yield from of_bytes(name.removesuffix(".gz").removesuffix(".tgz"), gzip.decompress(data))
    elif data[:8] == b"!<arch>\n":
        for member, header, content in ar_members(data):
            yield f"{name}/{member} (header)", header
            yield from of_bytes(f"{name}/{member}", content)
    elif data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                path = f"{name}/{member.name.removeprefix('./')}"
                yield f"{path} (header)", f"{member.mode:o} {member.uid}:{member.gid} {member.mtime} {member.linkname}"
                if member.isfile():
                    yield from of_bytes(path, tar.extractfile(member).read())
    else:
        yield name, f"{len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()[:16]}"


def ar_members(data):
    at = 8
    while at + 60 <= len(data):
        header = data[at : at + 60]
        size = int(header[48:58])
        yield header[:16].decode().strip().rstrip("/"), header[16:48].decode(), data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2


if __name__ == "__main__":
    sys.exit(main())
