"""A run laid over the catalogue: nothing unseen looks like a pass, and the exit code says what kind of run it was."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from policies.catalogue import Catalogue, Kind, load_catalogue
from policies.facts.base import Cause
from reports.headline import duration, headline
from reports.model import ClauseResult, Manifest, RunRecord, Verdict
from reports.overview import RequirementState, exit_code, look, overview
from tests.reports.example import CHECKED, START, healthy, make_run, summarise, troubled

CATALOGUE = load_catalogue()
ALL = [(r.id, c.slug) for r in CATALOGUE if r.id in CHECKED for c in r.clauses]


def kind_of(name: tuple[str, str]) -> Kind:
    return CATALOGUE.clause(*name).kind


def record(
    verdicts: dict[tuple[str, str], Verdict] | None = None,
    *,
    planned: list[tuple[str, str]] | None = None,
    judged: list[tuple[str, str]] | None = None,
    **changes: Any,
) -> RunRecord:
    """A run of all that has a check, in which everything passed but what is said."""
    planned = ALL if planned is None else planned
    summary = summarise("run", CATALOGUE, planned, {})
    manifest = Manifest(**{**msgspec.structs.asdict(summary), "checks": tuple(ALL), **changes})
    results = [
        result(name, (verdicts or {}).get(name, Verdict.passed)) for name in (planned if judged is None else judged)
    ]
    return RunRecord(run="run", path="/nowhere", manifest=manifest, results=tuple(results))


def result(name: tuple[str, str], verdict: Verdict) -> ClauseResult:
    cause = Cause.FORBIDDEN if verdict is Verdict.not_evaluated else None
    return ClauseResult(
        run="run", requirement=name[0], clause=name[1], kind=kind_of(name), test="t", verdict=verdict, cause=cause,
        started=START, ended=START,
    )  # fmt: skip


def state(run: RunRecord, requirement: str, catalogue: Catalogue = CATALOGUE) -> RequirementState:
    return next(s for s in overview(run, catalogue).requirements if s.requirement.id == requirement)


def test_all_fifty_are_there_whatever_was_run() -> None:
    over = overview(record(), CATALOGUE)
    assert [s.requirement.id for s in over.requirements] == [r.id for r in CATALOGUE]
    assert len(over.requirements) == 50
    assert Counter(s.verdict for s in over.requirements) == {Verdict.passed: 4, Verdict.not_evaluated: 46}
    assert {look(s) for s in over.requirements if s.open} == {"no_check"}


@pytest.mark.parametrize("verdict", [v for v in Verdict if v not in {Verdict.passed, Verdict.not_applicable}])
def test_a_requirement_passes_only_when_all_its_clauses_do(verdict: Verdict) -> None:
    assert state(record({("1.4", "wildcards"): verdict}), "1.4").verdict is verdict


def test_what_does_not_apply_does_not_count() -> None:
    run = record({("1.3", "mtu"): Verdict.not_applicable})
    assert state(run, "1.3").verdict is Verdict.passed
    assert state(run, "1.3").applicable == len(CATALOGUE.requirement("1.3").clauses) - 1


def test_left_out_no_check_and_not_reached_are_told_apart() -> None:
    inspect = [name for name in ALL if kind_of(name) == "inspect"]
    run = record(planned=inspect, judged=inspect[:-1], kinds=("inspect",))
    causes = {(s.requirement.id, s.clause.slug): s.cause for s in overview(run, CATALOGUE).clauses}
    assert causes["1.1", "write-gap"] is Cause.NOT_SELECTED
    assert causes[inspect[-1]] is Cause.INTERRUPTED
    assert causes["1.2", CATALOGUE.requirement("1.2").clauses[0].slug] is Cause.NO_CHECK
    assert causes["1.1", "etcd-health"] is None
    assert look(state(run, "1.1")) == "partly"
    assert look(state(run, "1.2")) == "no_check"


def test_of_two_results_the_worse_counts() -> None:
    run = record()
    again = (
        *run.results,
        result(("1.1", "etcd-health"), Verdict.failed),
        result(("1.1", "etcd-health"), Verdict.passed),
    )
    assert state(msgspec.structs.replace(run, results=again), "1.1").verdict is Verdict.failed


EXITS: dict[str, tuple[RunRecord, int, str]] = {
    "green, forty-six open": (record(), 0, "All 4 requirements checked hold"),
    "a clause broken": (
        record({("1.1", "etcd-health"): Verdict.failed}),
        1,
        "1 of 4 requirements checked does not hold",
    ),
    "a check broke": (record({("1.1", "etcd-health"): Verdict.error}), 1, "1 check broke and gave no verdict"),
    "not seen": (
        record({("1.1", "etcd-health"): Verdict.not_evaluated}),
        10,
        "Nothing seen is wrong, but 1 clause could not be evaluated",
    ),
    "broken outweighs not seen": (
        record({("1.1", "etcd-health"): Verdict.not_evaluated, ("1.4", "wildcards"): Verdict.failed}),
        1,
        "1 of 4 requirements checked does not hold",
    ),
    "left out is no lack": (
        record(planned=[n for n in ALL if kind_of(n) == "inspect"], kinds=("inspect",)),
        0,
        f"All {sum(kind_of(n) == 'inspect' for n in ALL)} clauses checked hold",
    ),
    "asked for by id, and no check reaches it": (
        record(requirements=("1.1", "2.1"), planned=[n for n in ALL if n[0] == "1.1"]),
        10,
        f"Nothing seen is wrong, but {len(CATALOGUE.requirement('2.1').clauses)} clauses could not be evaluated",
    ),
    "a clause without a check beside others that have one": (
        record(planned=ALL[1:], checks=tuple(ALL[1:])),
        10,
        "Nothing seen is wrong, but 1 clause could not be evaluated",
    ),
    "nothing to run": (record(requirements=("2.1",), planned=[]), 5, "Nothing was judged"),
    "interrupted": (record(judged=ALL[:5]), 2, "The run was interrupted"),
    "killed": (msgspec.structs.replace(record(), manifest=None), 2, "The run was interrupted"),
    "not brought back": (
        record({("1.1", "etcd-health"): Verdict.failed}, not_restored=("cp2 is still cut off",)),
        11,
        "The deployment is not as it was found",
    ),
    "for a person": (
        record({("1.1", "etcd-health"): Verdict.manual}),
        10,
        "Nothing seen is wrong, and 1 clause waits for a person",
    ),
    "nothing applies": (
        record(dict.fromkeys(ALL, Verdict.not_applicable)),
        5,
        "Nothing that was checked applies to this deployment",
    ),
}


@pytest.mark.parametrize("case", EXITS)
def test_exit_code_and_headline(case: str) -> None:
    run, code, title = EXITS[case]
    assert (exit_code(run, CATALOGUE), headline(run, CATALOGUE).title) == (code, title)


def test_only_a_run_in_which_something_was_seen_to_hold_is_green() -> None:
    for run, _, _ in EXITS.values():
        if headline(run, CATALOGUE).verdict is Verdict.passed:
            assert exit_code(run, CATALOGUE) == 0
            assert any(r.verdict is Verdict.passed for r in run.results)


def test_examples_come_to_what_they_are_made_for(tmp_path: Path) -> None:
    good = make_run(tmp_path, CATALOGUE, healthy, gap_s=3.2).read()
    bad = make_run(tmp_path, CATALOGUE, troubled).read()
    assert (exit_code(good, CATALOGUE), exit_code(bad, CATALOGUE)) == (0, 1)
    assert {r.verdict for r in bad.results} == set(Verdict)


def test_durations_read_as_people_say_them() -> None:
    spoken = {4.21: "4.2 s", 59.94: "59.9 s", 134.2: "2 min 14 s", 3599.6: "1 h 0 min", 3780: "1 h 3 min"}
    assert {s: duration(timedelta(seconds=s)) for s in spoken} == spoken
