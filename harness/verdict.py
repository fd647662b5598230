"""The one place where findings, errors and the target's word become a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fixtures.unobservable import Unobservable
from policies.facts.base import Cause, Fact
from policies.finding import Finding
from reports.model import Verdict
from targets.model import Target


@dataclass(frozen=True)
class Decision:
    """A verdict with the cause that it needs when it is ``not_evaluated``."""

    verdict: Verdict
    cause: Cause | None = None


def decide(findings: Sequence[Finding], facts: Iterable[Fact], not_before: datetime) -> Decision:
    """Judge one clause.

    A violation that was seen stays a violation whatever else could not be seen. Otherwise anything unseen, nothing
    examined, or a fact from before ``not_before`` (the start of the run, UTC) means that there is no pass.
    """
    if any(finding.ok is False for finding in findings):
        return Decision(Verdict.failed)
    unseen = [finding for finding in findings if finding.ok is None]
    if unseen:
        return Decision(Verdict.not_evaluated, unseen[0].cause or Cause.INVALID)
    if any(fact.seen_at < not_before for fact in facts):
        return Decision(Verdict.not_evaluated, Cause.STALE)
    if not findings:
        return Decision(Verdict.not_evaluated, Cause.EMPTY)
    return Decision(Verdict.passed)


BROKE: Final = Decision(Verdict.error)
"""The check itself broke: it says nothing of what it was to judge."""


def decide_error(error: Unobservable) -> Decision:
    """Judge one clause whose check could not see what it needs."""
    return Decision(Verdict.not_evaluated, error.unseen.cause)


def said_by_target(target: Target, requirement: str, clause: str) -> tuple[Decision, str] | None:
    """What the target says of a clause, so that no check is asked: it does not apply here, or it is for a person.

    Comes with the sentence that says why; None where a check decides.
    """
    reason = target.not_applicable_reason(requirement, clause)
    if reason is not None:
        return Decision(Verdict.not_applicable), f"{requirement} {clause} · not applicable: {reason}"
    look_at = target.for_a_person(requirement, clause)
    if look_at is not None:
        return Decision(Verdict.manual), f"{requirement} {clause} · only a person can judge it here  -> {look_at}"
    return None


SHOWN = 8
"""Subjects spelled out in a message; the rest is counted, and stands in findings.jsonl and the report."""


def sentences(requirement: str, clause: str, findings: Sequence[Finding], remedy: str) -> str:
    """What an operator reads, one line a subject: ``1.1 write-gap · endpoint: <observed>, <expected>  -> <remedy>``."""
    wanted = [f for f in findings if f.ok is False] or [f for f in findings if f.ok is None]
    lines = []
    for finding in wanted[:SHOWN]:
        line = f"{requirement} {clause} · {finding.subject}: {finding.observed}, {finding.expected}"
        lines.append(f"{line}  -> {finding.remedy or remedy}")
    if len(wanted) > SHOWN:
        lines.append(f"{requirement} {clause} · and {len(wanted) - SHOWN} more subjects, all in findings.jsonl")
    return "\n".join(lines)
