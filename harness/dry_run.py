"""What a run would break, said instead of done: the fault with its parameters now, and whether it could go ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from fixtures import control_plane, pooler, postgres_failover, redis
from fixtures.faults import FAULTS, Plan
from fixtures.kubernetes import Api
from fixtures.unobservable import Unobservable
from harness.injection import still_broken
from harness.journal import Journal
from harness.lease import Lease, held
from harness.preconditions import look
from policies.facts.base import Unseen
from targets.model import Target

PLANS: Final[Mapping[str, Callable[[Api, Target], Plan]]] = {
    "control-plane": control_plane.plan,
    "pooler": pooler.plan,
    "postgres": postgres_failover.plan,
    "postgres-node": postgres_failover.plan_of_node,
    "redis": redis.plan,
}
"""By what a test says it ``disrupts``; each is made beside the observation that injects the fault."""


def rehearse(
    system: str,
    target: Target,
    api: Api,
    *,
    restore: str,
    say: Callable[[str], None],
    progress: Callable[[str], None],
) -> Unseen | None:
    """Say what would be done to this system, and return why it would not be; None where it could go ahead now.

    ``api`` is the disruptor's, ``restore`` the command that undoes what a run could not; ``progress`` is told what is
    waited for. Nothing is written and nothing is broken. Raises Unobservable where it cannot be told.
    """
    plan = PLANS[system](api, target)
    fault = FAULTS[plan.fault]
    unmet: list[Unseen] = []
    holder = Lease(api, target.identities.namespace, "", progress).holder()
    if holder is not None:
        unmet.append(held(holder))
    entries = Journal(api, target.identities.namespace).entries()
    if entries:
        unmet.append(still_broken(entries, restore))
    found = look(fault, target, api, plan.parameters, datetime.now(UTC))
    say(f"{fault.name} {fault.touches.format(**plan.parameters)}")
    for each in found.all:
        say(f"  {each.name}: {each.seen if each.unmet is None else 'not met'}")
    unmet += found.unmet
    for unseen in unmet:
        say(f"  would not be injected: {Unobservable(unseen)}")
    say(f"  would be undone by the run itself, else by the fault after its time, else by `{restore}`")
    return unmet[0] if unmet else None
