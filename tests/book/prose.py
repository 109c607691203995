"""The commands and settings that are named in the text between the blocks: a command has the options that are named, and a
setting of the config is one that `config check` accepts."""

import re

from blocks import FENCE

INLINE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
COMMAND = re.compile(r"^wire-scim-guard ((?:[a-z][a-z-]*(?: |$)){1,2})(.*)$")
OPTION = re.compile(r"(?<![\w-])--[a-z-]+")
PLACEHOLDER = re.compile(r"\.\.\.|…|\b[A-Z]+\b")


def inline_code(text):
    """The pieces of code within the text, on one line each."""
    prose, fence = [], None
    for line in text.split("\n"):
        match = FENCE.match(line)
        if fence is None and match:
            fence = match["fence"]
        elif fence and match and match["fence"].startswith(fence):
            fence = None
        elif fence is None:
            prose.append(line)
    paragraphs = "\n".join(prose).split("\n\n")
    return [" ".join(found[2].split()) for paragraph in paragraphs for found in INLINE.finditer(paragraph)]


def settings(example):
    """The keys at the top of the config, from the file that lists all of them."""
    return set(re.findall(r"^#?([a-z0-9_]+):", example, re.MULTILINE))


def faults(path, text, keys, program, accepted):
    """What is wrong with the commands and settings of a page. `program` runs the guard's program, `accepted` checks a config."""
    found = []
    for code in inline_code(text):
        command = COMMAND.match(code)
        key = re.match(r"^([a-z0-9_]+): \S", code)
        if command:
            names = command[1].split()
            help_text = next((done.stdout for count in (2, 1) if (done := program(*names[:count], "--help")).returncode == 0), "")
            missing = [option for option in OPTION.findall(command[2]) if option not in help_text]
            if missing or not help_text:
                found.append(f"{path}: `{code}`: there is no {', '.join(missing) or 'such command'}")
        elif key and key[1] in keys and not PLACEHOLDER.search(code):
            message = accepted(code)
            if message:
                found.append(f"{path}: `{code}`: {message}")
    return found
