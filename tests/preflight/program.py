"""Runs the program and parses its output."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "clients"))
from guard import WAIT_TIMEOUT, expect

BINARY = [None]


class Folder:
    """A folder that is removed at the end."""

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="preflight"))

    def file(self, name, content):
        path = self.path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def run(*options, stdin=b"", environment=None):
    """Runs preflight; returns exit code, standard output and standard error."""
    command = [BINARY[0], "preflight", *map(str, options)]
    env = {**os.environ, **(environment or {})}
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=WAIT_TIMEOUT * 6, env=env)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def preflight(*options, text=False, **more):
    """Runs preflight; returns exit code, the lines of the JSON output (as strings or parsed), and standard error."""
    code, out, err = run(*options, "--format", "json", **more)
    lines = out.splitlines()
    return code, lines if text else [json.loads(line) for line in lines], err


def contains(what, text, *parts):
    for part in parts:
        if part not in text:
            raise AssertionError(f"{what}: {part!r} is not in {text!r}")


__all__ = ["BINARY", "WAIT_TIMEOUT", "Folder", "contains", "expect", "preflight", "run"]
