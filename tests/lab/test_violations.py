"""Violations seeded into the live lab, one by one: exactly their own clause turns red, says what is wrong, and heals.

The product is run as its users run it, in a process of its own, over all four requirements (a violation of a fault's
clause: over the fault's own requirement), and once more after the violation is gone.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from policies.catalogue import load_catalogue
from reports.model import ClauseResult, Verdict
from tests.lab.product import verify
from tests.violations.catalogue import ALL, REQUIREMENTS
from tests.violations.lab import Lab
from tests.violations.violation import Violation


@pytest.mark.parametrize("violation", ALL, ids=lambda violation: violation.id)
def test_exactly_its_own_clause_turns_red_and_heals(violation: Violation, lab: Lab, tmp_path: Path) -> None:
    clause = (violation.requirement, violation.clause)
    kind = load_catalogue().clause(*clause).kind
    arguments = ("--target", "lab", "--kind", kind)
    whole = REQUIREMENTS if kind != "disrupt" else (violation.requirement,)
    with violation.seed(lab):
        wrong = verify("run", *arguments, f"--requirement={','.join(whole)}", out=tmp_path / "wrong")
    red, blind = wrong.with_verdict(Verdict.failed), wrong.with_verdict(Verdict.not_evaluated)
    assert (wrong.exit_code, red, blind) == (1, {clause} | violation.implies, set(violation.blinds)), wrong.output
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
