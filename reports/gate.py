"""The gate: GO or NO-GO for one target and one profile, from the evidence of its runs alone.

For each clause that the profile demands the **latest word** counts, over all runs of the target. It settles the clause
where it is a pass (or does not apply), stands in a run that can be trusted, and is young enough. Where the latest word
is a worse one, or stands in a run that is in doubt, an older and better one does not come back. Every breach that was
seen can be waived, for a time; what was not seen cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal

from msgspec import Struct, structs

from policies.catalogue import Catalogue, Kind, Severity
from policies.limits import Limit
from policies.profiles import Demand, Profile
from policies.waivers import Waiver, Waivers
from reports.headline import remedy_lines
from reports.model import WORST_FIRST, ClauseResult, Verdict
from reports.runs import StoredRun
from reports.waiving import Breach, Overlay, WaiverFinding, lay_over

EXIT_GO: Final = 0
EXIT_NO_GO: Final = 1


class Standing(StrEnum):
    """Where a clause stands at the gate. The first three settle it."""

    holds = "holds"
    not_applicable = "does not apply"
    waived = "waived"
    broken = "broken"
    check_broke = "check broke"
    untrusted = "not to be trusted"
    not_evaluated = "not evaluated"
    manual = "for a person"
    too_old = "too old"
    outdated = "other limits"
    no_evidence = "never judged"
    no_check = "no check yet"


SETTLED: Final = frozenset({Standing.holds, Standing.not_applicable, Standing.waived})
SEEN: Final = frozenset({Standing.holds, Standing.not_applicable, Standing.broken})
_OF_VERDICT: Final = {
    Verdict.passed: Standing.holds,
    Verdict.failed: Standing.broken,
    Verdict.error: Standing.check_broke,
    Verdict.not_evaluated: Standing.not_evaluated,
    Verdict.not_applicable: Standing.not_applicable,
    Verdict.manual: Standing.manual,
}


class Subject(Struct, frozen=True, kw_only=True):
    """A subject that was seen not to hold, and the ticket of the waiver that covers it; empty where none does."""

    subject: str
    observed: str
    expected: str
    ticket: str = ""


class ClauseAnswer(Struct, frozen=True, kw_only=True):
    """One clause at the gate. ``verdict`` is the raw one of its latest result, whatever is waived."""

    requirement: str
    clause: str
    kind: Kind
    severity: Severity
    must: bool
    standing: Standing
    verdict: Verdict | None = None
    run: str = ""
    seen_from: datetime | None = None
    """When the run that saw it had started, UTC."""
    why: str = ""
    remedy: str = ""
    broken: tuple[Subject, ...] = ()

    @property
    def blocks(self) -> bool:
        """Whether it alone makes the answer NO-GO."""
        return self.must and self.standing not in SETTLED


class Loosened(Struct, frozen=True, kw_only=True):
    """A limit that the target loosened, at the clause where the catalogue states it."""

    requirement: str
    clause: str
    in_force: str
    catalogue: str
    run: str
    blocks: bool
    ticket: str = ""
    """Of the waiver that covers it; empty where none does."""


class Accepted(Struct, frozen=True, kw_only=True):
    """A waiver that covers something, and what."""

    requirement: str
    clause: str
    subject: str
    covers: tuple[str, ...]
    reason: str
    risk: str
    requested_by: str
    approver: str
    ticket: str
    expires: str


class UsedRun(Struct, frozen=True, kw_only=True):
    """A run whose word counted, and for how many clauses."""

    run: str
    started: datetime
    clauses: int


class DoubtedRun(Struct, frozen=True, kw_only=True):
    """A run that is no evidence, and why."""

    run: str
    why: str


class Blocker(Struct, frozen=True, kw_only=True):
    """One thing that makes the answer NO-GO. ``what`` is a standing, a flaw, or one of the words below."""

    about: Literal["deployment", "clause", "deviation", "waiver", "evidence"]
    what: str
    requirement: str = ""
    clause: str = ""
    subjects: tuple[str, ...] = ()
    sentence: str
    remedy: str


class Answer(Struct, frozen=True, kw_only=True):
    """What the gate says, with everything that it says it from."""

    format: int = 1
    go: bool
    profile: str
    target: str
    at: datetime
    catalogue_digest: str
    keys: tuple[str, ...]
    """Fingerprints of the keys whose signature was demanded; none where unsigned evidence counted as well."""
    blockers: tuple[Blocker, ...]
    clauses: tuple[ClauseAnswer, ...]
    loosened: tuple[Loosened, ...]
    accepted: tuple[Accepted, ...]
    waiver_findings: tuple[WaiverFinding, ...]
    used: tuple[UsedRun, ...]
    doubted: tuple[DoubtedRun, ...]

    @property
    def exit_code(self) -> int:
        """0 for GO alone."""
        return EXIT_GO if self.go else EXIT_NO_GO


@dataclass(frozen=True)
class _Word:
    """The latest word on a clause."""

    demand: Demand
    standing: Standing
    why: str = ""
    run: StoredRun | None = None
    result: ClauseResult | None = None

    @property
    def broken(self) -> tuple[Subject, ...]:
        found = self.result.findings if self.result is not None and self.standing is Standing.broken else ()
        return tuple(
            Subject(subject=f.subject, observed=f.observed, expected=f.expected) for f in found if f.ok is False
        )

    @property
    def unseen(self) -> int:
        """How many subjects of a broken clause were not seen besides."""
        return sum(f.ok is None for f in self.result.findings) if self.result is not None else 0


def window(profile: Profile) -> timedelta:
    """How old evidence may be at most, whatever it is of."""
    return max(profile.fresh_for(kind) for kind in profile.kinds)


def gate(
    runs: Iterable[StoredRun],
    *,
    profile: Profile,
    catalogue: Catalogue,
    waivers: Waivers,
    target: str,
    now: datetime,
    gaps: Iterable[tuple[datetime, str]] = (),
    keys: Sequence[str] = (),
) -> Answer:
    """Judge a target by its runs. ``now`` is UTC; ``gaps`` are places where runs are missing, as (until when, what).
    ``keys`` are the fingerprints that signatures were checked with.

    Pure: reads neither clock nor disk. Every run that is not to count must come with its doubt.
    """
    mine = sorted((run for run in runs if run.of(target)), key=lambda run: (run.started, run.name))
    words = [_latest(demand, mine, profile, catalogue, now) for demand in profile.demands(catalogue)]
    loosened = _loosened(words, mine, catalogue)
    breaches = {
        *(Breach(*word.demand.name, subject.subject) for word in words for subject in word.broken),
        *(Breach(one.requirement, one.clause, one.in_force, "deviation") for one in loosened),
    }
    overlay = lay_over(
        [waiver for waiver in waivers.waivers if waiver.target in {None, target}],
        breaches,
        seen={word.demand.name for word in words if word.standing in SEEN},
        unseen={word.demand.name: word.why or word.standing.value for word in words if word.standing not in SEEN},
        terms=profile.waivers,
        catalogue=catalogue,
        today=now.date(),
    )
    clauses = tuple(_answer(word, overlay, catalogue, target) for word in words)
    loosened = tuple(_with_ticket(one, overlay, profile) for one in loosened)
    recent = [run for run in mine if now - run.started <= window(profile)]
    blockers = (
        *_left_broken(mine, target),
        *_of_clauses(clauses),
        *_of_loosened(loosened),
        *_of_waivers(overlay.findings, profile),
        *_missing(words, gaps, target),
        *_nothing_held(clauses, target),
    )
    return Answer(
        go=not blockers,
        profile=profile.profile,
        target=target,
        at=now,
        catalogue_digest=catalogue.digest,
        keys=tuple(keys),
        blockers=blockers,
        clauses=clauses,
        loosened=loosened,
        accepted=_accepted(overlay),
        waiver_findings=overlay.findings,
        used=_used(mine, words),
        doubted=tuple(DoubtedRun(run=run.name, why=run.doubt) for run in recent if run.doubt),
    )


# --- the latest word


def _latest(demand: Demand, mine: Sequence[StoredRun], profile: Profile, catalogue: Catalogue, now: datetime) -> _Word:
    taken_up = set(_taken_up(mine, demand))
    spoke = [
        (at, bool(run.doubt), -_grave(run, demand), run)
        for run in mine
        if (at := run.spoke_at(demand.name)) and (run.name, at) not in taken_up
    ]
    if not spoke:
        known = [run.manifest.checks for run in mine if run.manifest is not None and not run.doubt]
        if known and demand.name not in known[-1]:
            return _Word(demand, Standing.no_check)
        return _Word(demand, Standing.no_evidence)
    *_, run = max(spoke, key=lambda word: word[:-1])  # of words at the same time the gravest counts
    result = _worst(run, demand)
    if run.doubt or result is None:
        return _Word(demand, Standing.untrusted, f"run {run.name}: {run.doubt}", run, result)
    age = now - run.seen_from(result)
    if age < timedelta(0):
        why = f"run {run.name} began at {run.started:%Y-%m-%d %H:%M} UTC, which is yet to come"
        return _Word(demand, Standing.untrusted, why, run, result)
    fresh = profile.fresh_for(demand.clause.kind)
    if age > fresh:
        why = f"{result.verdict.value} {hours(age)} ago, counts for {hours(fresh)}"
        return _Word(demand, Standing.too_old, why, run, result)
    if doubt := _belied(result):
        return _Word(demand, Standing.untrusted, f"run {run.name}: {doubt}", run, result)
    if profile.signed and not _vouched(run, result):
        why = f"run {run.name} carried it over from run {result.carried_from}, which was killed and is not signed"
        return _Word(demand, Standing.untrusted, why, run, result)
    if other := _other_limits(demand, run, catalogue):
        return _Word(demand, Standing.outdated, other, run, result)
    return _Word(demand, _OF_VERDICT[result.verdict], _why(result), run, result)


def _taken_up(mine: Sequence[StoredRun], demand: Demand) -> Iterator[tuple[str, datetime]]:
    """The words, by run and time, that a later run took up: they are its own now, whatever became of the first one."""
    for run in mine:
        if not run.doubt:
            yield from ((r.carried_from, r.ended) for r in run.results(demand.name) if r.carried_from)


def _vouched(run: StoredRun, result: ClauseResult) -> bool:
    """Whether the run that saw it was signed; one that was killed and taken up again was not, for a while."""
    return not result.carried_from or run.manifest is None or bool(run.manifest.origin(result).key)


def _worst(run: StoredRun, demand: Demand) -> ClauseResult | None:
    return min(run.results(demand.name), key=lambda result: WORST_FIRST.index(result.verdict), default=None)


def _grave(run: StoredRun, demand: Demand) -> int:
    """The rank of what a run says of a clause; the lower, the worse."""
    result = _worst(run, demand)
    return WORST_FIRST.index(result.verdict) if result is not None else 0


def _belied(result: ClauseResult) -> str:
    """How a result's findings contradict its verdict; empty where they do not."""
    oks = [finding.ok for finding in result.findings]
    if result.verdict is Verdict.passed and not (oks and all(oks)):
        return "the clause passed, and its findings do not say so"
    if result.verdict is Verdict.failed and False not in oks:
        return "the clause failed, and its findings do not say so"
    return ""


def _why(result: ClauseResult) -> str:
    if result.verdict is Verdict.passed:
        return ""
    lines = remedy_lines(result.message)
    seen = lines[0][0].removeprefix(f"{result.requirement} {result.clause} · ") if lines else ""
    return f"{result.cause.value}: {seen}" if result.cause is not None else seen


def hours(age: timedelta) -> str:
    """``40 s``, ``25 min``, ``4 h``, ``26.5 h``, ``31 days``."""
    if age < timedelta(minutes=1):
        return f"{age.total_seconds():.0f} s"
    if age < timedelta(hours=1):
        return f"{age.total_seconds() / 60:.0f} min"
    if age < timedelta(days=4):
        return f"{age / timedelta(hours=1):.3g} h"
    return f"{age / timedelta(days=1):.3g} days"


# --- limits


def _limits_in_force(demand: Demand, run: StoredRun, catalogue: Catalogue) -> Iterator[tuple[Limit, Limit | None]]:
    """The catalogue's limits of a clause today, each with the one that was in force in the run."""
    then = run.manifest.limits.get(demand.requirement.id, {}) if run.manifest is not None else {}
    for name, limit in catalogue.limits(*demand.name).items():
        yield limit, then.get(name)


def _other_limits(demand: Demand, run: StoredRun, catalogue: Catalogue) -> str:
    for ours, then in _limits_in_force(demand, run, catalogue):
        if then is None:
            return f"judged by a catalogue that had no limit {ours.name}"
        if (then.unit, then.direction) != (ours.unit, ours.direction):
            return f"judged by {then.text()}, which cannot be compared with {ours.text()}"
    return ""


def _loosened(words: Iterable[_Word], mine: Sequence[StoredRun], catalogue: Catalogue) -> tuple[Loosened, ...]:
    """Limits looser than the catalogue's: in the runs that judged, and in the newest, which is the target as it is."""
    newest = next((run for run in reversed(mine) if run.manifest is not None and not run.doubt), None)
    found: dict[tuple[str, str, str], Loosened] = {}
    for word in words:
        for run in (word.run if word.standing in SEEN else None, newest):
            if run is None:
                continue
            for ours, then in _limits_in_force(word.demand, run, catalogue):
                comparable = then is not None and (then.unit, then.direction) == (ours.unit, ours.direction)
                if then is None or not comparable or not then.looser_than(ours):
                    continue
                home = _home(word.demand, ours.name, catalogue)
                key = (*home, then.text())
                blocks = word.demand.must or (key in found and found[key].blocks)
                found[key] = Loosened(
                    requirement=home[0],
                    clause=home[1],
                    in_force=then.text(),
                    catalogue=ours.text(),
                    run=run.name,
                    blocks=blocks,
                )
    return tuple(found.values())


def _home(demand: Demand, name: str, catalogue: Catalogue) -> tuple[str, str]:
    """The clause under which the catalogue states a limit that this clause has or borrows."""
    owners = [reference.rpartition("/")[0] for reference in demand.clause.uses if reference.rpartition("/")[2] == name]
    owner = catalogue.requirement((owners and owners[0]) or demand.requirement.id)
    return owner.id, next(clause.slug for clause in owner.clauses if name in clause.limits)


def _with_ticket(one: Loosened, overlay: Overlay, profile: Profile) -> Loosened:
    waiver = overlay.covered.get(Breach(one.requirement, one.clause, one.in_force, "deviation"))
    blocks = one.blocks and "deviations" in profile.also_blocks and waiver is None
    return structs.replace(one, blocks=blocks, ticket=waiver.ticket if waiver is not None else "")


# --- the answer


def _answer(word: _Word, overlay: Overlay, catalogue: Catalogue, target: str) -> ClauseAnswer:
    demand, standing, why = word.demand, word.standing, word.why
    tickets = {
        breach.subject: waiver.ticket
        for breach, waiver in overlay.covered.items()
        if (breach.requirement, breach.clause) == demand.name and breach.kind == "finding"
    }
    broken = tuple(structs.replace(one, ticket=tickets.get(one.subject, "")) for one in word.broken)
    if standing is Standing.broken and all(one.ticket for one in broken):
        standing = Standing.waived
        if word.unseen:
            standing = Standing.not_evaluated
            why = f"what was seen broken is waived, and {word.unseen} more could not be seen"
    uncovered = next((one for one in broken if not one.ticket), None)
    if standing is Standing.broken and uncovered is not None:
        why = f"{uncovered.subject}: {uncovered.observed}, {uncovered.expected}"
    return ClauseAnswer(
        requirement=demand.requirement.id,
        clause=demand.clause.slug,
        kind=demand.clause.kind,
        severity=demand.requirement.severity,
        must=demand.must,
        standing=standing,
        verdict=word.result.verdict if word.result is not None else None,
        run=word.run.name if word.run is not None else "",
        seen_from=_seen_from(word),
        why=why,
        remedy=_remedy(word, standing, uncovered, catalogue, target),
        broken=broken,
    )


def _seen_from(word: _Word) -> datetime | None:
    if word.run is None:
        return None
    return word.run.started if word.result is None else word.run.seen_from(word.result)


def _remedy(word: _Word, standing: Standing, uncovered: Subject | None, catalogue: Catalogue, target: str) -> str:
    demand = word.demand
    again = f"verify run --target {target} --requirement {demand.requirement.id}"
    if standing in SETTLED:
        return ""
    if standing is Standing.no_check:
        return "write its check, as CONTRIBUTING.md says"
    told = next((remedy for _, remedy in remedy_lines(word.result.message) if remedy), "") if word.result else ""
    if standing is Standing.manual:
        return told or "a person has to judge it"
    if standing is Standing.broken and uncovered is not None and word.result is not None:
        own = next((f.remedy for f in word.result.findings if f.subject == uncovered.subject and f.remedy), "")
        return own or catalogue.remedy(*demand.name)
    if standing in {Standing.check_broke, Standing.not_evaluated} and word.result is not None:
        return f"{told}, then: {again}" if told else again
    return again


_GRAVEST_FIRST: Final = (
    Standing.broken,
    Standing.check_broke,
    Standing.untrusted,
    Standing.not_evaluated,
    Standing.manual,
    Standing.outdated,
    Standing.too_old,
    Standing.no_evidence,
    Standing.no_check,
)


def _of_clauses(clauses: Iterable[ClauseAnswer]) -> Iterator[Blocker]:
    blocking = [clause for clause in clauses if clause.blocks]
    for one in sorted(blocking, key=lambda clause: _GRAVEST_FIRST.index(clause.standing)):
        yield Blocker(
            about="clause",
            what=one.standing.value,
            requirement=one.requirement,
            clause=one.clause,
            subjects=tuple(subject.subject for subject in one.broken if not subject.ticket),
            sentence=one.why or one.standing.value,
            remedy=one.remedy,
        )


def _of_loosened(loosened: Iterable[Loosened]) -> Iterator[Blocker]:
    for one in loosened:
        if one.blocks:
            yield Blocker(
                about="deviation",
                what="loosened",
                requirement=one.requirement,
                clause=one.clause,
                subjects=(one.in_force,),
                sentence=f"{one.in_force} in this target, {one.catalogue} in the catalogue",
                remedy=f'tighten it in the target and run again, or have it waived: subject "{one.in_force}"',
            )


def _of_waivers(findings: Iterable[WaiverFinding], profile: Profile) -> Iterator[Blocker]:
    if "waivers" not in profile.also_blocks:
        return
    for one in findings:
        yield Blocker(
            about="waiver",
            what=one.flaw.value,
            requirement=one.requirement,
            clause=one.clause,
            subjects=(one.subject,),
            sentence=one.sentence,
            remedy="put it in order in policies/waivers.yaml, or take it out",
        )


def _left_broken(mine: Sequence[StoredRun], target: str) -> Iterator[Blocker]:
    if mine and (left := mine[-1].left_broken):
        yield Blocker(
            about="deployment",
            what="not restored",
            sentence=f"the latest run, {mine[-1].name}, did not leave it as it was found: {left}",
            remedy=f"verify restore --target {target}, then: verify run --target {target}",
        )


def _missing(words: Iterable[_Word], gaps: Iterable[tuple[datetime, str]], target: str) -> Iterator[Blocker]:
    """A run that was taken out may have had a later word on all that was judged before the one after it ended."""
    counted = [word for word in words if word.demand.must and word.standing in SEEN and word.run is not None]
    for until, what in gaps:
        before = [w for w in counted if w.run is not None and (w.run.spoke_at(w.demand.name) or until) <= until]
        ids = ",".join(dict.fromkeys(word.demand.requirement.id for word in before))
        if before:
            again = f"verify run --target {target} --requirement {ids}"
            remedy = f"bring the missing runs back, or have it judged anew: {again}"
            yield Blocker(about="evidence", what="missing", sentence=what, remedy=remedy)


def _nothing_held(clauses: Iterable[ClauseAnswer], target: str) -> Iterator[Blocker]:
    """Nothing but waivers and things that do not apply is no GO."""
    demanded = [clause for clause in clauses if clause.must]
    if all(clause.standing in SETTLED - {Standing.holds} for clause in demanded):
        yield Blocker(
            about="evidence",
            what="nothing holds",
            sentence="not one clause that must pass was seen to hold",
            remedy=f"verify run --target {target}",
        )


def _accepted(overlay: Overlay) -> tuple[Accepted, ...]:
    covers: dict[int, tuple[Waiver, list[str]]] = {}
    for breach, waiver in overlay.covered.items():
        covers.setdefault(id(waiver), (waiver, []))[1].append(breach.subject)
    return tuple(
        Accepted(
            requirement=waiver.requirement,
            clause=waiver.clause,
            subject=waiver.subject,
            covers=tuple(sorted(subjects)),
            reason=waiver.reason,
            risk=waiver.risk,
            requested_by=waiver.requested_by,
            approver=waiver.approver,
            ticket=waiver.ticket,
            expires=waiver.expires.isoformat(),
        )
        for waiver, subjects in covers.values()
    )


def _used(mine: Iterable[StoredRun], words: Iterable[_Word]) -> tuple[UsedRun, ...]:
    counted: dict[str, int] = {}
    for word in words:
        if word.run is not None and word.standing in SEEN:
            counted[word.run.name] = counted.get(word.run.name, 0) + 1
    return tuple(
        UsedRun(run=run.name, started=run.started, clauses=counted[run.name]) for run in mine if run.name in counted
    )
