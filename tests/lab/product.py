"""The product as its users have it: the command ``verify`` as a process of its own, and what it leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from fixtures.waiting import NotYet, wait_until
from policies.facts.base import Cause
from reports.model import ClauseResult, RunRecord, Verdict
from reports.store import RunStore

ROOT: Final = Path(__file__).resolve().parents[2]
VERIFY: Final = Path(sys.executable).with_name("verify")
ENDS_WITHIN_S: Final = 1500.0  # the whole of a run on the lab, with a proof of restoration that needs all its time
POLL_S: Final = 0.02  # between two lines of a run there may be no more

Clause = tuple[str, str]
"""Requirement id and slug."""


@dataclass(frozen=True)
class Ended:
    """A ``verify`` that ended. ``output`` is all that it printed."""

    exit_code: int
    output: str
    seconds: float
    out: Path
    """Where it was told to keep runs."""

    @property
    def record(self) -> RunRecord:
        """The newest run kept there, read back."""
        return RunStore.open(self.out / "latest").read()

    @property
    def results(self) -> dict[Clause, ClauseResult]:
        """What became of each clause."""
        return {(result.requirement, result.clause): result for result in self.record.results}

    def with_verdict(self, *verdicts: Verdict) -> set[Clause]:
        """The clauses of these verdicts."""
        return {clause for clause, result in self.results.items() if result.verdict in verdicts}

    @property
    def passed(self) -> set[Clause]:
        """The clauses that passed."""
        return self.with_verdict(Verdict.passed)

    @property
    def causes(self) -> dict[Clause, Cause | None]:
        """The clauses that could not be evaluated, and why."""
        return {c: r.cause for c, r in self.results.items() if r.verdict is Verdict.not_evaluated}


@dataclass
class Running:
    """A ``verify`` that was started."""

    process: subprocess.Popen[bytes]
    log: Path
    out: Path
    started: float = field(default_factory=time.monotonic)

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text("utf-8", "replace")

    def until(self, condition: Callable[[], object], what: str, within_s: float = 120.0) -> None:
        """Wait for something that happens while it runs. Raises AssertionError with its output where it ends before."""

        def happened() -> bool:
            if condition():
                return True
            assert self.process.poll() is None, f"it ended before {what}:\n{self.output}"
            raise NotYet(self.output.rpartition("\n")[2])

        wait_until(happened, within_s, what, interval_s=POLL_S)

    def says(self, words: str, within_s: float = 120.0) -> None:
        """Wait until it has printed these words."""
        self.until(lambda: words in self.output, f"it said {words!r}", within_s)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it, and to nothing that it started."""
        self.process.send_signal(number)

    def end(self, within_s: float = ENDS_WITHIN_S) -> Ended:
        """Wait for its end."""
        try:
            code = self.process.wait(within_s)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            raise AssertionError(f"it did not end within {within_s:g} s:\n{self.output}") from error
        return Ended(code, self.output, time.monotonic() - self.started, self.out)


def start(
    command: Literal["run", "restore", "report", "explain", "preflight", "rbac"],
    *arguments: str,
    out: Path,
    environment: Mapping[str, str] | None = None,
) -> Running:
    """Start ``verify command arguments --out out``, in a process of its own."""
    out.mkdir(parents=True, exist_ok=True)
    line = [str(VERIFY), command, *arguments, *(["--out", str(out)] if command in {"run", "restore"} else [])]
    # Wide, so that no sentence is broken in two.
    values = {**os.environ, "COLUMNS": "1000", **(environment or {})}
    number = len(list(out.glob("*.log")))
    log = out / f"{number}-{command}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(line, cwd=ROOT, env=values, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    return Running(process, log, out)


def verify(
    command: Literal["run", "restore", "report", "explain", "preflight", "rbac"],
    *arguments: str,
    out: Path,
    environment: Mapping[str, str] | None = None,
    within_s: float = ENDS_WITHIN_S,
) -> Ended:
    """``verify command arguments --out out``, to its end."""
    return start(command, *arguments, out=out, environment=environment).end(within_s)
