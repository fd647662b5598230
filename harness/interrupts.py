"""How a run is told to end (Ctrl-C, kill, a closed terminal): at once, but never in the middle of an undo."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Final

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ToldToEndError(KeyboardInterrupt):
    """The run was told to end; the message says by what."""


class Interrupts:
    """Turns signals that end a run into KeyboardInterrupt. While a fault is in force only the first one is let in.

    The later ones come in when the fault is undone: whoever is impatient, or a supervisor that sends two signals in a
    row, would otherwise stop the undo that the first one began.
    """

    def __init__(self) -> None:
        self._in_force = False
        self._holding = False
        self._held = False

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Hear them until the block ends; one that is ignored, as under nohup, stays so."""
        before = {number: signal.getsignal(number) for number in ENDING}
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._hear)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def during_a_fault(self) -> Iterator[None]:
        """Let one in, and hold the others back until the block ends."""
        self._held = False
        self._in_force = True
        try:
            yield
        finally:
            self._in_force = self._holding = False
            if self._held:
                raise ToldToEndError("told to end while a fault was being undone; it was undone first")

    def hold(self) -> None:
        """Let none in any more until the block of ``during_a_fault`` ends."""
        self._holding = True

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if self._holding:
            self._held = True  # says nothing: it may have come while something was being printed
            return
        self._holding = self._in_force
        raise ToldToEndError(f"told to end by {signal.Signals(number).name}")
