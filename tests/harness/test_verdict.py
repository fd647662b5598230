"""Findings become a verdict in one place, and nothing unseen becomes a pass."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from harness.verdict import SHOWN, decide, sentences
from policies.facts.base import Cause, Fact, Unseen
from policies.finding import Finding
from reports.model import Verdict

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


def test_a_message_names_subject_observed_expected_and_remedy() -> None:
    assert sentences("1.1", "control-plane-nodes", [GOOD, BAD], "add a node") == (
        "1.1 control-plane-nodes · b: 2 nodes, at least 3 nodes  -> add a node"
    )


def test_a_long_message_counts_what_it_leaves_out() -> None:
    lines = sentences("1.1", "x", [BAD] * (SHOWN + 3), "mend").splitlines()
    assert len(lines) == SHOWN + 1
    assert "3 more subjects" in lines[-1]
