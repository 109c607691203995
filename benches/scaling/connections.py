#!/usr/bin/env python3
"""Memory of idle connections: over cleartext and over TLS, after one request on each.

    benches/scaling/connections.py [--connections N] [BINARY]
"""

import argparse
import asyncio
import pathlib
import resource
import ssl
import sys
import tempfile

E2E = pathlib.Path(__file__).resolve().parent.parent / "e2e"
sys.path.insert(0, str(E2E))
import run  # noqa: E402
import tls  # noqa: E402

REQUEST = b"GET /scim/v2/Users HTTP/1.1\r\nHost: wire.example\r\n\r\n"


async def held(port, count, context):
    """Connections that have received one answer."""
    connections = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")).split(b":")[1])
        await reader.readexactly(length)
        connections.append(writer)
    return connections


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("binary", nargs="?", default=run.TARGET / "dist/wire-scim-guard", type=pathlib.Path)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with tempfile.TemporaryDirectory(prefix="guard-connections-") as name:
        folder = pathlib.Path(name)
        tls.certificate(folder)
        trusting = ssl.create_default_context(cafile=folder / "certificate.pem")
        trusting.check_hostname = False
        for label, source, context in (("cleartext", "guard.yaml", None), ("TLS", "guard-tls.yaml", trusting)):
            contender = run.Contender(label, folder, run.free_port())
            config = contender.template(source, admin=run.free_port(), log="access: false", more="",
                                        certificate=folder / "certificate.pem", key=folder / "key.pem")
            allowed = config.read_text().replace("limits: {", "limits: {connections_per_address: 100000, ")
            config.write_text(allowed)
            contender.start([str(arguments.binary), "serve", "--config", str(config)])
            try:
                asyncio.run(measure(label, contender, arguments.connections, context))
            finally:
                contender.stop()


async def measure(label, contender, count, context):
    pids = run.tree(contender.process.pid)
    first = await held(contender.port, 50, context)
    before = run.resident(pids)
    more = await held(contender.port, count, context)
    taken = run.resident(pids) - before
    print(f"{label}: {taken * 1024 / count:.1f} KiB a connection, of {count}")
    for writer in first + more:
        writer.transport.abort()


if __name__ == "__main__":
    main()
