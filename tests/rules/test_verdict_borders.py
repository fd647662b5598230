"""From findings to a verdict and a message, at the borders: to the instant, to the last subject, to the letter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fixtures.unobservable import Unobservable
from harness.verdict import SHOWN, Decision, decide, decide_error, said_by_target, sentences
from policies.facts.base import Cause, Fact, Unseen
from policies.finding import Finding
from reports.model import Verdict
from targets.model import Manual, load_target

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
GOOD = Finding("a", "at least 3 nodes", "3 nodes", True)
BAD = Finding("b", "at least 3 nodes", "2 nodes", False)
BLIND = Finding("c", "to be seen", "nothing", None, Cause.FORBIDDEN, "ask for the right")
BLIND_TOO = Finding("d", "to be seen", "nothing", None, Cause.STALE)


@pytest.mark.parametrize(
    ("age", "verdict", "cause"),
    [
        (timedelta(0), Verdict.passed, None),
        (timedelta(microseconds=1), Verdict.not_evaluated, Cause.STALE),
    ],
)
def test_what_was_seen_as_the_run_began_is_fresh(age: timedelta, verdict: Verdict, cause: Cause | None) -> None:
    """And what was seen before is not."""
    decision = decide([GOOD], [Fact(START), Fact(START - age)], START)
    assert (decision.verdict, decision.cause) == (verdict, cause)


def test_the_first_cause_stands_for_all() -> None:
    """The others stand in the findings."""
    assert decide([GOOD, BLIND, BLIND_TOO], [], START).cause == Cause.FORBIDDEN
    no_cause_given = Finding("e", "to be seen", "nothing", None)
    assert decide([no_cause_given, BLIND], [], START).cause == Cause.INVALID


@pytest.mark.parametrize("cause", Cause)
def test_what_a_fixture_could_not_see_has_its_cause(cause: Cause) -> None:
    """And is no error of the check."""
    error = Unobservable(Unseen(cause, "nodes", "no answer"))
    assert decide_error(error) == Decision(Verdict.not_evaluated, cause)


def test_a_clause_that_a_person_judges_is_that_one_alone() -> None:
    """The requirement's other clauses keep their checks."""
    manual = Manual(requirement="1.4", clause="wildcards", look_at="the vendor's console")
    target = load_target("lab").model_copy(update={"manual": (manual,)})
    said = said_by_target(target, "1.4", "wildcards")
    assert said is not None
    assert said[0].verdict == Verdict.manual
    assert said_by_target(target, "1.4", "escalation") is None


MENDED = "1.1 x · b: 2 nodes, at least 3 nodes  -> mend"


@pytest.mark.parametrize(
    ("findings", "message"),
    [
        ([], ""),
        ([GOOD], ""),
        ([GOOD, BAD, BLIND, BAD], f"{MENDED}\n{MENDED}"),
        ([GOOD, BLIND], "1.1 x · c: nothing, to be seen  -> ask for the right"),
        ([BLIND_TOO], "1.1 x · d: nothing, to be seen  -> mend"),
        ([BAD] * SHOWN, "\n".join([MENDED] * SHOWN)),
        ([BAD] * (SHOWN + 1), "\n".join([*[MENDED] * SHOWN, "1.1 x · and 1 more subjects, all in findings.jsonl"])),
    ],
)
def test_the_message_to_the_letter(findings: list[Finding], message: str) -> None:
    """What was violated; where nothing was, what could not be seen."""
    assert sentences("1.1", "x", findings, "mend") == message
