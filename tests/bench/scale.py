"""The read-only part on a large cluster, at a quarter, a half and the whole of its size."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import yaml
from rich.console import Console
from rich.table import Table

from policies.facts.base import Listing
from policies.facts.kubernetes import Snapshot
from reports.store import RunStore
from tests.bench.filling import Size, fill
from tests.bench.measured import BenchError, measure
from tests.bench.simulated import Simulated, simulated
from tests.bench.tools import lab_target, verdicts, verify_command

FULL = Size(nodes=200, namespaces=500, pods=5000)
EMPTY = Size(0, 0, 0)
SIZES = (EMPTY, FULL.part(4), FULL.part(2), FULL)
ROUNDS = 3
WALL_S = 20.0
PEAK_MB = 400.0
STEEPER = 1.5
"""Growth is linear while an object at full size costs at most this many times one at a quarter of it.

Were it quadratic, it would cost four times as much.
"""
TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Point:
    """The read-only part at one size. ``objects`` is what its snapshot held."""

    size: Size
    silent: bool
    """Whether SSH goes to a port where no simulated node ever says a word."""
    objects: int
    requests: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    found: str


def grow(console: Console) -> bool:
    """Fill, measure, print, and say whether the limits hold. Raises `BenchError` where nothing can be measured."""
    points: list[Point] = []
    with (
        tempfile.TemporaryDirectory(prefix="finbot-bench-") as scratch,
        simulated(Path(scratch), lambda line: console.print(f"  {line}", markup=False)) as server,
        _silent_hosts(FULL.nodes) as port,
    ):
        for size in SIZES:
            console.print(f"filling: {size}")
            fill(server, size, _address)
            points.append(_point(server, size, Path(scratch), None))
            console.print(f"  {points[-1].wall_s:.2f} s")
        page = server.api.request("GET", "/api/v1/namespaces/tenant-000/pods")
        points.append(_point(server, FULL, Path(scratch), port))
    _print(points, len(page.body) * FULL.namespaces / FULL.pods, console)
    return _judge(points, console)


def _point(server: Simulated, size: Size, scratch: Path, ssh_port: int | None) -> Point:
    target = scratch / "bench.yaml"
    target.write_text(yaml.safe_dump(_target(ssh_port)))
    runs = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            runs.append(measure(verify_command(str(target), Path(folder)), timeout_s=TIMEOUT_S))
            found = verdicts(Path(folder))
            snapshot = _snapshot(Path(folder))
    lists = [value for value in msgspec.structs.astuple(snapshot) if isinstance(value, Listing)]
    own = (server.own_pods, server.own_nodes)
    if (len(snapshot.pods.items) - size.pods, len(snapshot.nodes.items) - size.nodes) != own:
        raise BenchError(f"the run saw {len(snapshot.nodes.items)} nodes and {len(snapshot.pods.items)} pods")
    return Point(
        size=size,
        silent=ssh_port is not None,
        objects=sum(len(listing.items) for listing in lists),
        requests=snapshot.requests,
        wall_s=median(run.wall_s for run in runs),
        cpu_s=min(run.cpu_s for run in runs),
        peak_mb=max(run.peak_mb for run in runs),
        found=found,
    )


def _snapshot(folder: Path) -> Snapshot:
    """The snapshot that the run under ``folder`` left as evidence."""
    store = RunStore.open(folder / "latest")
    digests = {digest for result in store.read().results for digest in result.facts}
    facts = (store.load_fact(digest) for digest in digests)
    found = next((fact for fact in facts if isinstance(fact, Snapshot)), None)
    if found is None:
        raise BenchError("the run left no snapshot")
    return found


def _target(ssh_port: int | None) -> dict[str, Any]:
    """The lab's target. Where a port is given, no node is reached over SSH at another."""
    target = lab_target() | {"name": "bench", "description": "The lab, filled with nodes and pods that KWOK simulates"}
    if ssh_port is not None:
        target["ssh"]["port"] = ssh_port
    return target


def _address(number: int) -> str:
    """Of a simulated node: in the loopback range, so that nothing leaves this machine."""
    return f"127.77.{number // 250}.{number % 250 + 1}"


@contextmanager
def _silent_hosts(count: int) -> Iterator[int]:
    """Addresses that take a connection and never say a word, the slowest way to be unreachable; yields their port."""
    with ExitStack() as listening:
        port = 0
        for number in range(count):
            listener = listening.enter_context(socket.socket())
            listener.bind((_address(number), port))
            listener.listen()
            port = listener.getsockname()[1]
        yield port


def _print(points: list[Point], pod_bytes: float, console: Console) -> None:
    headings = ("objects", "lists", "wall", "s per 1,000", "CPU", "peak memory")
    table = Table("nodes, namespaces, pods", *headings, box=None)
    for point in points:
        size = point.size
        table.add_row(
            f"{size.nodes}, {size.namespaces}, {size.pods:,}{', SSH silent' if point.silent else ''}",
            f"{point.objects:,}",
            str(point.requests),
            f"{point.wall_s:.2f} s",
            f"{point.wall_s / point.objects * 1000:.2f}",
            f"{point.cpu_s:.2f} s",
            f"{point.peak_mb:.0f} MB",
        )
    console.print()
    console.print(table)
    console.print(f"\nA pod is {pod_bytes / 1000:.1f} kB as the API sends it. {points[-1].found}.", markup=False)
    console.print(f"Medians of {ROUNDS} runs; CPU is the least of them, peak memory the most.\n")


def _judge(points: list[Point], console: Console) -> bool:
    empty, quarter, half, whole, silent = points
    # By CPU: how long the servers take for their part depends on what else this machine does.
    each = [(point.cpu_s - empty.cpu_s) / (point.objects - empty.objects) * 1000 for point in (quarter, half, whole)]
    wall_s, peak_mb = max(whole.wall_s, silent.wall_s), max(point.peak_mb for point in points)
    held = {
        f"at most {WALL_S:g} s: {wall_s:.1f} s": wall_s <= WALL_S,
        f"at most {PEAK_MB:g} MB: {peak_mb:.0f} MB": peak_mb <= PEAK_MB,
        f"linear: 1,000 objects cost {each[0]:.2f}, {each[1]:.2f}, {each[2]:.2f} s of CPU at these sizes": (
            each[2] <= each[0] * STEEPER
        ),
    }
    for sentence, holds in held.items():
        console.print(f"{'met ' if holds else 'MISS'}  limit: {sentence}")
    return all(held.values())
