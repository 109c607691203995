"""A backend that counts what reaches it, guards in front of it, and clients of both."""

import base64
import collections
import http.client
import http.server
import json
import os
import secrets
import socketserver
import subprocess
import threading
import time
import uuid

from stores import wait_until
from ports import free_port

KEY = "0123456789abcdef0123456789abcdef"


def new_token():
    return base64.b64encode(secrets.token_bytes(32)).decode()


def new_users(count):
    return [str(uuid.uuid4()) for _ in range(count)]


class Backend:
    """Answers 204 to every DELETE, 200 to everything else, 404 for users in `absent` and 401 for tokens in `refused`."""

    def __init__(self):
        self.lock = threading.Lock()
        self.deleted = []
        self.seen = collections.Counter()
        self.absent = set()
        self.refused = set()
        backend = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                user = self.path.rsplit("/", 1)[-1]
                token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
                with backend.lock:
                    backend.seen[token] += 1
                    status = 204 if self.command == "DELETE" else 200
                    if user in backend.absent:
                        status = 404
                    if token in backend.refused:
                        status = 401
                    if status == 204 or b'"value": false' in body and status == 200:
                        backend.deleted.append(user)
                self.send_response(status)
                content = b"" if status == 204 else b"{}"
                if status != 204:
                    self.send_header("content-length", str(len(content)))
                    self.send_header("content-type", "application/scim+json")
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_DELETE = do_POST = do_PATCH = answer

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def reached(self):
        """How many different users were taken away."""
        with self.lock:
            return len(set(self.deleted))


class Guard:
    def __init__(self, binary, folder, name, backend, shared, more="", tokens=None, env=None):
        self.name, self.folder, self.binary = name, folder, binary
        self.backend, self.tokens = backend, tokens
        self.config = folder / f"{name}.yaml"
        (folder / "key").write_text(KEY + "\n")
        if tokens is not None:
            entries = [f"- {{label: {label}, hash: \"{hash_of(binary, token)}\"{rest}}}\n" for label, token, rest in tokens]
            (folder / f"{name}.tokens.yaml").write_text("tokens:\n" + "".join(entries))
        self.log = folder / f"{name}.log"
        self.environment = {**os.environ, **(env or {})}
        # Another program may take a port that was free.
        while not self.start(shared, more):
            pass

    def start(self, shared, more):
        self.port, self.admin = free_port(), free_port()
        self.write(shared, more)
        command = [self.binary, "serve", "--config", str(self.config)]
        self.process = subprocess.Popen(command, stdout=self.log.open("ab"), stderr=subprocess.STDOUT, env=self.environment)
        wait_until(f"guard {self.name}", lambda: self.ask_admin("/i/status")[0] == 200 or self.process.poll() is not None)
        if self.process.poll() is not None and "cannot listen" not in self.log_text():
            raise RuntimeError(f"guard {self.name}: {self.log_text()[-2000:]}")
        return self.process.poll() is None

    def write(self, shared, more=""):
        tokens = f"tokens: {self.name}.tokens.yaml\n" if self.tokens is not None else ""
        self.config.write_text(
            f"listen: [\"127.0.0.1:{self.port}\"]\nadmin: {{listen: \"127.0.0.1:{self.admin}\"}}\n"
            f"upstream: {{servers: [\"127.0.0.1:{self.backend.port}\"]}}\nthreads: 1\nlog: {{access: false}}\n"
            f"{tokens}shared: {{{shared}}}\n{more}")

    def ask_admin(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def metric(self, series):
        for line in self.ask_admin("/metrics")[1].splitlines():
            name, _, value = line.rpartition(" ")
            if name == series:
                return float(value)
        return None

    def is_up(self):
        return self.metric("scim_guard_shared_up") == 1

    def is_listening(self):
        return self.metric("scim_guard_shared_listening") == 1

    def ready_text(self):
        return self.ask_admin("/i/ready")[1]

    def log_text(self):
        return self.log.read_text()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        finally:
            self.process.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Outcome:
    """What became of some requests."""

    def __init__(self):
        self.lock = threading.Lock()
        self.by = collections.Counter()
        self.seconds = []

    def add(self, status, rule, seconds):
        with self.lock:
            self.by[rule or status] += 1
            self.seconds.append(seconds)

    def __getitem__(self, key):
        return self.by[key]

    def passed(self):
        return sum(count for key, count in self.by.items() if isinstance(key, int) and key < 300)

    def text(self):
        ordered = sorted(self.seconds)
        p99 = ordered[int(len(ordered) * 0.99)] if ordered else 0
        kinds = ", ".join(f"{count} {key}" for key, count in sorted(self.by.items(), key=str))
        return f"{kinds}; median {ordered[len(ordered) // 2] * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, most {ordered[-1] * 1000:.1f} ms"


class Connection:
    """One client's connection to one guard."""

    def __init__(self, guard, token):
        self.connection = http.client.HTTPConnection("127.0.0.1", guard.port, timeout=30)
        self.token = token

    def send(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            headers["Content-Type"] = "application/scim+json"
            body = json.dumps(body)
        began = time.monotonic()
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("scim-guard-rule"), time.monotonic() - began, answer

    def delete(self, user):
        return self.send("DELETE", f"/scim/v2/Users/{user}")

    def set_active(self, user, active):
        body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                "Operations": [{"op": "replace", "path": "active", "value": active}]}
        return self.send("PATCH", f"/scim/v2/Users/{user}", body)

    def close(self):
        self.connection.close()


def send_all(guards, token, requests, threads=8):
    """Sends requests, (method, path) pairs, over connections to all guards at the same time."""
    outcome, queue = Outcome(), collections.deque(requests)

    def work(guard):
        connection = Connection(guard, token)
        while True:
            try:
                method, path = queue.popleft()
            except IndexError:
                break
            status, rule, seconds, _ = connection.send(method, path)
            outcome.add(status, rule, seconds)
        connection.close()

    workers = [threading.Thread(target=work, args=(guards[n % len(guards)],)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return outcome


def delete_all(guards, token, users, threads=8):
    return send_all(guards, token, [("DELETE", f"/scim/v2/Users/{user}") for user in users], threads)


def read_all(guards, token, count, threads=8):
    users = new_users(count)
    return send_all(guards, token, [("GET", f"/scim/v2/Users/{user}") for user in users], threads)


def hash_of(binary, token):
    hashed = subprocess.run([binary, "token", "hash"], input=token, capture_output=True, text=True, check=True)
    return hashed.stdout.split()[-1]
