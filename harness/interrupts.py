"""How a run is told to end (Ctrl-C, kill, a closed terminal): at once, but never in the middle of an undo.

In the same way a watcher in another thread has the fault in force undone before its time.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Final

from policies.facts.base import Unseen

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
UNDO_NOW: Final = signal.SIGURG  # without a handler it does nothing, so that one that comes late does no harm


class ToldToEndError(KeyboardInterrupt):
    """The run was told to end; the message says by what."""


class UndoNow(BaseException):
    """The fault in force has to be undone now; the run goes on. No Exception: nobody on the way takes it."""

    def __init__(self, why: Unseen) -> None:
        super().__init__(why)
        self.why = why


class Interrupts:
    """Turns signals that end a run into KeyboardInterrupt. While a fault is in force only the first one is let in.

    The later ones come in when the fault is undone: whoever is impatient, or a supervisor that sends two signals in a
    row, would otherwise stop the undo that the first one began.
    """

    def __init__(self) -> None:
        self._in_force = False
        self._holding = False
        self._held = ""
        self._why: Unseen | None = None
        self.undo_because: Unseen | None = None
        """Why the fault of the block is, or was, undone before its time; None where it was not."""

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
        self._held = ""
        self._why = self.undo_because = None
        before = signal.signal(UNDO_NOW, self._hear_undo)
        self._in_force = True
        try:
            yield
        finally:
            self._in_force = self._holding = False
            signal.signal(UNDO_NOW, before)
            if self._held:
                raise ToldToEndError("told to end while a fault was being undone; it was undone first")

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Let none in before the block of something short has ended, which is then done whole or not at all."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._held:
            name, self._held, self._holding = self._held, "", True
            raise ToldToEndError(f"told to end by {name}")
        self._hear_undo(UNDO_NOW, None)

    def hold(self) -> None:
        """Let none in any more until the block of ``during_a_fault`` ends."""
        self._holding = True

    def undo_now(self, why: Unseen) -> None:
        """From any thread: have the fault in force undone at once. Does nothing where none is, or it is being undone.

        A signal, since nothing else wakes the main thread wherever it waits.
        """
        self._why = why
        signal.pthread_kill(threading.main_thread().ident or 0, UNDO_NOW)

    def _hear_undo(self, _number: int, _frame: FrameType | None) -> None:
        if self._in_force and not self._holding and self._why is not None:
            self._holding = True
            self.undo_because = self._why
            raise UndoNow(self._why)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if self._holding:
            # Says nothing: it may have come while something was being printed.
            self._held = signal.Signals(number).name
            return
        self._holding = self._in_force
        raise ToldToEndError(f"told to end by {signal.Signals(number).name}")
