"""Waivers laid over what was seen: which breaches they cover, and what is wrong with the waivers themselves.

A waiver accepts a breach that was seen. It never covers what was not: a read that was refused, a check that broke, a
clause without evidence. And it never changes a verdict; it only says that a gate need not wait for it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Final, Literal

from msgspec import Struct

from policies.catalogue import Catalogue, Severity
from policies.profiles import WaiverTerms
from policies.waivers import Waiver
from reports.model import RunRecord, Verdict
from reports.overview import overview

_JUDGED: Final = (Verdict.passed, Verdict.failed, Verdict.not_applicable)


class Flaw(StrEnum):
    """What can be wrong with a waiver."""

    expired = "expired"
    not_yet = "not yet in force"
    too_long = "too long"
    not_waivable = "not waivable"
    too_wide = "too wide"
    self_approved = "self-approved"
    unused = "unused"
    unseen = "not seen"


class WaiverFinding(Struct, frozen=True, kw_only=True):
    """One thing that is wrong with one waiver, which then covers nothing."""

    requirement: str
    clause: str
    subject: str
    flaw: Flaw
    sentence: str


@dataclass(frozen=True)
class Breach:
    """Something that was seen not to hold: a subject of a clause, or a limit that the target loosened."""

    requirement: str
    clause: str
    subject: str
    kind: Literal["finding", "deviation"] = "finding"

    def is_named_by(self, waiver: Waiver) -> bool:
        """Whether the waiver is about it. A loosened limit is named by its whole text, value included."""
        if (waiver.requirement, waiver.clause) != (self.requirement, self.clause):
            return False
        return waiver.names(self.subject) if self.kind == "finding" else waiver.subject == self.subject


@dataclass(frozen=True)
class Overlay:
    """``covered`` are the breaches that a waiver in order covers, ``findings`` what is wrong with the others."""

    covered: Mapping[Breach, Waiver] = field(default_factory=dict)
    findings: tuple[WaiverFinding, ...] = ()


def lay_over(
    waivers: Iterable[Waiver],
    breaches: Collection[Breach],
    *,
    seen: Collection[tuple[str, str]],
    unseen: Mapping[tuple[str, str], str],
    terms: WaiverTerms,
    catalogue: Catalogue,
    today: date,
) -> Overlay:
    """Lay the waivers of one target over what was seen of it.

    ``seen`` are the clauses that were judged, ``unseen`` those that were looked for and not judged, with the reason.
    A clause in neither was not asked for, and a waiver for it is neither used nor unused.
    """
    covered: dict[Breach, Waiver] = {}
    findings: list[WaiverFinding] = []
    for waiver in waivers:
        named = [breach for breach in breaches if breach.is_named_by(waiver)]
        clause = (waiver.requirement, waiver.clause)
        flaws = list(_flaws(waiver, catalogue.requirement(waiver.requirement).severity, terms, today))
        if len(named) > terms.most_subjects:
            flaws.append((Flaw.too_wide, f"it covers {len(named)} subjects, at most {terms.most_subjects} may be"))
        if not named and clause in seen:
            flaws.append((Flaw.unused, "it names nothing that is broken; remove it"))
        if not named and clause in unseen:
            flaws.append((Flaw.unseen, f"a waiver accepts only a breach that was seen; here: {unseen[clause]}"))
        findings += [
            WaiverFinding(requirement=clause[0], clause=clause[1], subject=waiver.subject, flaw=flaw, sentence=sentence)
            for flaw, sentence in flaws
        ]
        if not flaws:
            covered |= {breach: waiver for breach in named if breach not in covered}
    return Overlay(covered, tuple(findings))


def over_run(
    record: RunRecord, waivers: Iterable[Waiver], *, terms: WaiverTerms, catalogue: Catalogue, today: date
) -> Overlay:
    """Lay the waivers over one run alone: its broken subjects, and the limits that its target loosened."""
    wanted = overview(record, catalogue).wanted
    breaches = {
        Breach(result.requirement, result.clause, finding.subject)
        for result in record.results
        for finding in result.findings
        if finding.ok is False
    }
    for deviation in record.manifest.deviations if record.manifest is not None else ():
        clauses = catalogue.requirement(deviation.requirement).clauses
        home = next((clause.slug for clause in clauses if deviation.in_force.name in clause.limits), "")
        breaches.add(Breach(deviation.requirement, home, deviation.in_force.text(), "deviation"))
    return lay_over(
        [waiver for waiver in waivers if waiver.target in {None, record.target}],
        breaches,
        seen={(state.requirement.id, state.clause.slug) for state in wanted if state.verdict in _JUDGED},
        unseen={
            (state.requirement.id, state.clause.slug): state.why or state.verdict.value
            for state in wanted
            if state.verdict not in _JUDGED
        },
        terms=terms,
        catalogue=catalogue,
        today=today,
    )


def _flaws(waiver: Waiver, severity: Severity, terms: WaiverTerms, today: date) -> Iterator[tuple[Flaw, str]]:
    """What is wrong with a waiver, whatever was seen."""
    if today > waiver.expires:
        yield Flaw.expired, f"it ended on {waiver.expires}; mend the breach, or have it decided anew"
    if today < waiver.issued:
        yield Flaw.not_yet, f"it begins on {waiver.issued}"
    most = terms.most_days.get(severity)
    if most is None:
        yield Flaw.not_waivable, f"this profile waives nothing that is {severity}"
    elif waiver.days > most:
        yield Flaw.too_long, f"it runs for {waiver.days} days, at most {most} where the requirement is {severity}"
    if "*" in waiver.subject:
        if not re.search(r"\w", waiver.subject):
            yield Flaw.too_wide, "its subject names nothing; name what is accepted"
        elif severity not in terms.patterns:
            yield Flaw.too_wide, f"its subject holds a *, which this profile does not take where it is {severity}"
    requesters, approvers = _people(waiver.requested_by), _people(waiver.approver)
    if not requesters or not approvers:
        yield Flaw.self_approved, "it names nobody who asked for it, or nobody who approved it"
    elif requesters & approvers:
        yield Flaw.self_approved, f"{waiver.approver} approved it and had asked for it"


_ASIDE: Final = re.compile(r"\([^)]*\)")
_BETWEEN_NAMES: Final = re.compile(r"[<>,;&+/]|\band\b")


def _people(text: str) -> frozenset[str]:
    """The names in a text, so that `J. Doe <j.doe@example.com>` and `j.doe@example.com` are the same person."""
    parts = _BETWEEN_NAMES.split(_ASIDE.sub(" ", unicodedata.normalize("NFKC", text).casefold()))
    names = (re.sub(r"[\W_]", "", part.partition("@")[0]) for part in parts)
    return frozenset(name for name in names if name)
