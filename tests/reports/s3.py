"""A real S3 server for tests: SeaweedFS, as the lab has it, on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bootstrap.lab.build import build
from bootstrap.lab.s3 import LOOPBACK, PORTS_BELOW, Server

END_TIMEOUT_S = 10.0
SOCKETS = Path("/tmp")  # noqa: S108 -- SeaweedFS puts them there, whatever it is told
HIGHEST = 32000
"""Below the ports that the kernel hands out by itself."""


@contextmanager
def serving_s3(folder: Path) -> Iterator[Server]:
    """The server with its bucket ``evidence``, under Object Lock, until the block ends. Another identity only reads."""
    weed = build(["weed"], print).binary("weed")
    first = _free_ports(PORTS_BELOW + 1)
    server = Server(folder, LOOPBACK, first + PORTS_BELOW, first)
    server.prepare()
    settings = folder / "s3.json"
    known = json.loads(settings.read_text())
    reader = {"name": "reader", "credentials": [{"accessKey": "READER", "secretKey": "reader"}], "actions": ["Read"]}
    settings.write_text(json.dumps({"identities": [*known["identities"], reader]}))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(word) for word in server.command(weed)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        server.make_bucket()
        yield server
    finally:
        process.send_signal(signal.SIGKILL)  # what it holds goes with its folder
        process.wait(END_TIMEOUT_S)
        for port in range(first, first + PORTS_BELOW + 1):
            for left in SOCKETS.glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()


def _free_ports(count: int) -> int:
    """The first of so many free ports in a row. Another test's server is not among them: it starts elsewhere."""
    start = 20000 + os.getpid() % 1000 * 10
    for first in range(start, HIGHEST, count):
        with ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.socket()).bind((LOOPBACK, port))
            except OSError:
                continue
            return first
    raise AssertionError(f"no {count} free ports in a row from {start} on")
