"""Each rule on its cases: the verdict, the subjects it names, the words it finds for them."""

from __future__ import annotations

import msgspec
import pytest

from harness.verdict import decide, sentences
from policies.facts.base import Cause
from tests.rules.cases import Case, load_cases
from tests.rules.facts import SEEN_AT
from tests.rules.record import recorded, told

CASES = list(load_cases())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case) -> None:
    """The rule finds what the case says, subject by subject."""
    findings = list(case.function(*case.facts, case.limits()))
    decision = decide(findings, case.facts, SEEN_AT)
    message = sentences(case.requirement, case.clause, findings, "mend it")
    assert decision.verdict == case.expect, message
    if case.cause is not None:
        assert decision.cause == case.cause, message
    assert [finding.subject for finding in findings if finding.ok is False] == list(case.bad)
    assert [finding.subject for finding in findings if finding.ok is None] == list(case.blind)
    if case.good is not None:
        assert [finding.subject for finding in findings if finding.ok] == list(case.good)
    for words in case.says:
        assert words in message or any(words in finding.observed for finding in findings), message


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_words_are_those_recorded(case: Case) -> None:
    """A changed sentence is meant, read, and recorded by `python -m tests.rules.record`."""
    assert told(case) == recorded().get(str(case), "")


def test_nothing_is_recorded_of_cases_that_are_gone() -> None:
    """What is recorded is what the cases say, all of it."""
    assert set(recorded()) == {str(case) for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_findings_are_whole_sentences(case: Case) -> None:
    """Each has subject, expected and observed; and a cause if, and only if, there is no verdict."""
    for finding in case.function(*case.facts, case.limits()):
        assert finding.subject.strip()
        assert finding.expected.strip()
        assert finding.observed.strip()
        assert (finding.ok is None) == isinstance(finding.cause, Cause)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_recorded_facts_give_the_same_findings(case: Case) -> None:
    """Evidence can be judged again: facts survive the way through a file."""
    recorded = [msgspec.json.decode(msgspec.json.encode(fact), type=type(fact)) for fact in case.facts]
    assert list(case.function(*recorded, case.limits())) == list(case.function(*case.facts, case.limits()))
