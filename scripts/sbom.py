#!/usr/bin/env python3
"""Writes the bills of materials, as CycloneDX: of the program, which is crates, and of the image, which has the program, the
libraries of C that the static program is linked with, and the authorities of certificates. IMAGE and VERSION name the image.

    scripts/sbom.py PROGRAM.cdx.json IMAGE.cdx.json
"""

import json
import os
import platform
import sys
from pathlib import Path
from urllib.parse import quote

from licences import ARCHIVES, ROOT, certifi, debian_package, run

LICENCES = {"libc.a": "LGPL-2.1-or-later", "libgcc_eh.a": "GPL-3.0-or-later WITH GCC-exception-3.1"}


def main():
    of_program = crates()
    for file, bill in zip(sys.argv[1:3], (of_program, of_image(of_program)), strict=True):
        Path(file).write_text(json.dumps(bill, indent=2) + "\n")


def crates():
    name = "bill-of-materials"
    run("cargo", "cyclonedx", "--quiet", "--format", "json", "--override-filename", name)
    file = ROOT / f"{name}.json"
    text = file.read_text()
    file.unlink()
    # Names do not depend on where the sources are.
    return json.loads(text.replace(f"path+file://{ROOT}#", ""))


def of_image(of_program):
    program = of_program["metadata"]["component"]
    parts = [*map(debian_component, ARCHIVES.values()), authorities()]
    name, version = os.environ.get("IMAGE") or "wire-scim-guard", os.environ.get("VERSION") or program["version"]
    image = {"type": "container", "bom-ref": f"{name}:{version}", "name": name, "version": version}
    dependencies = [{"ref": image["bom-ref"], "dependsOn": [part["bom-ref"] for part in (program, *parts)]}]
    dependencies += [{"ref": part["bom-ref"]} for part in parts]
    return of_program | {
        "metadata": of_program["metadata"] | {"component": image},
        "components": [program, *parts, *of_program["components"]],
        "dependencies": [*dependencies, *of_program["dependencies"]],
    }


def debian_component(archive):
    show = ("dpkg-query", "--show", "--showformat", "${Package} ${Version} ${Architecture} ${source:Package}")
    name, version, architecture, source = run(*show, debian_package(archive)).split()
    system = platform.freedesktop_os_release()
    # Advisories are about source packages, which scanners take from `upstream`.
    qualifiers = f"arch={architecture}&distro={system['ID']}-{system['VERSION_ID']}&upstream={quote(source)}"
    return component(name, version, LICENCES[archive], f"pkg:deb/{system['ID']}/{quote(name)}@{quote(version)}?{qualifiers}")


def authorities():
    version, _ = certifi()
    return component("certifi", version, "MPL-2.0", f"pkg:pypi/certifi@{version}")


def component(name, version, licence, purl):
    licences = [{"expression": licence}]
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "licenses": licences, "purl": purl}


if __name__ == "__main__":
    main()
