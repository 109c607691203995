#!/usr/bin/env python3
"""Builds the book of docs/ into target/book, and checks every link and anchor, in the Markdown files and in the built pages.

Files keep their paths, so that a link leads to the same file here and in the book: SUMMARY.md is the only one that is changed.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE, BOOK = ROOT / "target" / "book-src", ROOT / "target" / "book"
PROGRAMS = ROOT / "target" / "venv-book" / "bin"
FOLDERS = ("docs", "conf", "examples")


def assemble():
    shutil.rmtree(SOURCE, ignore_errors=True)
    SOURCE.mkdir(parents=True)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, SOURCE / folder)
    for path in [*ROOT.glob("*.md"), ROOT / "LICENSE"]:
        shutil.copy(path, SOURCE)
    summary = (SOURCE / "docs" / "SUMMARY.md").read_text()
    (SOURCE / "docs" / "SUMMARY.md").unlink()
    summary = re.sub(r"\]\((?!\.\./)", "](docs/", summary).replace("](../", "](")
    (SOURCE / "SUMMARY.md").write_text(summary)
    listed = set(re.findall(r"\]\(([^)]+)\)", summary))
    pages = {str(path.relative_to(SOURCE)) for path in (SOURCE / "docs").rglob("*.md")}
    if pages - listed:
        sys.exit(f"docs/SUMMARY.md does not list {', '.join(sorted(pages - listed))}")


def run(program, *arguments):
    done = subprocess.run([PROGRAMS / program, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{program} failed:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def main():
    assemble()
    shutil.rmtree(BOOK, ignore_errors=True)
    told = run("mdbook", "build")
    if "WARN" in told:
        sys.exit(told)
    check = ("--offline", "--include-fragments", "--no-progress")
    sources = [str(path) for path in [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]]
    run("lychee", *check, *sources)
    pages = [str(path) for path in sorted(BOOK.rglob("*.html")) if path.name != "404.html"]
    run("lychee", *check, "--root-dir", str(BOOK), *pages)
    print(f"{BOOK.relative_to(ROOT)}/index.html: {len(pages)} pages, all links lead somewhere")


main()
