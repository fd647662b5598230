"""A program that a test or a benchmark starts beside itself, and that ends with it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

END_TIMEOUT_S = 20.0


class ProgramError(Exception):
    """It did not do what it was started for; the text is a sentence with its last words."""


@dataclass(frozen=True)
class Program:
    """One that was started."""

    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raises ProgramError where it has ended by itself."""
        if self.process.poll() is not None:
            raise ProgramError(f"{self.log.stem} ended by itself: {self.last_words()}")

    def last_words(self) -> str:
        """The end of its log."""
        return " / ".join(self.log.read_text(errors="replace").strip().splitlines()[-3:])


@contextmanager
def started(binary: Path, *arguments: str, log: Path) -> Iterator[Program]:
    """Start it with all that it says in ``log``; ended on the way out."""
    with log.open("wb") as written:
        process = subprocess.Popen(
            # So that it ends with us, even where we are killed.
            ["setpriv", "--pdeathsig", "KILL", str(binary), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Program(process, log)
        finally:
            process.terminate()
            try:
                process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
