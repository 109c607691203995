#!/usr/bin/env python3
"""Prints the licences of everything that is linked into the program: crates, with the C code that some bring along, and Rust's
standard library; with --image also of what else is in the image: the C library, and the authorities of certificates. Fails if there
is no text for one of them."""

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMES = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)([-._].*)?", re.IGNORECASE)
# Folders of crates with files that are not compiled.
NOT_LINKED = {"tests", "test", "benches", "examples", "fuzz", "doc", "docs", ".github"}

# The static C library and the compiler's support library, by the archives that are linked.
ARCHIVES = {"GNU C Library": "libc.a", "GCC support library": "libgcc_eh.a"}
COMMON = Path("/usr/share/common-licenses")

# For crates that are published without a text of their own.
MIT = """Copyright (c) {authors}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software
is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES
OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE
LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."""


def main():
    texts = defaultdict(list)
    without = []
    packages = linked_packages()
    own = {package["id"]: texts_of(package) for package in packages}
    for package in packages:
        name = f"{package['name']} {package['version']} ({package['license']})"
        found = own[package["id"]] or shared_texts(package, packages, own) or standard_text(package)
        if not found:
            without.append(name)
        for text in found:
            texts[text].append(name)
    is_image = "--image" in sys.argv
    for name, files in [("Rust's standard library", rust_texts()), *(image_texts() if is_image else [])]:
        if not files:
            without.append(name)
        for file in files:
            texts[file.read_text(errors="replace").strip()].append(name)
    if without:
        sys.exit(f"licences: there is no text for {', '.join(without)}. (Rust's is in the component rust-docs, C's in libc6-dev.)")
    print("wire-scim-guard is linked with the following software. Each list of names is followed by its licence.\n")
    if is_image:
        print("The GNU C Library is linked statically. Its source is part of Debian, and the program can be linked with another")
        print("version of it by building it from its own source, which is published under the Apache License 2.0.")
        print("\nThe image also has Mozilla's authorities of certificates: the file cacert.pem of the Python package certifi, unchanged.")
    for text, names in sorted(texts.items(), key=lambda item: sorted(item[1])):
        print("\n" + "=" * 100)
        for name in sorted(set(names)):
            print(name)
        print("=" * 100 + "\n")
        print(text)


def linked_packages():
    """All packages that the program is linked with, which those for building and testing it are not."""
    target = re.search(r"^host: (.*)", run("rustc", "-vV"), re.MULTILINE)[1]
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target]
    metadata = json.loads(run(*command))
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    own = metadata["resolve"]["root"]
    seen, queue = {own}, [own]
    while queue:
        for dependency in nodes[queue.pop()]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            is_macro = "proc-macro" in packages[dependency["pkg"]]["targets"][0]["kind"]
            if None in kinds and not is_macro and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                queue.append(dependency["pkg"])
    return sorted((packages[name] for name in seen - {own}), key=lambda package: package["name"])


def texts_of(package):
    folder = Path(package["manifest_path"]).parent
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - NOT_LINKED)
        files += [Path(parent) / name for name in sorted(names) if NAMES.fullmatch(name)]
    return [file.read_text(errors="replace").strip() for file in files if file.suffix != ".rs"]


def shared_texts(package, packages, texts):
    """The texts of a crate from the same repository: some repositories have one file for all of their crates."""
    others = [other for other in packages if package["repository"] and other["repository"] == package["repository"]]
    return next((texts[other["id"]] for other in others if texts[other["id"]]), [])


def standard_text(package):
    alternatives = re.split(r" OR |/", package["license"].strip("()"))
    if "Apache-2.0" in alternatives:
        return [(ROOT / "LICENSE").read_text().strip()]
    if "MIT" in alternatives:
        authors = ", ".join(package["authors"]) or f"the authors of {package['name']}"
        return [MIT.format(authors=authors)]
    return []


def rust_texts():
    """What Rust's own documentation says of its library."""
    documents = Path(run("rustc", "--print", "sysroot").strip()) / "share/doc/rust"
    copyrights = documents / "COPYRIGHT-library.html"
    return [copyrights, documents / "licenses/Apache-2.0.txt"] if copyrights.exists() else []


def image_texts():
    """What is in the image besides, as Debian's packages and certifi have its licences."""
    for name, archive in ARCHIVES.items():
        owner = debian_package(archive)
        yield name, existing(Path("/usr/share/doc") / owner / "copyright") if owner else []
    yield "GNU C Library", existing(COMMON / "LGPL-2.1")
    version, folder = certifi()
    name = f"Mozilla's authorities of certificates, certifi {version} (MPL-2.0)"
    for file in (folder / "licenses/LICENSE", COMMON / "MPL-2.0"):
        yield name, existing(file)


def existing(file):
    return [file] if file.exists() else []


def debian_package(archive):
    """The package with an archive that cc links, or an empty string."""
    path = Path(run("cc", f"-print-file-name={archive}").strip()).resolve()
    lines = run("dpkg-query", "--search", f"*{path.name}").splitlines() if path.is_absolute() else []
    return next((line.split(":")[0] for line in lines if line.endswith(str(path).removeprefix("/usr"))), "")


def certifi():
    """The version of the package with the authorities, as scripts/setup.sh installs it, and the folder that describes it."""
    folders = list(ROOT.glob("target/packaging/lib/python3*/site-packages/certifi-*.dist-info"))
    if len(folders) != 1:
        sys.exit("licences: certifi is not installed; run scripts/setup.sh image.")
    return folders[0].name.removeprefix("certifi-").removesuffix(".dist-info"), folders[0]


def run(*command):
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
