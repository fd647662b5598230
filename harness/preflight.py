"""Before anything starts: is this the deployment that was named, may we do what we will do, is nothing still broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import pytest

from fixtures import access, alerts, control_plane, kubernetes, network
from fixtures.kubernetes import Access, Api
from fixtures.scratch import leftovers
from fixtures.unobservable import Unobservable
from harness import selection
from harness.identity import as_identity
from harness.injection import still_broken
from harness.journal import Journal
from harness.lease import Lease, held
from policies.catalogue import KINDS, Catalogue
from policies.facts.base import Unseen
from targets.model import Target

# What the scanner needs for each pytest fixture, and below the disruptor; declared in the module beside the calls.
SCANNER_NEEDS: Final[dict[str, tuple[Access, ...]]] = {"snapshot": kubernetes.SNAPSHOT_ACCESS}
DISRUPTOR_NEEDS: Final[dict[str, tuple[Access, ...]]] = {
    "pod_network": network.ACCESS,
    "quota_trials": access.ACCESS,
    "defaults": access.ACCESS,
    "foreign_secrets": access.ACCESS,
    "quota_alerts": alerts.ACCESS,
    "control_plane_outage": control_plane.ACCESS,
}


@dataclass
class Preflight:
    """What was found before the start. ``blind`` says why nothing may or can be looked at, None where it can."""

    version: str = ""
    """The API server's gitVersion."""
    scanner: Api | None = None
    disruptor: Api | None = None
    blind: Unseen | None = None
    refused: dict[str, tuple[Access, ...]] = field(default_factory=dict)
    """By fixture: what it needs and may not do."""
    still_broken: str = ""
    """Why no run may start: an earlier one left something broken."""


def look(
    target: Target,
    operator: Api,
    items: Sequence[pytest.Item],
    catalogue: Catalogue,
    *,
    restore: str,
    say: Callable[[str], None],
) -> Preflight:
    """Ask the target everything that must be known first, and say what to expect.

    ``restore`` is the command that undoes what an earlier run left broken.
    """
    found = Preflight()
    say(f"preflight: target {target.name} ({target.description}), context {target.cluster.context}")
    try:
        found.version = operator.get_json("/version", f"version of {operator.server}").get("gitVersion", "?")
        found.scanner = as_identity(target, operator, target.identities.scanner)
        if any(_kind(item, catalogue) != "inspect" for item in items):
            found.disruptor = as_identity(target, operator, target.identities.disruptor)
    except Unobservable as error:
        found.blind = error.unseen
        say(f"preflight: {error}")
        return found
    try:
        found.refused = _refused(found.scanner, found.disruptor, items)
    except Unobservable as error:  # the checks find out for themselves
        say(f"preflight: what may be seen is not known: {error}")
    try:
        entries = Journal(found.scanner, target.identities.namespace).entries()
        holder = Lease(found.scanner, target.identities.namespace, "").holder() if entries else None
    except Unobservable as error:
        entries = ()  # a fault is not injected on this word: the injector reads the journal again, and refuses
        say(f"preflight: whether an earlier run left something broken is not known: {error}")
    if entries and holder is not None:
        found.blind = held(holder)  # what it breaks now would be judged as if it were always so
        say(f"preflight: {found.blind.detail}; {found.blind.remedy}")
        return found
    if entries:
        unseen = still_broken(entries, restore)
        found.still_broken = f"an earlier run left something broken; {unseen.detail} -> {unseen.remedy}"
        return found
    counts = {kind: sum(_kind(item, catalogue) == kind for item in items) for kind in KINDS}
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    say(f"preflight: Kubernetes {found.version}; {len(items)} clauses: {kinds}")
    for fixture, missing in found.refused.items():
        blind = [item for item in items if fixture in getattr(item, "fixturenames", ())]
        verbs = ", ".join(str(m) for m in missing)
        say(f"preflight: {fixture} may not {verbs}: {len(blind)} clauses may stay not evaluated")
    for name in _left_over(found.scanner):
        say(f"preflight: {name} is there from another run; where that has ended, `{restore}` removes it")
    for component in target.emulated:
        say(f"preflight: emulated: {component.component} by {component.by}")
    return found


def _left_over(scanner: Api) -> tuple[str, ...]:
    try:
        return leftovers(scanner)
    except Unobservable:  # what may not be listed is said where a check needs it
        return ()


def _kind(item: pytest.Item, catalogue: Catalogue) -> str:
    return catalogue.clause(*selection.names(item)).kind


def _refused(scanner: Api, disruptor: Api | None, items: Sequence[pytest.Item]) -> dict[str, tuple[Access, ...]]:
    wanted = {fixture for item in items for fixture in getattr(item, "fixturenames", ())}
    asks = [
        (fixture, api, access)
        for api, needs in ((scanner, SCANNER_NEEDS), (disruptor, DISRUPTOR_NEEDS))
        if api is not None
        for fixture in sorted(wanted & needs.keys())
        for access in needs[fixture]
    ]
    refused: dict[str, tuple[Access, ...]] = {}
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = pool.map(lambda ask: ask[1].self_access_review(ask[2]), asks)
        for (fixture, _, access), allowed in zip(asks, answers, strict=True):
            if not allowed:
                refused[fixture] = (*refused.get(fixture, ()), access)
    return refused
