"""The watcher of a fault: how long the deployment is seen to fail meanwhile; what fails too long ends the fault.

Every signal is asked once a second by a thread of its own, so that one that hangs does not hide another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from fixtures.health import endpoint_trouble, service_trouble
from fixtures.kubernetes import Api
from fixtures.unobservable import Unobservable
from policies.facts.base import Cause, Unseen
from reports.faults import BUDGET
from targets.model import Target

EVERY_S: Final = 1.0


@dataclass(frozen=True)
class Signal:
    """Something that is asked again and again, and how long it may be seen to fail.

    ``trouble`` returns why it fails now, "" where it does not; it raises `Unobservable` where that is not known, which
    is no failure of its own: the API is a signal itself.
    """

    name: str
    budget_s: float
    trouble: Callable[[], str]


def signals(target: Target, api: Api) -> tuple[Signal, ...]:
    """What the target's error budget names. Each has connections of its own."""
    budget = target.disrupt.error_budget
    endpoint = api.at(target.control_plane.endpoint or api.server)
    found = [Signal("the API endpoint", budget.api_seconds, partial(endpoint_trouble, endpoint))]
    for service in budget.services:
        name = f"service {service.namespace}/{service.service}"
        trouble = partial(service_trouble, api.at(endpoint.server), service.namespace, service.service)
        found.append(Signal(name, service.seconds, trouble))
    return tuple(found)


class Watch:
    """Asks the signals from ``start`` to ``stop``; calls ``burnt``, in another thread, when one used up its budget."""

    def __init__(self, signals: Sequence[Signal], burnt: Callable[[Unseen], None]) -> None:
        self._signals = signals
        self._burnt = burnt
        self._used = dict.fromkeys((signal.name for signal in signals), 0.0)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(s,), daemon=True) for s in signals]

    def start(self) -> None:
        """Begin to ask."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask no more; returns when nothing is asked any more, so that no word of it comes later."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def used(self) -> str:
        """How much of each budget was used, in words."""
        return BUDGET + ", ".join(
            f"{signal.name} {self._used[signal.name]:.1f} of {signal.budget_s:g} s" for signal in self._signals
        )

    def _ask(self, signal: Signal) -> None:
        while not self._stop.is_set():
            asked = time.monotonic()
            try:
                trouble = signal.trouble()
            except Unobservable:
                trouble = ""
            ended = self._stop.wait(max(0.0, asked + EVERY_S - time.monotonic()))
            if trouble:
                self._used[signal.name] += time.monotonic() - asked
            if self._used[signal.name] > signal.budget_s and not ended:
                self._burnt(_burnt(signal, self._used[signal.name], trouble))
                return


def _burnt(signal: Signal, used_s: float, trouble: str) -> Unseen:
    return Unseen(
        Cause.UNSAFE,
        "the error budget",
        f"{signal.name} failed for {used_s:.1f} s, {signal.budget_s:g} s are allowed while a fault is in force; "
        f"last seen: {trouble}. The fault was ended before its time",
        "see what else failed beside the fault; allow more in disrupt.error_budget if that was to be expected",
    )
