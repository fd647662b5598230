"""Before anything starts: is this the deployment that was named, may we do what we will do, is nothing still broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from fixtures.kubernetes import Api
from fixtures.scratch import leftovers
from fixtures.unobservable import Unobservable
from harness.identity import as_identity
from harness.injection import still_broken
from harness.journal import Journal
from harness.lease import Lease, held
from harness.needs import Asked, Identity, Need, needs
from policies.catalogue import KINDS
from policies.facts.base import Unseen
from targets.model import Target

REVIEWS_AT_ONCE = 8


@dataclass
class Preflight:
    """What was found before the start. ``blind`` says why nothing may or can be looked at, None where it can."""

    version: str = ""
    """The API server's gitVersion."""
    scanner: Api | None = None
    disruptor: Api | None = None
    blind: Unseen | None = None
    refused: tuple[Need, ...] = ()
    """What the checks need and the identities may not do."""
    unknown: str = ""
    """Why it is not known what they may do."""
    still_broken: str = ""
    """Why no run may start: an earlier one left something broken."""
    left_over: tuple[str, ...] = ()
    """What is there from other runs."""


def look(
    target: Target,
    operator: Api,
    checks: Sequence[Asked],
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
        if any(check.kind != "inspect" for check in checks):
            found.disruptor = as_identity(target, operator, target.identities.disruptor)
    except Unobservable as error:
        found.blind = error.unseen
        say(f"preflight: {error}")
        return found
    try:
        found.refused = _refused(operator, found.scanner, found.disruptor, needs(checks, target))
    except Unobservable as error:  # the checks find out for themselves
        found.unknown = str(error)
        say(f"preflight: what may be seen is not known: {error}")
    try:
        entries = Journal(found.scanner, target.identities.namespace).entries()
        holder = Lease(found.scanner, target.identities.namespace, "", say).holder() if entries else None
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
    counts = {kind: sum(check.kind == kind for check in checks) for kind in KINDS}
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    say(f"preflight: Kubernetes {found.version}; {len(checks)} clauses: {kinds}")
    for need in found.refused:
        stopped = f"{len(need.clauses)} clauses may stay not evaluated" if need.clauses else "it is asked all the same"
        say(f"preflight: {need.identity} may not {need.access}, for {', '.join(need.uses)}: {stopped}")
    found.left_over = _left_over(found.scanner)
    for name in found.left_over:
        say(f"preflight: {name} is there from another run; where that has ended, `{restore}` removes it")
    for component in target.emulated:
        say(f"preflight: emulated: {component.component} by {component.by}")
    return found


def disturbed(scanner: Api, namespace: str, run: str) -> Unseen | None:
    """Which other run breaks things now; None where none does, or where that cannot be asked."""
    try:
        if not Journal(scanner, namespace).entries():
            return None
        holder = Lease(scanner, namespace, "").holder()
    except Unobservable:
        return None
    return held(holder) if holder is not None and holder.run != run else None


def _left_over(scanner: Api) -> tuple[str, ...]:
    try:
        return leftovers(scanner)
    except Unobservable:  # what may not be listed is said where a check needs it
        return ()


def _refused(operator: Api, scanner: Api, disruptor: Api | None, wanted: Sequence[Need]) -> tuple[Need, ...]:
    """Those that the API would refuse. Raises Unobservable where it does not say."""
    apis: dict[Identity, Api | None] = {"operator": operator, "scanner": scanner, "disruptor": disruptor}

    def allowed(need: Need) -> bool:
        api = apis[need.identity]
        return api is None or api.self_access_review(need.access)

    with ThreadPoolExecutor(REVIEWS_AT_ONCE, thread_name_prefix="review") as pool:
        answers = list(pool.map(allowed, wanted))
    return tuple(need for need, granted in zip(wanted, answers, strict=True) if not granted)
