"""What a run would break, said instead of done: the fault with its parameters now, and whether it could go ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from fixtures import control_plane
from fixtures.faults import FAULTS, Plan
from fixtures.kubernetes import Api
from fixtures.unobservable import Unobservable
from harness.injection import Injector, still_broken
from harness.lease import held
from harness.preconditions import look
from policies.facts.base import Unseen
from targets.model import Target

PLANS: Final[Mapping[str, Callable[[Api, Target], Plan]]] = {"control-plane": control_plane.plan}
"""By what a test says it ``disrupts``; each is made beside the observation that injects the fault."""


def rehearse(system: str, injector: Injector) -> Unseen | None:
    """Say what would be done to this system, and return why it would not be; None where it could go ahead now.

    Nothing is written and nothing is broken. Raises Unobservable where it cannot be told.
    """
    say = injector.progress
    plan = PLANS[system](injector.api, injector.target)
    fault = FAULTS[plan.fault]
    unmet: list[Unseen] = []
    holder = injector.lease.holder()
    if holder is not None:
        unmet.append(held(holder))
    entries = injector.journal.entries()
    if entries:
        unmet.append(still_broken(entries, injector.restore))
    found = look(fault, injector.target, injector.api, plan.parameters, datetime.now(UTC))
    say(f"dry run: {fault.name} {fault.touches.format(**plan.parameters)}")
    for each in found.all:
        say(f"dry run:   {each.name}: {each.seen if each.unmet is None else 'not met'}")
    unmet += found.unmet
    for unseen in unmet:
        say(f"dry run:   would not be injected: {Unobservable(unseen)}")
    say(f"dry run:   would be undone by the run itself, else by the fault after its time, else by `{injector.restore}`")
    return unmet[0] if unmet else None
