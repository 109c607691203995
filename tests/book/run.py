#!/usr/bin/env python3
"""Runs or checks every block of the book: configs, documents and commands. blocks.py says what is done with which."""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clients"))
import machine
import prose
from blocks import Block, Fault, blocks
from guard import Process
from machine import ROOT
from session import Session, commands, pattern

HASH = "sha512:vfEIPKF/aEkAcFoj7PaTbWEdzabRKOt4jwY/cMzWFFi6yyoMMpd3RzK2kDiGPVQKEVvJjxW/7p+oXcF40u0zvQ=="
NEEDED = {"listen": 'listen: ["127.0.0.1:8080"]', "upstream": 'upstream: {servers: ["nginz.wire:8080"]}'}


class Page:
    """One file of the book, with a folder and a shell of its own."""

    def __init__(self, path, folder, binary):
        self.path, self.folder, self.binary = path, folder, binary
        self.last, self.output = "", ""  # of the last sh block

    def faults(self):
        try:
            found = blocks(str(self.path.relative_to(ROOT)), self.path.read_text())
        except Fault as fault:
            return [str(fault)], 0
        faults = []
        shows_commands = any(block.info.startswith(("console", "sh")) for block in found)
        with Session(self.folder, self.binary) as self.session:
            if shows_commands:
                with Process([self.binary, "standin", "--listen", f"{machine.BACKENDS}:8080"]):
                    self.treat_all(found, faults)
            else:
                self.treat_all(found, faults)
        name = str(self.path.relative_to(ROOT))
        keys = prose.settings((ROOT / "conf/wire-scim-guard.yaml").read_text())
        faults += prose.faults(name, self.path.read_text(), keys, self.program, self.rejected)
        return faults, len(found)

    def treat_all(self, found, faults):
        for block in found:
            try:
                block.read_info()
                if "file" in block.attributes:
                    (self.folder / block.attributes["file"]).write_text(block.text.replace("sha512:...", HASH))
                if "not-run" not in block.attributes:
                    getattr(self, block.language)(block)
            except Fault as fault:
                faults.append(f"{block}: {fault}")

    def yaml(self, block):
        text, kind = block.text, block.attributes.keys() & {"fragment", "register", "bridge"}
        if kind == {"bridge"}:
            return self.bridge(text)
        text = text.replace("sha512:...", HASH)
        if kind == {"register"}:
            (self.folder / "checked-tokens.yaml").write_text(text if "tokens:" in text else f"tokens:\n{text}")
            text = "tokens: checked-tokens.yaml"
        elif not kind and not all(re.search(f"^{key}:", text, re.M) for key in NEEDED):
            raise Fault("a whole config has `listen` and `upstream`; of some keys say `fragment`")
        message = self.rejected(text)
        if message:
            raise Fault(message)

    def rejected(self, text):
        """What `config check` says of a config, or of some keys of one; empty if it accepts it."""
        missing = [line for key, line in NEEDED.items() if not re.search(f"^{key}:", text, re.M)]
        (self.folder / "checked.yaml").write_text("\n".join([text, *missing, ""]))
        done = self.program("config", "check", "--config", "checked.yaml")
        return "" if done.returncode == 0 else f"config check:\n{done.stdout}{done.stderr}"

    def bridge(self, text):
        (self.folder / "checked.yaml").write_text(text)
        (self.folder / "empty.ldif").write_text("version: 1\n")
        done = self.program("preflight", "--bridge-config", "checked.yaml", "--ldif", "empty.ldif", "--format", "json")
        summary = json.loads(done.stdout.splitlines()[-1])["summary"] if done.stdout else {}
        faults = [fault for fault in summary.get("config", []) if not fault["message"].startswith("the search finds no")]
        if done.returncode != 0 or faults:
            raise Fault(f"preflight: {faults} {done.stderr}")

    def json(self, block):
        try:
            for line in [block.text] if block.text.startswith("{\n") else block.text.splitlines():
                json.loads(line)
        except ValueError as error:
            raise Fault(f"no JSON: {error}") from None
        for kind in block.attributes.keys() & {"user", "patch", "group"}:
            self.check(kind, block)

    def check(self, kind, block):
        repairs = block.attributes.get("repairs", "")
        (self.folder / "checked.yaml").write_text("\n".join([*NEEDED.values(), f"repairs: [{repairs}]", ""]))
        (self.folder / "checked.json").write_text(block.text)
        done = self.program("check", "--config", "checked.yaml", "--kind", kind, "--json", "checked.json")
        verdict = json.loads(done.stdout)
        expected = block.attributes.get("refused")
        if verdict["rule"] != expected:
            raise Fault(f"expected {expected or 'acceptance'}, got {verdict['rule'] or 'acceptance'}: {verdict['detail']}")

    def program(self, *arguments):
        return subprocess.run([self.binary, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=60)

    def console(self, block):
        all_commands = commands(block.text)
        for at, (command, expected) in enumerate(all_commands):
            if "background" in block.attributes:
                self.session.run_in_background(command, expected)
                continue
            output, status = self.session.run(command)
            expect_output(command, output, expected)
            if at == len(all_commands) - 1:
                expect_status(block, command, status)

    def sh(self, block):
        self.last = block.text.strip()
        if "background" not in block.attributes:
            self.output, status = self.session.run(block.text)
            if status != int(block.attributes.get("status", 0)):
                raise Fault(f"exit code {status}:\n{self.output}")
        else:
            self.output = None

    def text(self, block):
        if "output" in block.attributes and self.output is None:
            self.session.run_in_background(self.last, block.text)
        elif "output" in block.attributes:
            expect_output(self.last, self.output, block.text)

    def http(self, _):
        """Nothing is run."""


def expect_output(command, output, expected):
    if not re.match(pattern(expected), f"{output.rstrip()}\n" if output.strip() else ""):
        raise Fault(f"`{command}` printed something else than expected:\n{output}")


def expect_status(block, command, status):
    expected = block.attributes.get("status")
    if expected is not None and status != int(expected):
        raise Fault(f"`{command}`: exit code {status}, not {expected}")


def faulty_blocks_are_found(binary, folder):
    """Blocks that must fail, so that a runner that lets everything pass is noticed."""
    samples = [
        ("yaml", "nonsense: 1\n"), ("yaml fragment", "rules: {mode: perhaps}\n"), ("yaml register", "tokens: [{label: a}]\n"),
        ("yaml bridge", "logLevel: Loud\n"), ("json", "{\n"), ("json user", '{"userName": "a@example.com"}\n'),
        ('json user refused="user.roles"', '{"userName":"alice","externalId":"a@example.com","displayName":"A"}\n'),
        ("console", "$ echo one\ntwo\n"), ('console status="1"', "$ true\n"), ("sh", "false\n"), ("", "text\n"),
        ("powershell", "Get-Item\n"), ("sh not-run", "true\n"), ("sh later", "true\n"), ("console", "no command\n"),
        ("console background", "$ echo one\ntwo\n"), ("text output", "not printed\n"),
    ]
    faults = []
    for info, text in samples:
        page = Page(ROOT / "README.md", folder, binary)
        found = []
        with Session(folder, binary) as page.session:
            page.treat_all([Block("sample", 1, info, text)], found)
        if not found:
            faults.append(f"the runner finds no fault in ```{info}\n{text}```")
    for text in ("`wire-scim-guard check --nonsense`", "`wire-scim-guard nonsense now`", "`rules: {mode: perhaps}`"):
        if not prose.faults("sample", text, {"rules"}, page.program, page.rejected):
            faults.append(f"the runner finds no fault in {text}")
    return faults, len(samples)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--only", default="", help="only pages whose path contains this")
    options = parser.parse_args()
    binary = str(Path(options.binary).resolve())
    failed = total = 0
    with tempfile.TemporaryDirectory() as temporary:
        machine.enter(temporary)
        shared = machine.shared_files(Path(temporary) / "shared")

        def folder(name):
            return Path(shutil.copytree(shared, Path(temporary) / name.replace("/", "-")))

        pages = [("the runner itself", lambda: faulty_blocks_are_found(binary, folder("samples")))]
        for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
            name = str(path.relative_to(ROOT))
            if options.only in name:
                pages.append((name, lambda path=path, name=name: Page(path, folder(name), binary).faults()))
        for name, treat in pages:
            faults, count = treat()
            print(f"{'FAILED' if faults else 'ok    '}  {name}: {count} blocks", flush=True)
            for fault in faults:
                print(f"    {fault}", flush=True)
            failed += len(faults)
            total += count
    print(f"{total} blocks, {failed} faults")
    return 1 if failed else 0


sys.exit(main())
