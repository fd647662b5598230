"""Runs for the gate, made in memory: what each says of each clause is said in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from policies.catalogue import Catalogue, Kind, Overrides, load_catalogue
from policies.facts.base import Cause
from policies.finding import Finding
from policies.limits import Limit
from policies.profiles import Profile, load_profile
from policies.waivers import Waiver, Waivers
from reports.gate import Answer, gate
from reports.gate_screen import MOST_BLOCKERS
from reports.model import ClauseResult, Manifest, RunRecord, Verdict
from reports.runs import StoredRun

CATALOGUE = load_catalogue()
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NIGHTLY = load_profile("nightly", CATALOGUE)
CHECKED = NIGHTLY.must_pass
CLAUSES = tuple((r.id, c.slug) for r in CATALOGUE if r.id in CHECKED for c in r.clauses)
GOLIVE = load_profile("golive", CATALOGUE)
# golive, but for the requirements that have checks: otherwise nothing could ever be GO here.
RELEASE = Profile.model_validate(GOLIVE.model_dump() | {"requirements": CHECKED, "kinds": GOLIVE.kinds})
LOOSENED: Overrides = {"1.1": {"api_write_gap": 45}}
LOOSENED_TEXT = "at most 45 s (api_write_gap)"

Name = tuple[str, str]
Said = Verdict | tuple[Finding, ...]
"""What a run says of a clause: a verdict with findings that go with it, or findings from which the verdict follows."""


def together(ids: Sequence[str]) -> str:
    """As the screen names these requirements in one line."""
    return ", ".join(ids) if len(ids) <= MOST_BLOCKERS else f"{len(ids)} requirements, {ids[0]} to {ids[-1]}"


def broken(*subjects: str) -> tuple[Finding, ...]:
    """One subject that holds, and these that do not."""
    holds = Finding("a subject", "as it must be", "as it must be", True)
    return holds, *(Finding(subject, "as it must be", "otherwise", False) for subject in subjects)


def unseen(*subjects: str, cause: Cause = Cause.FORBIDDEN) -> tuple[Finding, ...]:
    """These, which could not be seen."""
    return tuple(Finding(s, "as it must be", f"pods: {cause.value}", None, cause, "bind the scanner") for s in subjects)


_FINDINGS = {Verdict.passed: broken(), Verdict.failed: broken("something"), Verdict.not_evaluated: unseen("something")}


def a_result(run: str, target: str, name: Name, said: Said, at: datetime, limits: Mapping[str, Limit]) -> ClauseResult:
    """The line of ``findings.jsonl``."""
    findings = _FINDINGS.get(said, ()) if isinstance(said, Verdict) else said
    oks = {finding.ok for finding in findings}
    followed = Verdict.failed if False in oks else Verdict.not_evaluated if None in oks else Verdict.passed
    verdict = said if isinstance(said, Verdict) else followed
    cause = next((f.cause for f in findings if f.ok is None), Cause.EMPTY)
    wrong = [f for f in findings if f.ok is not True]
    return ClauseResult(
        run=run,
        target=target,
        requirement=name[0],
        clause=name[1],
        kind=CATALOGUE.clause(*name).kind,
        test="suites/test.py::test",
        verdict=verdict,
        cause=cause if verdict is Verdict.not_evaluated else None,
        message="\n".join(f"{name[0]} {name[1]} · {f.subject}: {f.observed}, {f.expected}  -> mend it" for f in wrong),
        limits={limit.name: limit.text() for limit in limits.values()},
        findings=findings,
        started=at,
        ended=at,
    )


def a_run(
    hours_ago: float,
    said: Mapping[Name, Said] | None = None,
    *,
    name: str = "",
    target: str = "lab",
    clauses: tuple[Name, ...] = CLAUSES,
    kinds: tuple[Kind, ...] = (),
    doubt: str = "",
    interrupted: bool = False,
    overrides: Overrides | None = None,
    catalogue: Catalogue = CATALOGUE,
    not_restored: tuple[str, ...] = (),
    exit_code: int = 0,
) -> StoredRun:
    """A run that judged ``clauses`` (of ``kinds``); each passed, but where ``said`` says otherwise."""
    started = NOW - timedelta(hours=hours_ago)
    name = name or f"{started:%Y%m%d-%H%M%S}-000000"
    judged = [n for n in clauses if not kinds or CATALOGUE.clause(*n).kind in kinds]
    at = started + timedelta(seconds=10)
    limits = {
        r.id: {k: limit for c in r.clauses for k, limit in catalogue.limits(r.id, c.slug, overrides).items()}
        for r in catalogue
    }
    results = tuple(
        a_result(name, target, n, (said or {}).get(n, Verdict.passed), at, catalogue.limits(*n, overrides))
        for n in judged
    )
    manifest = Manifest(
        run=name,
        target=target,
        started=started,
        ended=started + timedelta(seconds=60),
        exit_code=exit_code,
        checks=CLAUSES,
        planned=tuple(judged),
        catalogue_digest=catalogue.digest,
        limits=limits,
        not_restored=not_restored,
    )
    record = RunRecord(run=name, path=f"/runs/{name}", manifest=None if interrupted else manifest, results=results)
    return StoredRun(record, doubt or ("it was interrupted" if interrupted else ""))


def a_waiver(**changes: object) -> Waiver:
    """A waiver in order for ServiceAccount/ci/deployer, of 1.4 wildcards."""
    fields: dict[str, object] = {
        "requirement": "1.4",
        "clause": "wildcards",
        "subject": "ServiceAccount/ci/deployer",
        "reason": "The old pipeline, until it is replaced.",
        "risk": "It can change any object in ci.",
        "requested_by": "M. Roe",
        "approver": "J. Doe",
        "ticket": "SEC-12",
        "issued": "2026-11-20",
        "expires": "2026-11-27",
    }
    merged = {key: value for key, value in (fields | changes).items() if value is not None}
    dates = {key: datetime.fromisoformat(str(merged[key])).date() for key in ("issued", "expires")}
    return Waiver.model_validate(merged | dates)


def ask(
    *runs: StoredRun,
    profile: Profile = RELEASE,
    waivers: tuple[Waiver, ...] = (),
    gaps: tuple[tuple[datetime, str], ...] = (),
    keys: tuple[str, ...] = (),
) -> Answer:
    """The gate's answer for the lab."""
    accepted = Waivers(waivers=waivers)
    return gate(
        runs,
        profile=profile,
        catalogue=CATALOGUE,
        waivers=accepted,
        target="lab",
        now=NOW,
        gaps=gaps,
        keys=keys,
    )
