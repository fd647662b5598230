"""A run laid over the catalogue: what can be said of each clause, each requirement and each group.

Clauses without a result are there too, each with the reason why it has none, so that nothing that was not seen looks
like something that holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from policies.catalogue import Catalogue, Clause, Group, Requirement
from policies.facts.base import Cause
from reports.model import WORST_FIRST, ClauseResult, Manifest, RunRecord, Verdict

EXIT_PASSED: Final = 0
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 2
EXIT_NOTHING: Final = 5
EXIT_NOT_EVALUATED: Final = 10
EXIT_NOT_RESTORED: Final = 11

_WHY: Final = {
    Cause.NO_CHECK: "no check reaches it yet",
    Cause.NOT_SELECTED: "left out of this run",
    Cause.INTERRUPTED: "the run ended before its turn came",
}

_CALM: Final = {
    Cause.NO_CHECK: "no_check",
    Cause.NOT_SELECTED: "not_selected",
    Cause.INTERRUPTED: "not_reached",
}


@dataclass(frozen=True)
class ClauseState:
    """One clause and what became of it. ``cause`` is set exactly where the verdict is ``not_evaluated``."""

    requirement: Requirement
    clause: Clause
    verdict: Verdict
    cause: Cause | None
    result: ClauseResult | None
    wanted: bool
    """Whether the run was meant to judge it: it counts towards the exit code."""

    @property
    def why(self) -> str:
        """Why there is no verdict, in a few words; empty where there is one."""
        return "" if self.cause is None else _WHY.get(self.cause, self.cause.value)


@dataclass(frozen=True)
class RequirementState:
    """One of the fifty. It passes when all its clauses pass; clauses that do not apply here do not count."""

    requirement: Requirement
    clauses: tuple[ClauseState, ...]

    @cached_property
    def verdict(self) -> Verdict:
        """The worst verdict of its clauses."""
        return min((state.verdict for state in self.clauses), key=WORST_FIRST.index)

    @cached_property
    def cause(self) -> Cause | None:
        """The cause all unjudged clauses share, or the first that is not merely left out; None with a verdict."""
        if self.verdict is not Verdict.not_evaluated:
            return None
        causes = [state.cause for state in self.clauses if state.cause is not None]
        telling = [cause for cause in causes if cause not in {Cause.NO_CHECK, Cause.NOT_SELECTED}]
        return next(iter(telling or causes), None)

    @property
    def open(self) -> bool:
        """Whether nothing of it was looked at: no check reaches it, or the run left it out or did not get there."""
        return all(state.result is None for state in self.clauses)

    @property
    def passed(self) -> int:
        """How many of its clauses passed."""
        return sum(state.verdict is Verdict.passed for state in self.clauses)

    @property
    def applicable(self) -> int:
        """How many of its clauses apply to this deployment."""
        return sum(state.verdict is not Verdict.not_applicable for state in self.clauses)


@dataclass(frozen=True)
class GroupState:
    """One of the ten."""

    group: Group
    requirements: tuple[RequirementState, ...]


@dataclass(frozen=True)
class Overview:
    """The whole matrix."""

    groups: tuple[GroupState, ...]

    @property
    def requirements(self) -> tuple[RequirementState, ...]:
        """All fifty, in order."""
        return tuple(state for group in self.groups for state in group.requirements)

    @property
    def clauses(self) -> tuple[ClauseState, ...]:
        """All clauses, in order."""
        return tuple(clause for state in self.requirements for clause in state.clauses)

    @property
    def wanted(self) -> tuple[ClauseState, ...]:
        """The clauses that the run was meant to judge."""
        return tuple(state for state in self.clauses if state.wanted)


def overview(record: RunRecord, catalogue: Catalogue) -> Overview:
    """Lay a run over the catalogue. A clause with several results counts with its worst."""
    results: dict[tuple[str, str], ClauseResult] = {}
    for result in sorted(record.results, key=lambda r: WORST_FIRST.index(r.verdict), reverse=True):
        results[result.requirement, result.clause] = result

    def clause_state(requirement: Requirement, clause: Clause) -> ClauseState:
        result = results.get((requirement.id, clause.slug))
        if result is not None:
            return ClauseState(requirement, clause, result.verdict, result.cause, result, True)
        cause, wanted = _without_result(record.manifest, requirement, clause)
        return ClauseState(requirement, clause, Verdict.not_evaluated, cause, None, wanted)

    return Overview(
        tuple(
            GroupState(
                group,
                tuple(
                    RequirementState(requirement, tuple(clause_state(requirement, c) for c in requirement.clauses))
                    for requirement in group.requirements
                ),
            )
            for group in catalogue.groups
        )
    )


def exit_code(record: RunRecord, catalogue: Catalogue) -> int:
    """What the process answers: 11 not restored, 1 failed or broken, 2 interrupted, 5 nothing judged, 10 unseen, 0.

    Only what the run was meant to judge counts. A requirement that no check reaches is open in the matrix and does not
    count, unless it was asked for by id; a clause without a check, in a requirement that has some, does count.
    """
    if record.manifest is not None and record.manifest.not_restored:
        return EXIT_NOT_RESTORED
    wanted = overview(record, catalogue).wanted
    verdicts = {state.verdict for state in wanted}
    if verdicts & {Verdict.failed, Verdict.error}:
        return EXIT_FAILED
    if record.manifest is None or any(state.cause is Cause.INTERRUPTED for state in wanted):
        return EXIT_INTERRUPTED
    if not record.results:
        return EXIT_NOTHING
    if verdicts & {Verdict.not_evaluated, Verdict.manual}:
        return EXIT_NOT_EVALUATED
    return EXIT_PASSED if Verdict.passed in verdicts else EXIT_NOTHING  # that nothing applies is no pass


def look(state: ClauseState | RequirementState) -> str:
    """Which look (a colour, a mark and a word) a state has: its verdict's, or a calmer one where no test spoke."""
    if state.verdict is not Verdict.not_evaluated:
        return state.verdict.value
    calm = _CALM.get(state.cause or Cause.INVALID)
    if calm is None:
        return Verdict.not_evaluated.value
    return "partly" if isinstance(state, RequirementState) and not state.open else calm


def _without_result(manifest: Manifest | None, requirement: Requirement, clause: Clause) -> tuple[Cause, bool]:
    """Why a clause has no result, and whether the run was meant to judge it."""
    if manifest is None:  # killed before it could say what it meant to do
        return Cause.INTERRUPTED, False
    name = (requirement.id, clause.slug)
    if name in manifest.planned:
        return Cause.INTERRUPTED, True
    if name in manifest.checks:
        return Cause.NOT_SELECTED, False
    asked = manifest.requirements or {reached for reached, _ in manifest.checks}
    return Cause.NO_CHECK, requirement.id in asked and (not manifest.kinds or clause.kind in manifest.kinds)
