"""The read-only part beside Prowler and Trivy: the same cluster, in turn, whole processes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.bench.audit import AuditLogs
from tests.bench.measured import BenchError
from tests.bench.tools import Ran, Tool, ours, prowler, run, trivy

WALL_S = 3.0
LISTS = 25
AIMS = {"prowler": 10.0, "trivy": 5.0}
"""How many times faster we mean to be."""


def compare(rounds: int, console: Console) -> bool:
    """Measure, print, and say whether our limits hold (the aims are aims). Needs the lab.

    A tool that cannot run here is left out, with the reason. Each runs once before anything counts, so that none pays
    for a cold disk; then the order turns from round to round, so that none always runs after the same other.
    """
    tools = []
    for make in (ours, prowler, trivy):
        try:
            tools.append(make())
        except BenchError as error:
            console.print(f"{make.__name__} is left out: {error}", markup=False)
    runs: dict[str, list[Ran]] = {}
    lists: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="finbot-bench-") as scratch:
        for tool in list(tools):
            logs = AuditLogs()
            try:
                first = run(tool, Path(scratch) / f"{tool.name}-first")
            except BenchError as error:
                console.print(f"{tool.name} is left out: {error}", markup=False)
                tools.remove(tool)
                continue
            lists[tool.name] = logs.lists(tool.agent)
            console.print(f"{tool.name}: {first.found} ({first.measured.wall_s:.1f} s, does not count)", markup=False)
        for turn in range(rounds):
            for tool in tools[turn % len(tools) :] + tools[: turn % len(tools)]:
                folder = Path(scratch) / f"{tool.name}-{turn}"
                runs.setdefault(tool.name, []).append(run(tool, folder))
                shutil.rmtree(folder)
            walls = ", ".join(f"{tool.name} {runs[tool.name][-1].measured.wall_s:.2f} s" for tool in tools)
            console.print(f"round {turn + 1} of {rounds}: {walls}", markup=False)
    return _print(tools, runs, lists, console)


def _print(tools: list[Tool], runs: dict[str, list[Ran]], lists: dict[str, int], console: Console) -> bool:
    mine = runs.get("verify")
    if mine is None:
        return False

    def middle(name: str, value: Callable[[Ran], float]) -> float:
        return median(value(ran) for ran in runs[name])

    base = middle("verify", lambda ran: ran.measured.wall_s)
    table = Table("", "wall, median", "fastest to slowest", "ratio", "CPU", "peak memory", "lists", box=None)
    for tool in tools:
        walls = sorted(ran.measured.wall_s for ran in runs[tool.name])
        table.add_row(
            tool.name,
            f"{median(walls):.2f} s",
            f"{walls[0]:.2f} to {walls[-1]:.2f} s",
            f"{median(walls) / base:.1f}",
            f"{middle(tool.name, lambda ran: ran.measured.cpu_s):.2f} s",
            f"{max(ran.measured.peak_mb for ran in runs[tool.name]):.0f} MB",
            str(lists[tool.name]),
        )
    console.print()
    console.print(table)
    console.print()
    for tool in tools:
        console.print(f"{tool.name}: {runs[tool.name][-1].found}. Looks at {tool.looks_at}.", markup=False)
    console.print("Ratio: times our median. Peak: the largest process. Lists: by the API servers' audit logs.\n")
    for name, aim in AIMS.items():
        if name in runs:
            ratio = middle(name, lambda ran: ran.measured.wall_s) / base
            console.print(f"{'met ' if ratio >= aim else 'OPEN'}  aim: {aim:.0f} times faster than {name}: {ratio:.1f}")
    held = {
        f"the whole process takes at most {WALL_S:g} s: {base:.2f} s": base <= WALL_S,
        f"at most {LISTS} list requests: {lists['verify']}": 0 < lists["verify"] <= LISTS,
    }
    for sentence, holds in held.items():
        console.print(f"{'met ' if holds else 'MISS'}  limit: {sentence}")
    return all(held.values())
