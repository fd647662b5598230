"""What runs on the machine itself: the load balancer before the API servers, the company's resolver, and its S3."""

from __future__ import annotations

import shutil
import socket

from bootstrap.lab import s3
from bootstrap.lab.cgroups import HOST_SERVICES
from bootstrap.lab.commands import start
from bootstrap.lab.errors import LabError
from bootstrap.lab.layout import API_PORT, BIN, BRIDGE_ADDRESS, CONTROL_PLANE, FIRST, HOST
from bootstrap.lab.templates import render, write
from bootstrap.lab.waiting import wait_until

SERVICES = ("haproxy", "coredns", "weed")
START_TIMEOUT_S = 30.0


def prepare() -> None:
    """Write the settings of the first two. Needs the cluster's CA."""
    HOST.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(FIRST.kubernetes / "pki/ca.crt", HOST / "ca.crt")
    servers = "\n".join(f"    server {node.name} {node.address}:{API_PORT}" for node in CONTROL_PLANE)
    write(
        HOST / "haproxy.cfg",
        render("config/haproxy.cfg", bridge=BRIDGE_ADDRESS, port=API_PORT, host=HOST, servers=servers),
    )
    write(HOST / "Corefile", render("config/Corefile", bridge=BRIDGE_ADDRESS, host=HOST))
    write(HOST / "example.internal.zone", render("config/example.internal.zone", bridge=BRIDGE_ADDRESS))


def running() -> dict[str, int]:
    """Name to pid of those of the three that run."""
    found = HOST_SERVICES.processes()
    return {name: found[name] for name in SERVICES if name in found}


def ensure() -> list[str]:
    """Start what does not run, and return the names of what was started."""
    HOST_SERVICES.create()
    commands = {
        "haproxy": ("haproxy", "-db", "-f", HOST / "haproxy.cfg"),
        "coredns": (BIN / "coredns", "-conf", HOST / "Corefile"),
        "weed": s3.command(),
    }
    missing = [name for name in SERVICES if name not in running()]
    if "weed" in missing:
        s3.LAB_S3.prepare()
    for name in missing:
        start(commands[name], HOST_SERVICES, HOST / f"{name}.log")
    for name in missing:
        _wait_for(name)
    if "weed" in missing:
        s3.LAB_S3.make_bucket()
    return missing


def _wait_for(name: str) -> None:
    port = {"haproxy": API_PORT, "coredns": 53, "weed": s3.PORT}[name]

    def listens() -> tuple[bool | None, str]:
        try:
            socket.create_connection((BRIDGE_ADDRESS, port), timeout=1).close()
        except OSError as error:
            return None, f"{error.strerror or error}, running: {', '.join(running()) or 'none'}"
        return True, ""

    try:
        wait_until(listens, START_TIMEOUT_S, f"{name} on {BRIDGE_ADDRESS}:{port}", interval_s=0.05)
    except LabError as error:
        log = HOST / f"{name}.log"
        said = log.read_text(errors="replace").strip().splitlines()[-3:] if log.exists() else []
        raise LabError(f"{error} Its log {log} ends with: {' | '.join(said) or 'nothing'}") from error
