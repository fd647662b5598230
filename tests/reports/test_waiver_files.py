"""A file of waivers as somebody writes it by hand: wrong in one place, it is a wrong call and never GO."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.catalogue import Catalogue
from reports.signing import generate
from tests.reports.judged import START, judged_run
from tests.reports.test_gate_command import SUBJECT_CLAUSE, Shelf, with_one_broken

Fields = dict[str, Any]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> tuple[Shelf, str]:
    """A folder with a run in which 1.4 wildcards is broken for one subject, and that subject."""
    folder = tmp_path_factory.mktemp("broken")
    run = judged_run(folder / "runs", catalogue, cases=with_one_broken())
    (result,) = [r for r in run.read().results if (r.requirement, r.clause) == SUBJECT_CLAUSE]
    (subject,) = [finding.subject for finding in result.findings if finding.ok is False]
    key = generate(folder / "key")
    return Shelf(folder / "runs", key, key), subject


def in_order(subject: str) -> Fields:
    """A waiver that covers the breach at the nightly gate."""
    return {
        "requirement": "1.4",
        "clause": "wildcards",
        "subject": subject,
        "reason": "The old pipeline, until it is replaced.",
        "risk": "It can change any object in ci.",
        "requested_by": "M. Roe",
        "approver": "J. Doe",
        "ticket": "SEC-12",
        "issued": day(-4),
        "expires": day(3),
    }


def day(number: int) -> str:
    """The day of the run, and so many after it."""
    return (START + timedelta(days=number)).date().isoformat()


def written(folder: Path, *waivers: Fields) -> str:
    """The file's path. A key without a value is left out."""
    kept = [{key: value for key, value in waiver.items() if value is not None} for waiver in waivers]
    (folder / "waivers.yaml").write_text(yaml.safe_dump({"waivers": kept}, sort_keys=False))
    return str(folder / "waivers.yaml")


def test_the_waiver_in_order_covers_it(broken: tuple[Shelf, str], tmp_path: Path) -> None:
    shelf, subject = broken
    assert shelf.gate("--waivers", written(tmp_path, in_order(subject))).exit_code == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ticket": None}, "waivers[0].ticket: is missing"),
        ({"reason": None}, "waivers[0].reason: is missing"),
        ({"risk": None}, "waivers[0].risk: is missing"),
        ({"approver": None}, "waivers[0].approver: is missing"),
        ({"requested_by": None}, "waivers[0].requested_by: is missing"),
        ({"subject": None}, "waivers[0].subject: is missing"),
        ({"issued": None}, "waivers[0].issued: is missing"),
        ({"expires": None}, "waivers[0].expires: is missing"),
        ({"subject": " "}, "waivers[0].subject"),
        ({"clause": "wildcard"}, 'waivers[0].clause: requirement 1.4 has no clause "wildcard"'),
        ({"requirement": "1.99"}, 'there is no requirement "1.99"'),
        ({"expires": day(-5)}, f"expires on {day(-5)}, which is not after it was issued ({day(-4)})"),
        ({"expires": "never"}, "expected a date (2026-01-31)"),
        ({"until": day(3)}, "waivers[0].until"),
    ],
)
def test_a_file_that_is_wrong_is_a_wrong_call_and_never_go(
    broken: tuple[Shelf, str], tmp_path: Path, changes: Fields, told: str
) -> None:
    shelf, subject = broken
    answered = shelf.gate("--waivers", written(tmp_path, in_order(subject) | changes))
    assert answered.exit_code == 4, answered.output
    assert told in " ".join(answered.output.split())
    assert "GO" not in answered.output.split()


def test_the_same_breach_waived_twice_is_a_wrong_call(broken: tuple[Shelf, str], tmp_path: Path) -> None:
    shelf, subject = broken
    answered = shelf.gate("--waivers", written(tmp_path, in_order(subject), in_order(subject)))
    assert answered.exit_code == 4
    assert "this subject of 1.4 wildcards is waived already" in " ".join(answered.output.split())
