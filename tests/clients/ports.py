"""Ports for servers that start later."""

import itertools
import os
import socket

# Below the ports that the system gives to clients and to listeners without a port of their own, so that nothing
# takes one before its server does. Processes that run at the same time begin at different ports.
FIRST, COUNT = 10_000, 20_000
_following = itertools.count(os.getpid() * 101)


def free_port():
    for nth in _following:
        port = FIRST + nth % COUNT
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                probe.listen()
            except OSError:
                continue
        return port
