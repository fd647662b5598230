"""Proof that a deployment is as it was found: look again, judge again, search for leftovers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fixtures.unobservable import Unobservable
from fixtures.waiting import NotYet, WaitTimeout, wait_until
from policies.facts.base import Fact
from policies.finding import Finding
from policies.limits import Limits

RESTORED_WITHIN_S = 180.0  # a node that was cut off needs two kubelet heartbeats and its static pods a restart
TIDY_WITHIN_S = 60.0  # a pod that was told to end has five seconds, and a busy kubelet takes its own

Rule = Callable[..., Iterable[Finding]]


@dataclass(frozen=True)
class Judged:
    """An inspect clause that passed before anything was broken, and how to judge it again."""

    requirement: str
    clause: str
    rule: Rule
    facts: tuple[Fact, ...]
    limits: Limits

    def again(self, fresh: dict[type[Fact], Fact]) -> list[Finding]:
        """The findings on fresh facts; what the target declares does not change and is taken as it was."""
        return list(self.rule(*(fresh.get(type(fact), fact) for fact in self.facts), self.limits))


def prove_restored(
    judged: Sequence[Judged],
    look_again: Callable[[], dict[type[Fact], Fact]],
    leftovers: Callable[[], Sequence[str]],
    within_s: float,
    progress: Callable[[str], None],
) -> list[str]:
    """Sentences on what is not as it was; empty when everything is.

    Inspects again until every clause that passed before passes again and no leftover is found: controllers need their
    time after a fault. Where nothing is to be judged again, nothing is inspected.
    """
    wrong: list[str] = []

    def restored() -> bool:
        wrong.clear()
        try:
            fresh = look_again() if judged else {}
            left = leftovers()
        except Unobservable as error:
            wrong.append(f"whether all is as it was found is not known: {error.unseen.what}: {error.unseen.detail}")
            raise NotYet(wrong[0]) from error
        for check in judged:
            findings = check.again(fresh)
            broken = [finding for finding in findings if finding.ok is not True]
            wrong.extend(
                f"{check.requirement} {check.clause} · {f.subject}: {f.observed}, {f.expected}" for f in broken
            )
            if not findings:
                wrong.append(f"{check.requirement} {check.clause}: nothing is there any more to judge")
        wrong.extend(f"left over: {name}" for name in left)
        if wrong:
            raise NotYet(f"{wrong[0]}" + (f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""))
        return True

    try:
        wait_until(restored, within_s, "the deployment to be as it was found", progress=progress)
    except WaitTimeout:
        return list(wrong)
    return []
