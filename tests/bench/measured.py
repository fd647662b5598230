"""A command run to its end, with what the kernel counted of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COUNTED = Path(__file__).with_name("counted.py")
MB_PER_KIB = 1024 / 1000**2
"""Peaks come from the kernel in KiB; limits are said in MB."""


class BenchError(Exception):
    """Something cannot be measured here; the text is a sentence that says why."""


@dataclass(frozen=True)
class Measured:
    """One run of one command: process start to process end, as a person waits for it."""

    wall_s: float
    cpu_s: float
    """Of the process and all it started and waited for."""
    peak_mb: float
    """Resident memory of the largest process among these, at its peak."""
    exit_code: int
    output: str


def measure(argv: Sequence[str], *, timeout_s: float, cwd: Path | None = None) -> Measured:
    """Run a command, its first word a path, with both its outputs caught.

    Raises `BenchError` when it takes longer than ``timeout_s``.
    """
    reading, writing = os.pipe()
    with os.fdopen(reading) as counts:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(COUNTED), str(writing), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            pass_fds=(writing,),
            start_new_session=True,
        )
        os.close(writing)
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise BenchError(f"`{' '.join(argv[:2])} …` did not end within {timeout_s:.0f} s") from error
            raise
        said = counts.read()
    if not said:
        raise BenchError(f"`{argv[0]}` cannot be started: {output.decode('utf-8', 'replace').strip()[-300:]}")
    counted = json.loads(said)
    return Measured(
        wall_s=counted["wall_s"],
        cpu_s=counted["cpu_s"],
        peak_mb=counted["peak_kib"] * MB_PER_KIB,
        exit_code=counted["exit_code"],
        output=output.decode("utf-8", "replace"),
    )
