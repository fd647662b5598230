"""What a run leaves, as data: one result a clause, and a manifest that says what the run was.

Everything a reader's page shows is drawn from these and the catalogue, so that a page can be drawn again later.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from policies.catalogue import Kind
from policies.facts.base import Cause
from policies.finding import Finding
from policies.limits import Deviation, Limit


class Verdict(StrEnum):
    """What can be said of a clause, a requirement or a group."""

    passed = "passed"
    failed = "failed"
    error = "error"  # the check itself broke
    not_evaluated = "not_evaluated"
    not_applicable = "not_applicable"
    manual = "manual"  # only a person can judge it


WORST_FIRST: Final = (
    Verdict.failed,
    Verdict.error,
    Verdict.not_evaluated,
    Verdict.manual,
    Verdict.passed,
    Verdict.not_applicable,
)


class ClauseResult(Struct, frozen=True, kw_only=True):
    """What one test said of one clause; a line of ``findings.jsonl``."""

    run: str
    target: str = ""
    """The deployment, which a run that was killed can say nowhere else; empty in runs from before it was kept here."""
    requirement: str
    clause: str
    kind: Kind
    test: str
    """pytest's node id."""
    verdict: Verdict
    cause: Cause | None = None
    """Why there is no verdict; set exactly where it is ``not_evaluated``."""
    message: str = ""
    """What an operator reads: one line a subject, each with its remedy."""
    facts: tuple[str, ...] = ()
    """SHA-256 of each fact judged; the file is ``facts/<sha256>.json.gz``."""
    rule: str = ""
    """Module and name of the rule, under policies.rules."""
    limits: dict[str, str] = {}
    """The limits in force by name, as text with unit and direction."""
    findings: tuple[Finding, ...] = ()
    started: datetime
    ended: datetime
    carried_from: str = ""
    """The interrupted run that saw and judged it, where this one took it up again; empty where it was judged here."""


class Emulated(Struct, frozen=True):
    """A component of the deployment that another one stands in for."""

    component: str
    by: str


class Origin(Struct, frozen=True, kw_only=True):
    """An earlier run, interrupted, of which a later one carries results on."""

    run: str
    started: datetime
    key: str = ""
    """Fingerprint of the key that signed it; empty where nothing vouched for it, as after SIGKILL."""


class Beginning(Struct, frozen=True, kw_only=True):
    """``beginning.json``: what a run is known to be before it asks anything of the deployment. Times are UTC.

    A run that is killed leaves this, its results and its facts, and can be taken up again from them.
    """

    run: str
    target: str
    typed: str = ""
    """The target as it was typed, a name or a file; empty in runs from before that was kept."""
    started: datetime
    requirements: tuple[str, ...] = ()
    """Requirement ids as asked for; empty where all that have a check were meant."""
    kinds: tuple[Kind, ...] = ()
    """Kinds as asked for; empty where all were meant."""
    profile: str = ""
    """The profile that chose them; empty where none did."""
    checks: tuple[tuple[str, str], ...] = ()
    """Every clause (requirement id, slug) that a test of the suites reaches, chosen or not."""
    planned: tuple[tuple[str, str], ...] = ()
    """The clauses that this run meant to judge."""
    catalogue_digest: str = ""
    limits: dict[str, dict[str, Limit]] = {}
    """The limits in force, by requirement id and name."""
    commit: str = ""
    """git commit of the suites, with ``+changes`` where files differed from it; empty outside a checkout."""
    target_digest: str = ""
    """SHA-256 of the target as it was read."""
    code: str = ""
    """SHA-256 of all code that sees and judges, committed or not."""
    resumes: tuple[Origin, ...] = ()
    """The interrupted runs that this one takes up again, the first one first."""

    def not_before(self, result: ClauseResult) -> datetime:
        """The start of the run in which a result was seen: what is older does not count for it.

        That is this run, unless it takes that other one up again and the result says so. Raises ValueError where a
        result says that it is of a run which is not taken up.
        """
        if not result.carried_from:
            return self.started
        return self.origin(result).started

    def origin(self, result: ClauseResult) -> Origin:
        """The run that a result is carried over from. Raises ValueError where it is not one of ``resumes``."""
        for origin in self.resumes:
            if origin.run == result.carried_from:
                return origin
        raise ValueError(f"it is carried over from run {result.carried_from}, which this run does not resume")


class RunSummary(Beginning, frozen=True, kw_only=True):
    """What a run was: its beginning, and what is known at its end."""

    ended: datetime
    exit_code: int
    description: str = ""
    environment: str = ""
    deviations: tuple[Deviation, ...] = ()
    """Limits that the target loosened."""
    emulated: tuple[Emulated, ...] = ()
    not_restored: tuple[str, ...] = ()
    """Sentences on what is not as the run found it."""
    dry_run: bool = False
    """Whether it only said what it would break: it inspected, and counts for nothing at the gate."""
    store: str = ""
    """Where in S3 the target wants the run kept as well, as an URL; whether it got there is seen there."""
    command: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    """``kubernetes`` (the API server's), ``python`` and the packages that took part."""


class Manifest(RunSummary, frozen=True, kw_only=True):
    """``manifest.json``: written last, so that a run without one did not end by itself."""

    format: int = 2
    number: int = 0
    """Its place in the chain of its folder, from 1; 0 for a run from before there was a chain."""
    previous_run: str = ""
    """The run that ended before it in the same folder; empty for the first."""
    previous: str = ""
    """SHA-256 of that run's ``manifest.json``; empty for the first."""
    chain: str = ""
    """The run with which the chain of its folder began; empty in runs from before it was kept here."""
    key: str = ""
    """Fingerprint of the key that signs this manifest; empty where it is not signed."""
    unsigned: str = ""
    """Why it is not signed."""
    authority: str = ""
    """URL of the authority whose timestamp lies over the signature; empty where there is none."""
    unstamped: str = ""
    """Why there is no timestamp although the target names an authority."""
    files: dict[str, str] = {}
    """SHA-256 of every file of the run, by path in its folder, without the manifest itself and its signature."""
    lines: dict[str, tuple[str, ...]] = {}
    """SHA-256 of every line of the files that are written line by line, so that one that was altered can be named."""


class RunRecord(Struct, frozen=True, kw_only=True):
    """A run read back. ``manifest`` is None where it was interrupted before it could say what it was."""

    run: str
    path: str
    manifest: Manifest | None
    results: tuple[ClauseResult, ...]
    damage: tuple[str, ...] = ()
    """Sentences on lines that could not be read, other than a last one cut short."""

    @property
    def target(self) -> str:
        """The deployment; empty where the run was killed before it said anything of it."""
        if self.manifest is not None:
            return self.manifest.target
        return next((result.target for result in self.results if result.target), "")

    @property
    def ended(self) -> datetime | None:
        """When it ended, or had its last word where it was killed; None where it had none. UTC."""
        if self.manifest is not None:
            return self.manifest.ended
        return max((result.ended for result in self.results), default=None)
