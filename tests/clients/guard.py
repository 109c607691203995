"""A running guard for test scenarios: a separate process that is reached over real sockets and stopped at the end."""

import json
import socket
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request

WAIT_TIMEOUT = 20


class Process:
    """A program that prints the line `ready` to standard output once it has started."""

    def __init__(self, command):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        killer = threading.Timer(WAIT_TIMEOUT, self.process.kill)
        killer.start()
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if self.lines[-1] == "ready":
                break
        killer.cancel()
        if not self.lines or self.lines[-1] != "ready":
            raise RuntimeError(f"{command} did not start: {self.errors()}")

    def value(self, name):
        """The rest of the line that begins with this word."""
        return next(line.split(" ", 1)[1] for line in self.lines if line.startswith(name + " "))

    def errors(self):
        self.log.seek(0)
        return self.log.read()[-2000:]

    def stop(self):
        self.process.terminate()
        try:
            return self.process.wait(WAIT_TIMEOUT)
        finally:
            self.process.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Demo(Process):
    """The guard in front of the embedded Wire."""

    def __init__(self, binary, profile="documented"):
        options = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--profile", profile]
        super().__init__([binary, "demo", *options])
        self.url = self.value("guard")
        self.curl_lines = [line for line in self.lines if line.startswith("curl ")]
        self.token = self.curl_lines[0].split("Bearer ")[1].split("'")[0]

    def request(self, method, path, body=None):
        return request(self.url, self.token, method, path, body)


def request(url, token, method, path, body=None):
    """Sends one SCIM request; returns status and JSON body."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/scim+json"}
    if data is not None:
        headers["Content-Type"] = "application/scim+json"
    ask = urllib.request.Request(url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(ask, timeout=WAIT_TIMEOUT) as answer:
            return answer.status, parsed(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, parsed(error.read())


def parsed(body):
    return json.loads(body) if body else None


def raw_request(url, message):
    """Sends a request byte for byte; returns status and body."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=WAIT_TIMEOUT) as connection:
        connection.sendall(message)
        stream = connection.makefile("rb")
        status = int(stream.readline().split(b" ")[1])
        length = 0
        while (line := stream.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return status, parsed(stream.read(length))


def expect(what, got, wanted):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r}, wanted {wanted!r}")


def run(scenarios):
    """Runs scenarios, (name, function) pairs, and prints a line for each and a summary; returns the exit code."""
    failed = 0
    for name, scenario in scenarios:
        try:
            scenario()
            print(f"ok      {name}", flush=True)
        except Exception as error:  # any exception fails the scenario, and the next one runs
            failed += 1
            print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
    print(f"{len(scenarios) - failed} scenarios passed, {failed} failed")
    return 1 if failed else 0
