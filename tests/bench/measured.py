"""A command run to its end, with what the kernel counted of it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KIB_PER_MB = 1000**2 / 1024
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


def measure(
    argv: Sequence[str], *, timeout_s: float, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Measured:
    """Run a command with both its outputs caught. Raises `BenchError` when it takes longer than ``timeout_s``."""
    with tempfile.TemporaryFile() as out:
        began = time.monotonic()
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=None if env is None else {**os.environ, **env},
            start_new_session=True,
        )
        overdue = threading.Event()

        def end() -> None:
            overdue.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(timeout_s, end)
        timer.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            timer.cancel()
        wall_s = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)  # or Popen would warn that it still runs
        out.seek(0)
        output = out.read().decode("utf-8", "replace")
    if overdue.is_set():
        raise BenchError(f"`{' '.join(argv[:2])} …` did not end within {timeout_s:.0f} s")
    # A new program inherits the peak of the one that started it, so ours has to be the smaller one.
    own_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if used.ru_maxrss <= own_kib:
        raise BenchError(f"`{argv[0]}` used less memory than this measurement itself; its peak cannot be told")
    return Measured(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / KIB_PER_MB, process.returncode, output)
