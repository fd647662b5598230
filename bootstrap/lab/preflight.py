"""What the machine must have, looked at before anything is started. Every problem is told at once."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
from pathlib import Path

from bootstrap.lab import build, network, s3
from bootstrap.lab.cgroups import KUBELET_CONTROLLERS, hierarchies, version_2
from bootstrap.lab.commands import run
from bootstrap.lab.errors import LabError, UnfitError
from bootstrap.lab.layout import (
    API_PORT,
    BRIDGE,
    NODE_NETWORK,
    POD_NETWORK,
    SERVICE_NETWORK,
    STATE,
    cache,
)

GO_AT_LEAST = (1, 21)
"""Older ones cannot fetch the toolchain that the pins name."""
MEMORY_AT_LEAST_GIB = 8
"""The lab takes up to 6 GiB; building it takes about as much while no lab runs."""
STATE_DISK_GIB = 8
"""Images and container disks of six nodes."""
GIB = 1 << 30


def check(*, building: bool) -> None:
    """Raise Unfit with a line for everything that stands in the way. `building`: whether binaries must be built."""
    problems = [*_identity(), *_kernel(), *_memory(), *_disk(building), *_addresses(), *_ports()]
    if building:
        problems += _go()
    if problems:
        raise UnfitError("\n".join(problems))


def must_be_root() -> None:
    problems = _identity()
    if problems:
        raise UnfitError("\n".join(problems))


def _identity() -> list[str]:
    if os.geteuid() != 0:
        return ["The lab makes network and process namespaces, which only root may; run the command as root (sudo -E)."]
    return []


def _go() -> list[str]:
    if shutil.which("go") is None:
        return ["Go is missing, and Kubernetes must be built; install Go from https://go.dev/dl and put it on PATH."]
    said = run("go", "env", "GOVERSION").strip()
    try:
        found = tuple(int(part) for part in said.removeprefix("go").split("-")[0].split(".")[:2])
    except ValueError:
        return [f"`go env GOVERSION` says {said!r}, which is no release; install Go 1.21 or newer."]
    if found < GO_AT_LEAST:
        return [f"Go {said} is too old to build the lab; install Go 1.21 or newer and put it first on PATH."]
    return []


def _memory() -> list[str]:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024 / GIB
            if free < MEMORY_AT_LEAST_GIB:
                return [f"{free:.1f} GiB of memory are free, the lab needs {MEMORY_AT_LEAST_GIB}; end other programs."]
    return []


def _disk(building: bool) -> list[str]:
    problems = []
    wanted = [(STATE, STATE_DISK_GIB), *([(cache(), build.DISK_GB)] if building else [])]
    for path, need in wanted:
        there = path
        while not there.exists():
            there = there.parent
        free = shutil.disk_usage(there).free / GIB
        if free < need:
            problems.append(f"{path} has {free:.0f} GiB of free disk, {need} are needed; make room on that disk.")
    return problems


def _kernel() -> list[str]:
    problems = []
    filesystems = Path("/proc/filesystems").read_text().split()
    if "overlay" not in filesystems and _load("overlay"):
        problems.append("The kernel has no overlayfs; load the module `overlay` or use a kernel with it.")
    if not Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists() and _load("br_netfilter"):
        problems.append("The kernel does not filter bridged traffic; load the module `br_netfilter`.")
    if hierarchies() and not version_2():
        missing = [name for name in KUBELET_CONTROLLERS if name not in hierarchies()]
        if missing:
            problems.append(f"The cgroup controllers {', '.join(missing)} are missing; mount them in /sys/fs/cgroup.")
    elif not hierarchies():
        problems.append("No control groups are mounted; mount them at /sys/fs/cgroup.")
    if os.geteuid() == 0 and shutil.which("ip"):
        for kind, extra in (("bridge", ()), ("veth", ()), ("vxlan", ("id", "4094", "dstport", "0"))):
            probe = "finbot-probe"
            try:
                run("ip", "link", "add", probe, "type", kind, *extra)
            except LabError as error:
                problems.append(f"The kernel cannot make a {kind} device; load the module `{kind}`. ({error})")
            else:
                run("ip", "link", "delete", probe)
    return problems


def _load(module: str) -> bool:
    """Try to load a kernel module; whether that failed."""
    if shutil.which("modprobe") is None:
        return True
    try:
        run("modprobe", module)
    except LabError:
        return True
    return False


def _addresses() -> list[str]:
    problems = []
    for name, cidr in (("nodes", NODE_NETWORK), ("pods", POD_NETWORK), ("services", SERVICE_NETWORK)):
        wanted = ipaddress.IPv4Network(cidr)
        for there in network.addresses() if shutil.which("ip") else []:
            if there.interface != BRIDGE and there.network.overlaps(wanted):
                problems.append(
                    f"The lab's network for {name}, {cidr}, is taken: {there.interface} has {there.network}; "
                    "take that interface or route away while the lab runs."
                )
    return problems


def _ports() -> list[str]:
    """A program that listens on all addresses also holds the bridge's."""
    problems = []
    for port, what, kinds in (
        (API_PORT, "the API endpoint", (socket.SOCK_STREAM,)),
        (s3.PORT, "the lab's S3", (socket.SOCK_STREAM,)),
        (53, "the lab's resolver", (socket.SOCK_STREAM, socket.SOCK_DGRAM)),
    ):
        for kind in kinds:
            with socket.socket(socket.AF_INET, kind) as probe:
                if kind is socket.SOCK_STREAM:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("0.0.0.0", port))  # noqa: S104 -- only to see whether someone holds the port
                except OSError as error:
                    if error.errno in {13, 99}:
                        continue
                    who = "UDP" if kind is socket.SOCK_DGRAM else "TCP"
                    if not only_other_addresses(port, kind):
                        problems.append(
                            f"{who} port {port}, needed for {what}, is taken on all addresses; "
                            f"`ss -lnp 'sport = :{port}'` shows by whom. End that program or bind it to one address."
                        )
    return problems


def only_other_addresses(port: int, kind: socket.SocketKind) -> bool:
    """Whether the port is held on single addresses only, which leaves it free on the bridge."""
    table = "udp" if kind is socket.SOCK_DGRAM else "tcp"
    holders = []
    for family in (table, f"{table}6"):
        path = Path("/proc/net", family)
        if path.exists():
            for line in path.read_text().splitlines()[1:]:
                local, state = line.split()[1], line.split()[3]
                address, _, number = local.rpartition(":")
                if int(number, 16) == port and state in {"0A", "07"}:
                    holders.append(set(address) == {"0"})
    return not any(holders)
