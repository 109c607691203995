"""The commands of one page, in its folder, one after the other in one shell."""

import os
import re
import subprocess
import threading
import time

from blocks import Fault

COMMAND_TIMEOUT = 120
END = "end-of-command"


class Session:
    def __init__(self, folder, binary):
        self.folder = folder
        path = f"{os.path.dirname(os.path.abspath(binary))}:{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "HOME": str(folder), "LC_ALL": "C.UTF-8"}
        self.shell = self.started(["bash", "--noprofile", "--norc"], stdin=subprocess.PIPE)
        self.running = None

    def started(self, command, **options):
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, start_new_session=True, **options)

    def run(self, command):
        """The output of a command, and its exit code."""
        self.shell.stdin.write(f"{command}\nprintf '\\n%s %s\\n' {END} $?\n")
        self.shell.stdin.flush()
        killer = threading.Timer(COMMAND_TIMEOUT, self.shell.kill)
        killer.start()
        output = []
        for line in self.shell.stdout:
            if line.startswith(END + " "):
                killer.cancel()
                return "".join(output).removesuffix("\n"), int(line.split()[1])
            output.append(line)
        raise Fault(f"`{command}` has ended the shell, or took too long; it printed:\n{''.join(output)}")

    def run_in_background(self, command, expected):
        """Starts a program, and waits until it has printed what is expected."""
        self.stop_background()
        self.running = self.started(["bash", "-c", f"exec {command}"])
        lines, done = [], re.compile(pattern(expected).removesuffix(r"\Z"))
        reader = threading.Thread(target=lambda: lines.extend(()) or [lines.append(line) for line in self.running.stdout])
        reader.daemon = True
        reader.start()
        end = time.monotonic() + COMMAND_TIMEOUT
        while not done.match("".join(lines)):
            if time.monotonic() > end or self.running.poll() is not None:
                raise Fault(f"`{command}` did not print what is expected, but:\n{''.join(lines)}")
            time.sleep(0.05)

    def stop_background(self):
        if self.running:
            self.running.terminate()
            self.running.wait(COMMAND_TIMEOUT)
            self.running = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop_background()
        self.shell.kill()
        self.shell.wait()


def commands(text):
    """The commands of a console block with the lines that follow each."""
    found = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append([line[2:], []])
        elif not found:
            raise Fault("a console block begins with `$ `")
        elif not found[-1][1] and (found[-1][0].endswith(("\\", "|")) or line.startswith("> ")):
            found[-1][0] += "\n" + line.removeprefix("> ")
        else:
            found[-1][1].append(line)
    return [(command, "\n".join(lines)) for command, lines in found]


def pattern(expected):
    """A regular expression for an output, in which `...` stands for any text or lines."""
    lines = []
    for line in expected.splitlines():
        if line.strip() == "...":
            lines.append(r"(?:.*\n)*?")
        else:
            lines.append(".*".join(re.escape(part) for part in line.rstrip().split("...")) + r"[ \t]*\n")
    return "".join(lines) + r"\n*\Z"
