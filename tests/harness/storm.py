"""Breaks a switch sixty times, each time in a process of its own that is told to end at another moment.

Usage: python -m tests.harness.storm SERVER FOLDER SIGNALS; without signals another thread ends the fault.
Prints how many of the processes were interrupted. The server keeps journal and lease; the switch is a file in the
folder. Ends with an error where a process left it broken.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fixtures.faults import FAULTS, EndedEarly, Fault
from fixtures.kubernetes import Api
from harness.injection import Injector
from harness.interrupts import Interrupts, UndoNow
from harness.journal import Journal
from harness.lease import Lease
from policies.facts.base import Cause, Unseen
from policies.facts.faults import Radius
from targets.model import ControlPlane, Disrupt, Target, load_target

ROUNDS = 60
APART_S = 0.0003


def busy(seconds: float) -> None:
    """Be at work, where a signal may come between any two lines."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def switch(file: Path) -> Fault:
    """A fault that makes a file; everything about it takes a moment."""

    def inject(_target: Target, _api: Api, _parameters: Mapping[str, str]) -> None:
        file.touch()

    def undo(_target: Target, _api: Api, _parameters: Mapping[str, str]) -> None:
        busy(0.002)
        file.unlink(missing_ok=True)

    def proof(_target: Target, _api: Api, _parameters: Mapping[str, str]) -> str:
        return "it is off" if file.exists() else ""

    return Fault(
        "switch",
        "turns it off",
        inject,
        undo,
        proof,
        radius=lambda _snapshot, _parameters: Radius(nodes=0, pods=1, seconds=60),
        redundancy=lambda _target, _api, _snapshot, _parameters: "another switch is on",
    )


def injector(server: str, target: Target | None = None) -> Injector:
    """One that keeps its journal on a server, and watches only that."""
    api = Api(server)
    target = target or load_target("lab").model_copy(
        update={"control_plane": ControlPlane(endpoint=None), "disrupt": Disrupt(allowed=True)}
    )
    return Injector(
        run="r1",
        target=target,
        api=api,
        journal=Journal(api, "verify-system"),
        lease=Lease(api, "verify-system", "r1"),
        record=lambda _: None,
        progress=lambda _: None,
        restore="verify restore --target lab",
        may_disrupt=lambda: None,
        interrupts=Interrupts(),
    )


def once(server: str, ready: int, early_s: float | None) -> None:
    """Break the switch and let it be undone; with ``early_s`` another thread has it undone after so long.

    Says when nothing more is asked before the injection: from then on any moment counts.
    """
    breaking = injector(server)

    def burnt() -> None:
        busy(early_s or 0.0)
        breaking.interrupts.undo_now(Unseen(Cause.UNSAFE, "the error budget", "it was used up"))

    def about_to_inject(*_: object) -> str:
        os.write(ready, b".")
        if early_s is not None:
            threading.Thread(target=burnt, daemon=True).start()
        return "another switch is on"

    FAULTS["switch"] = replace(FAULTS["switch"], redundancy=about_to_inject)
    with breaking.interrupts.heard(), breaking("switch", {}):
        busy(0.003)


def main(server: str, folder: Path, signals: int) -> int:
    """Returns how many processes were interrupted. Raises AssertionError for one that left the switch broken."""
    FAULTS["switch"] = switch(folder / "off")
    interrupted = 0
    for number in range(ROUNDS):
        readable, writable = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                once(server, writable, None if signals else APART_S * number)
            except (KeyboardInterrupt, EndedEarly, UndoNow):
                os._exit(1)
            os._exit(0)
        os.close(writable)
        os.read(readable, 1)
        os.close(readable)
        busy(APART_S * number)
        for _ in range(signals):
            os.kill(child, signal.SIGINT)
            busy(APART_S)
        _, status = os.waitpid(child, 0)
        assert not (folder / "off").exists(), f"round {number} left it broken"
        interrupted += status != 0
    return interrupted


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
