"""All files of a release: that they belong together, and what the bills of materials list."""

import hashlib
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

from guard import expect

ROOT = Path(__file__).parents[2]
IMAGE, VERSION = "registry.example.com/wire/scim-guard", "1.2.3"
ENVIRONMENT = os.environ | {"IMAGE": IMAGE, "VERSION": VERSION, "SOURCE_DATE_EPOCH": "1700000000"}


def build(binary, folder):
    # Where scripts/dist.sh leaves the same program, linked dynamically.
    program = Path(binary).parents[1] / "debug/wire-scim-guard"
    done = subprocess.run(
        [ROOT / "scripts/artefacts.sh", program, binary, folder], env=ENVIRONMENT, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])


def every_file_has_its_checksum(folder):
    names = {file.name for file in folder.iterdir()}
    kinds = sorted(re.sub(r"[-_.]?1\.2\.3(-1)?|[-_.](amd64|arm64|x86_64|aarch64)", "", name) for name in names)
    wanted = ["SHA256SUMS", "registry.example.com_wire_scim-guard.tar", "wire-scim-guard-chart.tgz"]
    wanted += ["wire-scim-guard-image.cdx.json", "wire-scim-guard-linux.tar.gz", "wire-scim-guard-wire-server-deploy.tgz"]
    expect("files", kinds, [*wanted, "wire-scim-guard.cdx.json", "wire-scim-guard.deb", "wire-scim-guard.rpm"])
    sums = dict(reversed(line.split()) for line in (folder / "SHA256SUMS").read_text().splitlines())
    found = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names - {"SHA256SUMS"}}
    expect("checksums", sums, found)


def every_chart_refers_to_the_image(folder):
    with tarfile.open(folder / f"registry.example.com_wire_scim-guard_{VERSION}.tar") as tar:
        tags = json.load(tar.extractfile("manifest.json"))[0]["RepoTags"]
    expect("tags", tags, [f"{IMAGE}:{VERSION}"])
    other = next(folder.glob("*-linux-*")).name
    charts = {
        f"wire-scim-guard-chart-{VERSION}.tgz": "wire-scim-guard",
        f"wire-scim-guard-wire-server-deploy-{VERSION}.tgz": "charts/wire-scim-guard",
        other: f"{other.removesuffix('.tar.gz')}/conf/helm/wire-scim-guard",
    }
    for archive, chart in charts.items():
        with tarfile.open(folder / archive) as tar:
            values, about = (tar.extractfile(f"{chart}/{name}").read().decode() for name in ("values.yaml", "Chart.yaml"))
        expect(f"image of {archive}", [image(values, about)], tags)
        expect(f"version of {archive}", f"version: {VERSION}\n" in about, True)
        # Only the image of the guard is another one.
        here = (ROOT / "conf/helm/wire-scim-guard/values.yaml").read_text()
        repository = "  repository: wire-scim-guard\n"
        expect(f"values of {archive}", values, here.replace(repository, f"  repository: {IMAGE}\n", 1))


def image(values, chart):
    """What the pods of a chart run by default."""
    part = re.search(r"^image:\n((?:  .*\n)+)", values, re.MULTILINE)[1]
    repository, tag = (re.search(rf"^  {name}: (.*)", part, re.MULTILINE)[1].strip('"') for name in ("repository", "tag"))
    version = re.search(r'^appVersion: "(.*)"', chart, re.MULTILINE)[1]
    return f"{repository}:{tag or version}"


def wire_server_deploy_finds_the_values(folder):
    """Its build renders charts/NAME with values/NAME/prod-values.example.yaml, to list the images."""
    with tarfile.open(folder / f"wire-scim-guard-wire-server-deploy-{VERSION}.tgz") as tar:
        files = {member.name for member in tar if member.isfile()}
        example = tar.extractfile("values/wire-scim-guard/prod-values.example.yaml").read()
    outside = {name for name in files if not name.startswith("charts/wire-scim-guard/")}
    dashboard = "dashboards/api_upload/wire-scim-guard.json"
    values = {"values/wire-scim-guard/prod-values.example.yaml", "values/wire-server/nginz-values.yaml"}
    expect("files", outside, {dashboard, *values})
    expect("example", example, (ROOT / "conf/helm/examples/between-nginz-and-spar.yaml").read_bytes())


def the_bill_of_the_image_lists_what_is_in_it(folder):
    of_program, of_image = bills(folder)
    parts, crates = ({part["purl"]: part for part in bill["components"]} for bill in (of_image, of_program))
    expect("all crates", crates.items() <= parts.items(), True)
    more = {part["name"]: part["version"] for purl, part in parts.items() if purl not in crates}
    gcc = run("gcc", "-dumpversion").split(".")[0]
    libraries = {name: installed(name) for name in ("libc6-dev", f"libgcc-{gcc}-dev")}
    pinned = re.search(r"^certifi==(\S+)", (ROOT / "packaging/requirements.txt").read_text(), re.MULTILINE)[1]
    program = of_program["metadata"]["component"]["version"]
    expect("more than crates", more, libraries | {"certifi": pinned, "wire-scim-guard": program})
    libc = next(purl for purl in parts if purl.startswith("pkg:deb/") and "/libc6-dev@" in purl)
    expect("source", libc.endswith("&upstream=glibc"), True)
    about = of_image["metadata"]["component"]
    expect("about", (about["type"], about["name"], about["version"]), ("container", IMAGE, VERSION))
    refs = {part["bom-ref"] for part in [about, *of_image["components"]]}
    expect("dependencies", {dependency["ref"] for dependency in of_image["dependencies"]}, refs)
    # What has a licence in the archive is one of the crates.
    with tarfile.open(next(folder.glob("*-linux-*"))) as tar:
        texts = tar.extractfile(next(member for member in tar if member.name.endswith("/THIRD-PARTY.txt"))).read().decode()
    linked = set(re.findall(r"^(\S+) (\d+\.\d+\.\S+) \(.*\)$", texts, re.MULTILINE))
    expect("linked crates", len(linked) > 100 and linked <= {(part["name"], part["version"]) for part in crates.values()}, True)


def bills_depend_on_nothing_but_the_sources(folder):
    again = [folder / "again.json", folder / "again-image.json"]
    subprocess.run([ROOT / "scripts/sbom.py", *again], env=ENVIRONMENT, check=True)
    for one, other in zip(again, paths_of_bills(folder), strict=True):
        text = one.read_text()
        expect(f"{other.name} again", text == other.read_text(), True)
        expect(f"paths in {other.name}", str(ROOT) in text, False)
        one.unlink()


def bills(folder):
    return [json.loads(path.read_text()) for path in paths_of_bills(folder)]


def paths_of_bills(folder):
    return [folder / f"wire-scim-guard-{VERSION}.cdx.json", folder / f"wire-scim-guard-image-{VERSION}.cdx.json"]


def installed(package):
    return run("dpkg-query", "--show", "--showformat", "${Version}", package)


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


SCENARIOS = [
    every_file_has_its_checksum,
    every_chart_refers_to_the_image,
    wire_server_deploy_finds_the_values,
    the_bill_of_the_image_lists_what_is_in_it,
    bills_depend_on_nothing_but_the_sources,
]
