"""Findings become a verdict in one place, and nothing unseen becomes a pass."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.verdict import SHOWN, Decision, decide, said_by_target, sentences
from policies.facts.base import Cause, Fact, Unseen
from policies.finding import Finding
from reports.model import Verdict
from targets.model import Manual, NotApplicable, load_target

ROOT = Path(__file__).parents[2]
START = datetime(2026, 1, 1, tzinfo=UTC)
FRESH = Fact(START + timedelta(seconds=1))
STALE = Fact(START - timedelta(seconds=1))
GOOD = Finding("a", "at least 3 nodes", "3 nodes", True)
BAD = Finding("b", "at least 3 nodes", "2 nodes", False)
BLIND = Finding.unseen("c", "to be seen", Unseen(Cause.FORBIDDEN, "nodes", "HTTP 403"))


@pytest.mark.parametrize(
    ("findings", "facts", "verdict", "cause"),
    [
        ([GOOD], [FRESH], Verdict.passed, None),
        ([GOOD, BAD], [FRESH], Verdict.failed, None),
        ([GOOD, BLIND], [FRESH], Verdict.not_evaluated, Cause.FORBIDDEN),
        ([BAD, BLIND], [FRESH], Verdict.failed, None),
        ([], [FRESH], Verdict.not_evaluated, Cause.EMPTY),
        ([GOOD], [FRESH, STALE], Verdict.not_evaluated, Cause.STALE),
        ([BAD], [STALE], Verdict.failed, None),
        ([], [STALE], Verdict.not_evaluated, Cause.STALE),
    ],
)
def test_decide(findings: list[Finding], facts: list[Fact], verdict: Verdict, cause: Cause | None) -> None:
    decision = decide(findings, facts, START)
    assert (decision.verdict, decision.cause) == (verdict, cause)


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize("order", [1, -1])
def test_nothing_unseen_is_a_pass_whatever_the_cause(cause: Cause, order: int) -> None:
    blind = Finding.unseen("c", "to be seen", Unseen(cause, "nodes", "nothing"))
    decision = decide([GOOD, blind][::order], [FRESH], START)
    assert (decision.verdict, decision.cause) == (Verdict.not_evaluated, cause)


@given(
    st.lists(st.sampled_from([GOOD, BAD, BLIND])),
    st.lists(st.timedeltas(timedelta(days=-1), timedelta(days=1)), max_size=3),
)
def test_a_pass_means_seen_in_this_run_and_holding(findings: list[Finding], ages: list[timedelta]) -> None:
    verdict = decide(findings, [Fact(START + age) for age in ages], START).verdict
    held = bool(findings) and all(f.ok is True for f in findings) and all(age >= timedelta(0) for age in ages)
    assert (verdict is Verdict.passed) is held
    assert (verdict is Verdict.failed) is (BAD in findings)


def test_nothing_else_decides() -> None:
    sources = [file for room in ("harness", "reports", "fixtures") for file in (ROOT / room).glob("*.py")]
    deciding = {file.name for file in sources if "Decision(" in file.read_text()}
    assert deciding == {"verdict.py"}


LAB = load_target("lab")
N_A = NotApplicable(requirement="1.1", clause="write-gap", reason="it is managed")
MANUAL = Manual(requirement="1.4", look_at="the vendor's console")


def test_the_targets_word_is_taken_with_its_reason_and_for_what_it_names_alone() -> None:
    target = LAB.model_copy(update={"not_applicable": (N_A,), "manual": (MANUAL,)})
    assert said_by_target(target, "1.1", "write-gap") == (
        Decision(Verdict.not_applicable),
        "1.1 write-gap · not applicable: it is managed",
    )
    assert said_by_target(target, "1.4", "wildcards") == (
        Decision(Verdict.manual),
        "1.4 wildcards · only a person can judge it here  -> the vendor's console",
    )
    assert said_by_target(target, "1.1", "etcd-health") is None


@pytest.mark.parametrize(("model", "key"), [(NotApplicable, "reason"), (Manual, "look_at")])
def test_the_target_must_say_why(model: type[NotApplicable] | type[Manual], key: str) -> None:
    for words in ({}, {key: " "}):
        with pytest.raises(ValidationError, match=key):
            model.model_validate({"requirement": "1.1", **words})


def test_a_message_names_subject_observed_expected_and_remedy() -> None:
    assert sentences("1.1", "control-plane-nodes", [GOOD, BAD], "add a node") == (
        "1.1 control-plane-nodes · b: 2 nodes, at least 3 nodes  -> add a node"
    )


def test_a_long_message_counts_what_it_leaves_out() -> None:
    lines = sentences("1.1", "x", [BAD] * (SHOWN + 3), "mend").splitlines()
    assert len(lines) == SHOWN + 1
    assert "3 more subjects" in lines[-1]
