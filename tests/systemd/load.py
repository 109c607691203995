"""Clients that send requests all the time, each over a new connection, and keep what failed."""

import http.client
import threading

import podman
from guard import WAIT_TIMEOUT
from machine import TOKEN
from podman import wait_until

CLIENTS = 4
PATH = "/scim/v2/Users?filter=userName%20eq%20%22nobody%22"


class Load:
    def __init__(self, machine):
        self.process = machine.process
        self.answered, self.failed = 0, []
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.clients = [threading.Thread(target=self.client) for _ in range(CLIENTS)]

    def client(self):
        headers = {"Authorization": f"Bearer {TOKEN}", "Connection": "close"}
        while not self.ended.is_set():
            try:
                status, _ = podman.request(self.process, 8080, "GET", PATH, None, headers)
                failure = None if status == 200 else f"status {status}"
            except (OSError, http.client.HTTPException) as error:
                failure = repr(error)
            with self.lock:
                self.answered += failure is None
                self.failed += [failure] if failure else []

    def goes_on(self):
        """Returns when each client has had further answers."""
        wanted = self.answered + 10 * CLIENTS
        wait_until("load", lambda: self.answered > wanted or self.failed)

    def __enter__(self):
        for client in self.clients:
            client.start()
        self.goes_on()
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.goes_on()
        self.ended.set()
        for client in self.clients:
            client.join(WAIT_TIMEOUT)
        if kind is None and self.failed:
            raise AssertionError(f"{len(self.failed)} of {self.answered + len(self.failed)} requests failed: {self.failed[:3]}")
