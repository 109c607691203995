"""The fenced blocks of Markdown files, and what the runner does with each.

The word after the fence is the language; attributes follow it, as in ```sh not-run="needs a cluster".

yaml                a whole config of the guard: `config check` accepts it
yaml fragment       some keys of one: the same, with the keys `listen` and `upstream` added where they are missing
yaml register       a token registry, or entries of one: the same, as the file that `tokens` names
yaml bridge         a config of ldap-scim-bridge, or the keys of its parts: `preflight` finds no fault in it
json                lines of JSON
json user, json patch, json group: `check` accepts the document;
    refused="RULE"  or refuses it by this rule;
    repairs="NAMES" with these repairs
console             commands after `$ `, each with the output that it must have; `...` stands for any text or lines
sh                  commands to copy, which must succeed
text output         what the sh block before it must have printed; `...` as above
text, http          other output, a drawing, or what the tests have recorded: nothing is run

file="NAME"         the block is kept as this file in the folder of its page (yaml, json, text)
background          (console, sh) the command goes on running until the page ends, or the next block with `background` begins
status="N"          (console, sh) the exit code of the last command
not-run="REASON"    nothing is run, for this reason
"""

import re
from dataclasses import dataclass, field

LANGUAGES = {
    "yaml": {"fragment", "register", "bridge", "file", "not-run"},
    "json": {"user", "patch", "group", "refused", "repairs", "file", "not-run"},
    "console": {"background", "status", "not-run"},
    "sh": {"background", "status", "not-run"},
    "powershell": {"not-run"},
    "rust": {"not-run"},
    "ini": {"not-run"},
    "http": set(),
    "text": {"file", "output"},
}
MUST_NOT_RUN = {"powershell", "rust", "ini"}
WITH_VALUE = {"refused", "repairs", "file", "status", "not-run"}
FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>.*)$")
ATTRIBUTE = re.compile(r' +([a-z-]+)(?:="([^"]*)")?')


class Fault(Exception):
    """What is wrong with a block."""


@dataclass
class Block:
    path: str
    line: int
    info: str
    text: str = ""
    language: str = ""
    attributes: dict = field(default_factory=dict)

    def __str__(self):
        return f"{self.path}:{self.line}"

    def read_info(self):
        """Takes the info string apart; a block whose treatment is not stated is a fault."""
        self.language, rest = re.match(r"([a-z]*)(.*)", self.info.strip()).groups()
        if self.language not in LANGUAGES:
            raise Fault(f"say what the block is: {', '.join(LANGUAGES)}")
        position = 0
        for found in ATTRIBUTE.finditer(rest):
            if found.start() != position:
                break
            position = found.end()
            name, value = found.groups()
            if name not in LANGUAGES[self.language]:
                raise Fault(f"{self.language} has no attribute {name}")
            if (name in WITH_VALUE) != bool(value):
                raise Fault(f"{name} {'needs' if name in WITH_VALUE else 'has no'} value")
            self.attributes[name] = value or True
        if rest[position:].strip():
            raise Fault(f"unreadable: {rest[position:]}")
        if self.language in MUST_NOT_RUN and "not-run" not in self.attributes:
            raise Fault('it cannot be run here: say why, not-run="..."')


def blocks(path, text):
    """All fenced blocks of a file, in order."""
    found, fence = [], None
    for number, line in enumerate(text.split("\n"), 1):
        match = FENCE.match(line)
        if fence is None and match:
            indent, fence = len(match["indent"]), match["fence"]
            found.append(Block(path, number, match["info"]))
        elif match and match["fence"].startswith(fence) and not match["info"].strip():
            fence = None
        elif fence is not None:
            found[-1].text += line.removeprefix(" " * indent) + "\n"
    if fence is not None:
        raise Fault(f"{found[-1]}: the block has no end")
    return found
