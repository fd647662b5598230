"""The gate is GO where everything demanded was seen to hold, lately, in runs that can be trusted; and nowhere else."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from policies.catalogue import Catalogue
from policies.facts.base import Cause
from policies.finding import Finding
from reports.gate import Answer, Standing
from reports.model import Verdict
from reports.runs import StoredRun
from tests.reports.gate_runs import (
    CATALOGUE,
    CHECKED,
    CLAUSES,
    GOLIVE,
    LOOSENED,
    NIGHTLY,
    NOW,
    RELEASE,
    a_run,
    ask,
    broken,
    unseen,
)

WILDCARDS = ("1.4", "wildcards")
WRITE_GAP = ("1.1", "write-gap")


def blocking(answer: Answer) -> set[tuple[str, str, str]]:
    return {(b.requirement, b.clause, b.what) for b in answer.blockers}


def test_everything_seen_to_hold_is_go() -> None:
    answer = ask(a_run(1))
    assert answer.go
    assert answer.exit_code == 0
    assert not answer.blockers
    assert [(used.run, used.clauses) for used in answer.used] == [("20261124-110000-000000", len(CLAUSES))]


def test_nothing_seen_is_no_go() -> None:
    answer = ask()
    assert answer.exit_code == 1
    assert {b.what for b in answer.blockers} == {"never judged"}
    assert len(answer.blockers) == len(CLAUSES)


def test_nobody_demanding_anything_is_no_go() -> None:
    nothing = RELEASE.model_copy(update={"must_pass": ()})
    assert [b.what for b in ask(a_run(1), profile=nothing).blockers] == ["nothing holds"]


def test_nothing_that_applies_is_no_go() -> None:
    answer = ask(a_run(1, dict.fromkeys(CLAUSES, Verdict.not_applicable)))
    assert [b.what for b in answer.blockers] == ["nothing holds"]


def test_golive_demands_what_has_no_check() -> None:
    answer = ask(a_run(1), profile=GOLIVE)
    assert {b.what for b in answer.blockers} == {"no check yet"}
    assert {b.requirement for b in answer.blockers} == {r.id for r in CATALOGUE} - set(CHECKED)


def test_nightly_reports_what_has_no_check_and_does_not_wait_for_it() -> None:
    answer = ask(a_run(1), profile=NIGHTLY)
    assert answer.go
    assert sum(clause.standing is Standing.no_check for clause in answer.clauses) > 100


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (broken("x"), "broken"),
        (Verdict.error, "check broke"),
        (Verdict.manual, "for a person"),
        *((unseen("x", cause=cause), "not evaluated") for cause in Cause),
        ((*broken("x"), *unseen("y")), "broken"),
    ],
)
def test_only_a_pass_settles_a_clause(said: Verdict | tuple[Finding, ...], what: str) -> None:
    answer = ask(a_run(1, {WILDCARDS: said}))
    assert blocking(answer) == {(*WILDCARDS, what)}
    assert answer.blockers[0].remedy


def test_what_does_not_apply_settles_its_clause() -> None:
    answer = ask(a_run(1, {WILDCARDS: Verdict.not_applicable}))
    assert answer.go


@pytest.mark.parametrize("doubt", ["findings.jsonl was altered", "it is not signed"])
def test_a_run_in_doubt_is_no_evidence(doubt: str) -> None:
    answer = ask(a_run(1, doubt=doubt))
    assert {b.what for b in answer.blockers} == {"not to be trusted"}
    assert all(doubt in b.sentence for b in answer.blockers)
    assert [(one.run, one.why) for one in answer.doubted] == [("20261124-110000-000000", doubt)]


# --- the latest word


def test_each_clause_is_settled_by_the_run_that_judged_it_last() -> None:
    answer = ask(a_run(20, kinds=("probe", "disrupt")), a_run(1, kinds=("inspect",)))
    assert answer.go
    assert [used.run[:11] for used in answer.used] == ["20261123-16", "20261124-11"]


@pytest.mark.parametrize("later", [broken("x"), unseen("x"), Verdict.error, Verdict.manual])
def test_an_earlier_pass_does_not_come_back(later: Verdict | tuple[Finding, ...]) -> None:
    assert not ask(a_run(2), a_run(1, {WILDCARDS: later}, clauses=(WILDCARDS,))).go
    assert ask(a_run(2, {WILDCARDS: later}), a_run(1, clauses=(WILDCARDS,))).go


@pytest.mark.parametrize(
    "later",
    [
        a_run(1, clauses=(WILDCARDS,), doubt="altered"),
        a_run(1, clauses=(WILDCARDS,), interrupted=True),
        a_run(1, {WILDCARDS: broken("x")}, clauses=(WILDCARDS,), interrupted=True),
    ],
    ids=["altered", "interrupted", "interrupted after it was seen broken"],
)
def test_an_earlier_pass_does_not_come_back_where_the_later_run_is_in_doubt(later: StoredRun) -> None:
    answer = ask(a_run(2), later)
    assert blocking(answer) == {(*WILDCARDS, "not to be trusted")}
    assert ask(a_run(2), later, a_run(0.5, clauses=(WILDCARDS,))).go


def test_a_line_taken_out_of_a_run_does_not_bring_an_earlier_pass_back() -> None:
    altered = a_run(1, {WILDCARDS: broken("x")}, clauses=(WILDCARDS,), doubt="findings.jsonl was altered")
    emptied = StoredRun(msgspec.structs.replace(altered.record, results=()), altered.doubt)
    assert blocking(ask(a_run(2), emptied)) == {(*WILDCARDS, "not to be trusted")}


def test_a_run_that_cannot_be_read_at_all_may_have_said_anything() -> None:
    record = msgspec.structs.replace(a_run(1).record, manifest=None, results=())
    blind = StoredRun(record, "manifest.json cannot be read", blind=True)
    assert len(ask(a_run(2), blind).blockers) == len(CLAUSES)
    assert ask(blind, a_run(0.5)).go


def test_the_later_word_counts_not_the_later_start() -> None:
    """A long run that saw it broken after a short one, begun later, had seen it hold."""
    long = a_run(2, {WILDCARDS: broken("x")}, clauses=(WILDCARDS,))
    late = msgspec.structs.replace(long.record.results[0], ended=NOW - timedelta(minutes=5))
    slow = StoredRun(msgspec.structs.replace(long.record, results=(late,)), "")
    assert blocking(ask(slow, a_run(1))) == {(*WILDCARDS, "broken")}


def test_the_worst_of_several_results_in_one_run_counts() -> None:
    run = a_run(1)
    worse = a_run(1, {WILDCARDS: broken("x")}, clauses=(WILDCARDS,)).record.results
    record = msgspec.structs.replace(run.record, results=(*worse, *run.record.results))
    assert blocking(ask(StoredRun(record, ""))) == {(*WILDCARDS, "broken")}


def test_another_target_says_nothing_of_this_one() -> None:
    assert not ask(a_run(1, target="production")).go
    assert ask(a_run(2), a_run(1, {WILDCARDS: broken("x")}, target="production")).go


# --- age


@pytest.mark.parametrize("kind", ["inspect", "probe", "disrupt"])
def test_evidence_counts_as_long_as_the_profile_says(kind: str) -> None:
    fresh = RELEASE.fresh_hours
    names = [name for name in CLAUSES if CATALOGUE.clause(*name).kind == kind]
    others = tuple(name for name in CLAUSES if name not in names)
    now = a_run(0, clauses=others)
    limit = fresh[CATALOGUE.clause(*names[0]).kind]
    assert ask(a_run(limit, clauses=tuple(names)), now).go
    answer = ask(a_run(limit + 0.01, clauses=tuple(names)), now)
    assert blocking(answer) == {(*name, "too old") for name in names}
    assert all("passed" in b.sentence for b in answer.blockers)


def test_a_run_from_the_future_is_no_evidence() -> None:
    assert {b.what for b in ask(a_run(-0.1)).blockers} == {"not to be trusted"}
    assert not ask(a_run(1), a_run(-0.1)).go


# --- what was not written by a run that went well


def test_a_pass_without_a_finding_that_holds_is_not_believed() -> None:
    run = a_run(1, clauses=(WILDCARDS,))
    for findings in ((), broken("x"), unseen("x"), (*broken(), *unseen("x"))):
        forged = msgspec.structs.replace(run.record.results[0], findings=findings, verdict=Verdict.passed)
        record = msgspec.structs.replace(run.record, results=(forged,))
        assert blocking(ask(a_run(2), StoredRun(record, ""))) == {(*WILDCARDS, "not to be trusted")}


def test_left_broken_is_no_go_until_a_later_run_went_well() -> None:
    left = a_run(1, not_restored=("cp2 is still cut off",), exit_code=11)
    answer = ask(left)
    assert answer.blockers[0].about == "deployment"
    assert "cp2 is still cut off" in answer.blockers[0].sentence
    assert "verify restore --target lab" in answer.blockers[0].remedy
    assert ask(left, a_run(0.5)).go


def test_a_run_missing_from_the_chain_is_no_go_until_all_was_judged_after_it() -> None:
    run = a_run(1)
    assert run.manifest is not None
    gap = (run.manifest.ended, "run 7, which it follows, is not there")
    assert [(b.about, b.what, b.sentence) for b in ask(run, gaps=(gap,)).blockers] == [("evidence", "missing", gap[1])]
    assert not ask(run, a_run(0.5, kinds=("inspect",)), gaps=(gap,)).go
    assert ask(run, a_run(0.5), gaps=(gap,)).go


# --- limits


def test_a_limit_loosened_blocks_a_release_and_is_reported_at_night() -> None:
    loosened = a_run(1, overrides=LOOSENED)
    assert blocking(ask(loosened)) == {("1.1", "write-gap", "loosened")}
    nightly = ask(loosened, profile=NIGHTLY)
    assert nightly.go
    assert [one.in_force for one in nightly.loosened] == ["at most 45 s (api_write_gap)"]


def test_a_limit_tightened_is_no_deviation() -> None:
    assert ask(a_run(1, overrides={"1.1": {"api_write_gap": 20}})).go


def test_loosened_since_the_fault_was_seen_counts_from_the_newest_run() -> None:
    answer = ask(a_run(20), a_run(1, kinds=("inspect",), overrides=LOOSENED))
    assert blocking(answer) == {("1.1", "write-gap", "loosened")}


def test_tightened_again_counts_when_it_was_judged_again() -> None:
    seen = a_run(20, overrides=LOOSENED)
    tight = a_run(1, kinds=("inspect",))
    assert blocking(ask(seen, tight)) == {("1.1", "write-gap", "loosened")}
    assert ask(seen, tight, a_run(0.5, kinds=("disrupt", "probe"))).go


def test_a_borrowed_limit_is_a_deviation_where_it_stands() -> None:
    answer = ask(a_run(1, overrides={"1.1": {"control_plane_nodes": 1}}))
    assert blocking(answer) == {("1.1", "control-plane-nodes", "loosened")}


def test_judged_by_a_looser_catalogue_is_a_deviation_too() -> None:
    then = changed_catalogue("api_write_gap", value=60.0)
    assert blocking(ask(a_run(1, catalogue=then))) == {("1.1", "write-gap", "loosened")}


def test_judged_by_a_catalogue_with_other_limits_has_to_be_judged_again() -> None:
    for change in ({"unit": "min"}, {"direction": "exactly"}):
        answer = ask(a_run(1, catalogue=changed_catalogue("api_write_gap", **change)))
        assert (*WRITE_GAP, "other limits") in blocking(answer)
    run = a_run(1)
    assert run.manifest is not None
    limits = {**run.manifest.limits, "1.1": {}}
    record = msgspec.structs.replace(run.record, manifest=msgspec.structs.replace(run.manifest, limits=limits))
    assert (*WRITE_GAP, "other limits") in blocking(ask(StoredRun(record, "")))


def changed_catalogue(limit: str, **change: object) -> Catalogue:
    """The catalogue as it was before a limit was changed."""

    def changed(value: object) -> object:
        if isinstance(value, dict):
            return {k: {**v, **change} if k == limit else changed(v) for k, v in value.items()}
        return [changed(item) for item in value] if isinstance(value, list) else value

    groups = [
        type(g).model_validate_json(msgspec.json.encode(changed(g.model_dump(mode="json")))) for g in CATALOGUE.groups
    ]
    return Catalogue(tuple(groups))


def test_the_answer_is_data_that_comes_back_equal() -> None:
    answer = ask(a_run(1, {WILDCARDS: broken("x")}, overrides=LOOSENED), a_run(2, doubt="altered"))
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Answer) == answer
