"""Violations seeded into the live lab, one by one: exactly their own clause turns red, says what is wrong, and heals.

The product is run as its users run it, in a process of its own, over all four requirements (a violation of a fault's
clause: over the fault's own requirement), and once more after the violation is gone.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from policies.catalogue import Kind, load_catalogue
from reports.model import ClauseResult, Verdict
from tests.violations.catalogue import ALL
from tests.violations.lab import Lab
from tests.violations.violation import Clause, Violation

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ("1.1", "1.3", "1.4", "10.1")
VERIFY = Path(sys.executable).with_name("verify")
RUN_WITHIN_S = 600

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The lab, brought up or repaired where it is not."""
    subprocess.run([VERIFY, "lab", "up"], cwd=ROOT, check=True, stdout=sys.stderr)
    lab = Lab()
    lab.settle()
    yield lab
    lab.settle()


def verify(out: Path, kind: Kind, requirements: tuple[str, ...]) -> dict[Clause, ClauseResult]:
    """What the product says of each clause of a kind, and of those it takes along."""
    command = [str(VERIFY), "run", "--target", "lab", "--kind", kind, "--out", str(out)]
    command += [f"--requirement={requirement}" for requirement in requirements]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=RUN_WITHIN_S)
    (findings,) = out.glob("[0-9]*/findings.jsonl")
    lines = findings.read_bytes().splitlines()
    results = [msgspec.json.decode(line, type=ClauseResult) for line in lines]
    failed = any(result.verdict is Verdict.failed for result in results)
    assert done.returncode in {0, 1, 10}, f"exit code {done.returncode}: {done.stdout[-3000:]}{done.stderr[-2000:]}"
    assert failed == (done.returncode == 1)
    return {(result.requirement, result.clause): result for result in results}


def by_verdict(results: dict[Clause, ClauseResult], verdict: Verdict) -> dict[Clause, str]:
    """Clauses with this verdict, and their messages."""
    return {clause: result.message for clause, result in results.items() if result.verdict is verdict}


@pytest.mark.parametrize("violation", ALL, ids=lambda violation: violation.id)
def test_exactly_its_own_clause_turns_red_and_heals(violation: Violation, lab: Lab, tmp_path: Path) -> None:
    clause = (violation.requirement, violation.clause)
    kind = load_catalogue().clause(*clause).kind
    whole = REQUIREMENTS if kind != "disrupt" else (violation.requirement,)
    with violation.seed(lab):
        results = verify(tmp_path / "wrong", kind, whole)
    red = by_verdict(results, Verdict.failed)
    assert set(red) == {clause} | violation.implies, red
    others = {c: m for c, m in by_verdict(results, Verdict.not_evaluated).items() if c not in violation.blinds}
    assert not others
    assert set(results) - set(by_verdict(results, Verdict.passed)) == {clause} | violation.implies | violation.blinds
    assert_tells(results[clause], violation)

    healed = verify(tmp_path / "healed", kind, (violation.requirement,))
    said = {c: result.message for c, result in healed.items() if result.message}
    assert set(by_verdict(healed, Verdict.passed)) == set(healed), said


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


def test_every_clause_is_violated_at_least_once() -> None:
    """Each clause of the four requirements, and at least thirty violations in all."""
    catalogue = load_catalogue()
    clauses = {(r, clause.slug) for r in REQUIREMENTS for clause in catalogue.requirement(r).clauses}
    assert {(v.requirement, v.clause) for v in ALL} == clauses
    assert len(ALL) >= 30
    assert len({v.id for v in ALL}) == len(ALL)
    assert all(v.description for v in ALL)
