"""The lab's one way to wait. `fixtures.waiting` is not used here: bootstrap stands on its own, as on a bare machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from bootstrap.lab.errors import LabError

T = TypeVar("T")


def pause(seconds: float) -> None:
    """Let time pass, where time itself is what is measured."""
    time.sleep(seconds)


def wait_until(
    condition: Callable[[], tuple[T | None, str]], timeout_s: float, what: str, interval_s: float = 0.5, hint: str = ""
) -> T:
    """Ask `condition` until its first value is not None, and return that.

    `condition` returns (answer or None, what was seen). Raises LabError with `what`, the seconds waited, what was
    seen last, and `hint`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        answer, seen = condition()
        if answer is not None:
            return answer
        if time.monotonic() >= deadline:
            raise LabError(f"Waited {timeout_s:.0f} s for {what}; last seen: {seen or 'nothing'}. {hint}".strip())
        time.sleep(interval_s)
