#!/usr/bin/env python3
"""The admin listener's page in a real browser, Chromium, while the guard has traffic: what it shows without
scripts, on a wide screen and on a phone, in light and dark. The screenshots stay in the folder that is printed."""

import argparse
import html.parser
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "prometheus"))
sys.path.insert(0, str(ROOT / "tests" / "clients"))
from guard import Process  # noqa: E402
from guards import ask, check, failures, guard, hash_of, traffic, wait_until  # noqa: E402


class Text(html.parser.HTMLParser):
    """The text of a page after the browser has loaded it."""

    def __init__(self, page):
        super().__init__()
        self.parts = []
        self.skipped = 0
        self.feed(page)

    def handle_starttag(self, tag, _):
        self.skipped += tag in ("style", "script")

    def handle_endtag(self, tag):
        self.skipped -= tag in ("style", "script")

    def handle_data(self, data):
        if not self.skipped:
            self.parts.append(data)

    def __str__(self):
        return " ".join(" ".join(self.parts).split())


def browse(folder, url, *options):
    """Runs the browser once; returns its output, and its errors, which name what a policy has blocked."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
               "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--enable-logging=stderr",
               f"--user-data-dir={folder}/profile", *options, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout, done.stderr


def inspect(folder, admin):
    # The console shows what happens to elements that Content-Security-Policy refuses.
    page, errors = browse(folder, admin, "--dump-dom")
    text = str(Text(page))
    for part in ("Wire SCIM Guard", "serving", "What was refused and reported", "user.user_name", "okta:", "Repairs", "language",
                 "POST /scim/v2/Users, at userName", "Is it safe to enforce?", "your policy", "in rotation",
                 "Token registry", "Certificates", "tls.crt", "The next to expire is okta", "one.yaml"):
        check(f"the page shows {part!r}", part in text, "" if part in text else text[:2000])
    check("the browser blocked nothing", "Content Security Policy" not in errors, errors[-500:] if failures else "")
    for personal in ("king", "user.1", "User.Upper", "@example.com", "no good"):
        check(f"the page does not show {personal!r}", personal not in page)
    pictures = {
        "wide-light": ("1280,1600",), "phone-light": ("390,1600",), "book": ("1000,1100",),  # docs/images/page.png
        "wide-dark": ("1280,1600", "--blink-settings=preferredColorScheme=0"),
        "phone-dark": ("390,1600", "--blink-settings=preferredColorScheme=0"),
    }
    sizes = {}
    for name, (size, *options) in pictures.items():
        picture = folder / f"{name}.png"
        browse(folder, admin, f"--screenshot={picture}", f"--window-size={size}", *options)
        sizes[name] = picture.stat().st_size if picture.exists() else 0
        check(f"screenshot {name}", sizes[name] > 20_000, f"{picture}, {sizes[name]} bytes")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--out", help="folder for the screenshots; default: a new one")
    arguments = parser.parse_args()
    binary = str(Path(arguments.binary).resolve())
    folder = Path(arguments.out or tempfile.mkdtemp(prefix="guard-page-"))
    folder.mkdir(parents=True, exist_ok=True)
    with Process([binary, "standin"]) as standin:
        token = standin.value("token")
        backend = standin.value("standin").removeprefix("http://")
        program, url, admin = guard(binary, folder, "one", backend, hash_of(binary, token))
        with program:
            stop = threading.Event()
            sender = threading.Thread(target=traffic, args=(url, token, stop))
            sender.start()
            try:
                state = lambda: json.loads(ask(f"{admin}/i/state")[1])
                wait_until("traffic", lambda: len(state()["rules"]) > 5)
                inspect(folder, admin)
            finally:
                stop.set()
                sender.join()
    print(f"{len(failures)} failed; screenshots: {folder}")
    sys.exit(bool(failures))


main()
