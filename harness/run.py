"""One run: what was chosen, what was seen and judged, what is left to say at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from fixtures.kubernetes import Api
from harness.injection import Injector
from harness.preflight import Preflight
from harness.restoration import Judged, Rule
from harness.resume import Resumed
from harness.selection import Choice
from harness.verdict import BROKE, Decision, decide, said_by_target, sentences
from policies.catalogue import Catalogue, Kind
from policies.facts.base import Cause, Fact, Unseen
from policies.finding import Finding
from policies.limits import Limits
from reports.model import Beginning, ClauseResult, Verdict
from reports.signing import SigningKey
from reports.store import RunStore
from targets.model import Target

if TYPE_CHECKING:
    from reports.timestamp import Authority


class ViolatedError(AssertionError):
    """A clause that does not hold; the message is what an operator reads."""


class NotEvaluatedError(Exception):
    """A clause that could not be judged; the message says why and what to do."""


@dataclass
class Outcome:
    """What becomes of one clause while its test runs."""

    requirement: str
    clause: str
    kind: Kind
    test: str
    started: datetime
    decision: Decision | None = None
    message: str = ""
    rule: str = ""
    facts: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def not_permitted(target: Target, typed_out: bool) -> Unseen | None:
    """Why nothing may be broken in this target, whatever its state. ``typed_out`` is --disrupt."""
    what = "permission to disrupt"
    if not target.disrupt.allowed:
        remedy = "set disrupt.allowed in the target if faults may be injected there"
        return Unseen(Cause.UNSAFE, what, f"target {target.name} does not allow faults", remedy)
    if target.environment == "production" and not typed_out:
        remedy = "type --disrupt to inject faults into production"
        return Unseen(Cause.UNSAFE, what, f"target {target.name} is production", remedy)
    return None


@dataclass
class Run:
    """The state of a run that its parts share."""

    target: Target
    operator: Api
    """The identity of the target's context: it asks for the tokens of the other two."""
    catalogue: Catalogue
    store: RunStore
    choice: Choice
    say: Callable[[str], None]
    restore: str
    """The command that undoes what this run could not."""
    known: Beginning
    """What was known of it before it chose anything."""
    key: SigningKey | None = None
    """What signs the evidence; without it the run says that it is not signed."""
    authority: Authority | None = None
    """What stamps the signature with a time."""
    resumed: Resumed = field(default_factory=Resumed)
    """What it takes over of an earlier run that was interrupted."""
    preflight: Preflight | None = None
    injector: Injector | None = None
    checks: tuple[tuple[str, str], ...] = ()
    """Every clause (requirement id, slug) that a test reaches, chosen or not."""
    planned: tuple[tuple[str, str], ...] = ()
    """The clauses chosen, in their order."""
    results: list[ClauseResult] = field(default_factory=list)
    verdicts: dict[tuple[str, str], Verdict] = field(default_factory=dict)
    steady: list[Judged] = field(default_factory=list)
    not_restored: list[str] = field(default_factory=list)
    dry: bool = False
    """Whether it only says what it would break."""
    written: dict[int, tuple[Fact, str]] = field(default_factory=dict)
    """Digest of each fact in the evidence, by its id(); the fact is kept so that the id stays its own."""

    def beginning(self) -> Beginning:
        """What this run is meant to be."""
        return replace(
            self.known,
            run=self.store.run_id,
            requirements=tuple(sorted(self.choice.requirements)),
            kinds=tuple(sorted(self.choice.kinds)),
            profile=self.choice.profile,
            checks=self.checks,
            planned=self.planned,
            resumes=self.resumed.origins,
        )

    def carry_over(self) -> None:
        """Take the results of the run that is taken up, and what they stand on, into the evidence of this one."""
        for sentence in self.resumed.sentences(self.known.started):
            self.say(sentence)
        for result in self.resumed.results:
            for fact in self.resumed.facts(result):
                self.store.record_fact(fact)
            self._keep(replace(result, run=self.store.run_id, carried_from=result.carried_from or result.run))

    def unreached(self) -> list[Outcome]:
        """The chosen clauses that no test reaches and of which the target says something."""
        clauses = [(requirement.id, clause) for requirement in self.catalogue for clause in requirement.clauses]
        return [
            Outcome(requirement, clause.slug, clause.kind, "", datetime.now(UTC), *said)
            for requirement, clause in clauses
            if not {(requirement, clause.slug)} & {*self.checks, *self.verdicts}
            and self.choice.takes(requirement, clause.kind, frozenset())
            and (said := said_by_target(self.target, requirement, clause.slug))
        ]

    def take_the_targets_word(self) -> None:
        """Write down what the target says of clauses that have no check: what does not apply needs none."""
        for outcome in self.unreached():
            self.finish(outcome)

    def limits(self, requirement: str, clause: str) -> Limits:
        """The limits in force for a clause of this target."""
        return self.catalogue.limits(requirement, clause, self.target.limits)

    def record(self, fact: Fact) -> str:
        """Write a fact to the evidence, once; returns its digest."""
        if id(fact) not in self.written:
            self.written[id(fact)] = (fact, self.store.record_fact(fact))
        return self.written[id(fact)][1]

    def judge(self, outcome: Outcome, rule: Rule, facts: tuple[Fact, ...]) -> None:
        """Record the facts, run the rule, decide. Raises ViolatedError or NotEvaluatedError where it is no pass."""
        outcome.rule = f"{rule.__module__.removeprefix('policies.rules.')}.{rule.__name__}"
        outcome.facts = tuple(self.record(fact) for fact in facts)
        limits = self.limits(outcome.requirement, outcome.clause)
        outcome.findings = tuple(rule(*facts, limits))
        outcome.decision = decide(outcome.findings, facts, self.known.started)
        remedy = self.catalogue.remedy(outcome.requirement, outcome.clause)
        outcome.message = sentences(outcome.requirement, outcome.clause, outcome.findings, remedy)
        match outcome.decision.verdict:
            case Verdict.failed:
                raise ViolatedError(outcome.message)
            case Verdict.passed if outcome.kind == "inspect":
                self.steady.append(Judged(outcome.requirement, outcome.clause, rule, facts, limits))
            case Verdict.not_evaluated:
                why = {
                    Cause.EMPTY: "there was nothing to examine",
                    Cause.STALE: "what was seen is from before this run",
                }
                cause = outcome.decision.cause or Cause.INVALID
                outcome.message = outcome.message or f"{outcome.requirement} {outcome.clause} · {why.get(cause, cause)}"
                raise NotEvaluatedError(outcome.message)

    def finish(self, outcome: Outcome) -> None:
        """Write the clause's result to the evidence."""
        decision = outcome.decision or BROKE
        limits = self.limits(outcome.requirement, outcome.clause)
        result = ClauseResult(
            run=self.store.run_id,
            target=self.target.name,
            requirement=outcome.requirement,
            clause=outcome.clause,
            kind=outcome.kind,
            test=outcome.test,
            verdict=decision.verdict,
            cause=decision.cause,
            message=outcome.message,
            facts=outcome.facts,
            rule=outcome.rule,
            limits={name: limit.text() for name, limit in limits.items()},
            findings=outcome.findings,
            started=outcome.started,
            ended=datetime.now(UTC),
        )
        self._keep(result)

    def _keep(self, result: ClauseResult) -> None:
        self.verdicts[result.requirement, result.clause] = result.verdict
        self.results.append(result)
        self.store.append_result(result)

    def unsafe(self, requirement: str, typed_out: bool) -> Unseen | None:
        """Why nothing may be broken for this requirement now: not allowed here, or not in its steady state."""
        if (forbidden := not_permitted(self.target, typed_out)) is not None:
            return forbidden
        inspected = {c.slug for c in self.catalogue.requirement(requirement).clauses if c.kind == "inspect"}
        checked = sorted(slug for of, slug in self.checks if of == requirement and slug in inspected)
        unknown = [slug for slug in checked if (requirement, slug) not in self.verdicts]
        if unknown:
            detail = f"{requirement} {', '.join(unknown)} was not inspected in this run"
            remedy = f"choose with --requirement {requirement} or --kind disrupt, which inspect first"
            return Unseen(Cause.UNSAFE, "steady state", detail, remedy)
        fine = {Verdict.passed, Verdict.not_applicable}
        shaky = [slug for slug in checked if self.verdicts[requirement, slug] not in fine]
        if shaky:
            detail = f"{requirement} {', '.join(shaky)} did not pass before the fault"
            remedy = "mend these first; a broken system is not broken further"
            return Unseen(Cause.UNSAFE, "steady state", detail, remedy)
        return None
