"""What must hold right before a fault is injected: its blast radius, the maintenance window, redundancy, a backup."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from fixtures.backups import young_enough
from fixtures.faults import Fault
from fixtures.kubernetes import Api, take_snapshot
from fixtures.unobservable import Unobservable
from policies.facts.base import Cause, Unseen
from policies.facts.faults import Radius
from targets.model import Disrupt, Target

RADIUS: Final = "blast radius"


@dataclass(frozen=True)
class Precondition:
    """One of them, asked just now. ``unmet`` says why not; ``seen`` what was seen where it is met."""

    name: str
    seen: str = ""
    unmet: Unseen | None = None


@dataclass(frozen=True)
class Preconditions:
    """All of them. ``radius`` is None where it could not be told."""

    radius: Radius | None
    all: tuple[Precondition, ...]

    @property
    def unmet(self) -> tuple[Unseen, ...]:
        """Why the fault may not be injected; empty where it may."""
        return tuple(each.unmet for each in self.all if each.unmet is not None)


def look(fault: Fault, target: Target, api: Api, parameters: Mapping[str, str], now: datetime) -> Preconditions:
    """Ask them all, of the deployment as it is now. ``now`` is UTC. Raises `Unobservable` where the API is silent."""
    snapshot = take_snapshot(api)
    radius: Radius | None = None

    def touches() -> str:
        nonlocal radius
        radius = fault.radius(snapshot, parameters)
        return _bounded(radius, target.disrupt)

    asks: dict[str, Callable[[], str]] = {
        RADIUS: touches,
        "window": lambda: _in_window(target.disrupt, now, radius.seconds if radius is not None else 0.0),
        "redundancy": lambda: fault.redundancy(target, api, snapshot, parameters),
    }
    needed = fault.needs_backup
    if needed is not None:
        asks["backup"] = lambda: young_enough(target, api, needed, snapshot, parameters)
    found = tuple(_ask(name, ask) for name, ask in asks.items())
    return Preconditions(radius, found)


def _ask(name: str, ask: Callable[[], str]) -> Precondition:
    try:
        return Precondition(name, seen=ask())
    except Unobservable as error:
        unseen = error.unseen
        # Whatever could not be asked: not knowing is no ground to break something on.
        return Precondition(name, unmet=Unseen(Cause.UNSAFE, unseen.what, unseen.detail, unseen.remedy))


def _bounded(radius: Radius, disrupt: Disrupt) -> str:
    bound = disrupt.blast_radius
    allowed = f"{Radius(bound.nodes, bound.pods, bound.minutes * 60).text()} are allowed"
    if radius.nodes > bound.nodes or radius.pods > bound.pods or radius.seconds > bound.minutes * 60:
        remedy = "widen disrupt.blast_radius in the target, or lower disrupt.max_seconds"
        raise Unobservable(Unseen(Cause.UNSAFE, RADIUS, f"it would touch {radius.text()}; {allowed}", remedy))
    return f"{radius.text()}; {allowed}"


def _in_window(disrupt: Disrupt, now: datetime, seconds: float) -> str:
    """The fault must be over before the window closes."""
    if not disrupt.windows:
        return "the target names none: always"
    over = now + timedelta(seconds=seconds)
    openings: list[datetime] = []
    for window in disrupt.windows:
        opens, closes = window.around(now)
        if opens <= now and over <= closes:
            return f"open until {closes:%Y-%m-%d %H:%M} UTC"
        openings.append(opens if opens > now else window.around(closes)[0])
    detail = f"none is open for {seconds:g} s from {now:%Y-%m-%d %H:%M} UTC on; the next opens at "
    remedy = "run then, or see disrupt.windows of the target"
    raise Unobservable(
        Unseen(Cause.UNSAFE, "the maintenance window", f"{detail}{min(openings):%Y-%m-%d %H:%M} UTC", remedy)
    )
