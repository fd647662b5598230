"""Violations seeded into the live lab, one by one: exactly their own clause turns red, says what is wrong, and heals.

The product is run as its users run it, in a process of its own, over all requirements that look at the same things (a
violation of a fault's clause: over the fault's own requirement), and once more after the violation is gone.

All of them take hours: `pytest tests/lab/test_violations.py --all-violations` tries them all, without it today's;
their names, which pytest prints, say which. One that is named with -k is tried whatever the day.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from policies.catalogue import load_catalogue
from reports.model import ClauseResult, Verdict
from tests.lab.product import verify
from tests.violations.catalogue import ALL, UNTRIED, together
from tests.violations.lab import Lab
from tests.violations.violation import Violation

DAYS: Final = 7
"""In so many days each has had its day."""
TRIED: Final = tuple(each for each in ALL if each.id not in UNTRIED)


def of_day(day: int) -> tuple[Violation, ...]:
    """Every requirement's share of a day; neighbours, which are alike, have different days."""
    return TRIED[day % DAYS :: DAYS]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All violations where they are asked for, or some by name, else those of today."""
    if "violation" in metafunc.fixturenames:
        option = metafunc.config.option
        chosen = ALL if option.all_violations or option.keyword else of_day(datetime.now(UTC).toordinal())
        metafunc.parametrize("violation", chosen, ids=lambda violation: violation.id)


def test_exactly_its_own_clause_turns_red_and_heals(violation: Violation, lab: Lab, tmp_path: Path) -> None:
    clause = (violation.requirement, violation.clause)
    kind = load_catalogue().clause(*clause).kind
    arguments = ("--target", "lab", "--kind", kind)
    whole = together(violation.requirement) if kind != "disrupt" else (violation.requirement,)
    with violation.seed(lab):
        wrong = verify("run", *arguments, f"--requirement={','.join(whole)}", out=tmp_path / "wrong")
    red, blind = wrong.with_verdict(Verdict.failed), wrong.with_verdict(Verdict.not_evaluated)
    assert (wrong.exit_code, red) == (1, {clause} | violation.implies), wrong.output
    assert violation.blinds <= blind <= violation.blinds | violation.may_blind, wrong.output
    assert wrong.passed == set(wrong.results) - red - blind
    assert_tells(wrong.results[clause], violation)

    healed = verify("run", *arguments, f"--requirement={violation.requirement}", out=tmp_path / "healed")
    assert (healed.exit_code, healed.passed) == (0, set(healed.results)), healed.output


def assert_tells(result: ClauseResult, violation: Violation) -> None:
    """Each line names the clause, the subject, what was observed and expected, and how it is mended."""
    lines = result.message.splitlines()
    assert any(re.search(violation.says, line) for line in lines), result.message
    wrong = [finding for finding in result.findings if finding.ok is False]
    assert wrong
    remedy = load_catalogue().remedy(violation.requirement, violation.clause)
    for finding, line in zip(wrong, lines, strict=False):
        said = f"{violation.requirement} {violation.clause} · {finding.subject}: {finding.observed}, {finding.expected}"
        assert line == f"{said}  -> {finding.remedy or remedy}"


def test_every_violation_has_its_day() -> None:
    shares = [of_day(day) for day in range(DAYS)]
    assert sorted(v.id for share in shares for v in share) == sorted({v.id for v in ALL} - UNTRIED)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
