#!/usr/bin/env python3
"""Builds the book of docs/ into target/book, and checks every link and anchor, in the Markdown files and in the built pages.

Files keep their paths, so that a link leads to the same file here and in the book. A link whose text is the name of a page gets the
page's title instead.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE, BOOK = ROOT / "target" / "book-src", ROOT / "target" / "book"
PROGRAMS = ROOT / "target" / "venv-book" / "bin"
NAMED_LINK = re.compile(r"\[([\w/.-]+\.md)\]\(([^)#]+)([^)]*)\)")
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


def sources():
    return [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]


def assemble():
    shutil.rmtree(SOURCE, ignore_errors=True)
    SOURCE.mkdir(parents=True)
    shutil.copytree(ROOT / "docs", SOURCE / "docs")
    for page in sources():
        copy = SOURCE / page.relative_to(ROOT)
        copy.write_text(NAMED_LINK.sub(lambda link: titled(page, link), page.read_text()))
        for link in LINK.findall(page.read_text()):
            linked = (page.parent / link).resolve()
            if linked.is_file() and linked.suffix != ".md" and linked.is_relative_to(ROOT):
                copy = SOURCE / linked.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(linked, copy)
    summary = (SOURCE / "docs" / "SUMMARY.md").read_text()
    (SOURCE / "docs" / "SUMMARY.md").unlink()
    summary = re.sub(r"\]\((?!\.\./)", "](docs/", summary).replace("](../", "](")
    (SOURCE / "SUMMARY.md").write_text(summary)
    listed = set(LINK.findall(summary))
    pages = {str(path.relative_to(SOURCE)) for path in (SOURCE / "docs").rglob("*.md")}
    if pages - listed:
        sys.exit(f"docs/SUMMARY.md does not list {', '.join(sorted(pages - listed))}")


def titled(page, link):
    """The link with the title of the page that it leads to."""
    title = re.search(r"^# (.+)$", (page.parent / link[2]).read_text(), re.MULTILINE)[1]
    return f"[{title}]({link[2]}{link[3]})"


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
    run("lychee", *check, *map(str, sources()))
    pages = [str(path) for path in sorted(BOOK.rglob("*.html")) if path.name != "404.html"]
    run("lychee", *check, "--root-dir", str(BOOK), *pages)
    print(f"{BOOK.relative_to(ROOT)}/index.html: {len(pages)} pages, all links lead somewhere")


main()
