"""JUnit and Allure say of a clause what its verdict is: never a pass for what was not seen or not judged."""

from __future__ import annotations

import json
import textwrap
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import yaml

from reports.model import Verdict
from tests.harness.test_run import RULES, Deployment, deployment, served

__all__ = ["deployment", "served"]  # fixtures
pytest_plugins = "pytester"

TESTS: Final = """
    @pytest.mark.requirement("7.1", "versioned")
    def test_holds(snapshot, judge):
        judge(green, snapshot)

    @pytest.mark.requirement("7.1", "locked")
    def test_broken(snapshot, judge):
        judge(red, snapshot)

    @pytest.mark.requirement("7.1", "storage-replica")
    def test_refused(snapshot, judge):
        judge(blind, snapshot)

    @pytest.mark.requirement("7.1", "database-replica")
    def test_empty(snapshot, judge):
        judge(empty, snapshot)

    @pytest.mark.requirement("7.3", "recent")
    def test_stale(snapshot, judge):
        judge(green, stale)

    @pytest.mark.requirement("7.3", "evidence")
    def test_crashes(snapshot, judge):
        judge(broken, snapshot)

    @pytest.mark.requirement("7.4", "etcd-backup")
    def test_judges_nothing():
        pass

    @pytest.mark.requirement("7.4", "vault-backup")
    def test_skips_itself():
        pytest.skip("not today")

    @pytest.fixture
    def unreachable():
        raise Unobservable(FORBIDDEN)

    @pytest.mark.requirement("7.4", "encrypted")
    def test_unseen_by_its_fixture(unreachable, judge):
        judge(green, unreachable)

    @pytest.mark.requirement("7.4", "objects-backup")
    def test_unseen_after_a_pass(snapshot, judge):
        judge(green, snapshot)
        raise Unobservable(FORBIDDEN)

    @pytest.fixture
    def leaves_something():
        yield
        raise RuntimeError("cannot be undone")

    @pytest.mark.requirement("7.4", "storage-backup")
    def test_breaks_afterwards(leaves_something, snapshot, judge):
        judge(green, snapshot)

    @pytest.mark.requirement("7.5", "complete")
    def test_does_not_apply():
        raise SystemExit

    @pytest.mark.requirement("7.5", "reviewed")
    def test_is_for_a_person():
        raise SystemExit
"""

VERDICTS: Final = {
    "test_holds": Verdict.passed,
    "test_broken": Verdict.failed,
    "test_refused": Verdict.not_evaluated,
    "test_empty": Verdict.not_evaluated,
    "test_stale": Verdict.not_evaluated,
    "test_crashes": Verdict.error,
    "test_judges_nothing": Verdict.error,
    "test_skips_itself": Verdict.error,
    "test_unseen_by_its_fixture": Verdict.not_evaluated,
    "test_unseen_after_a_pass": Verdict.not_evaluated,
    "test_breaks_afterwards": Verdict.error,
    "test_does_not_apply": Verdict.not_applicable,
    "test_is_for_a_person": Verdict.manual,
}
JUNIT: Final = {
    Verdict.passed: {"passed"},
    Verdict.failed: {"failure"},
    Verdict.error: {"failure", "error"},
    Verdict.not_evaluated: {"skipped"},
    Verdict.not_applicable: {"skipped"},
    Verdict.manual: {"skipped"},
}
ALLURE: Final = {
    Verdict.passed: {"passed"},
    Verdict.failed: {"failed"},
    Verdict.error: {"broken", "failed"},
    Verdict.not_evaluated: {"skipped"},
    Verdict.not_applicable: {"skipped"},
    Verdict.manual: {"skipped"},
}


@dataclass(frozen=True)
class Read:
    """What a reader's file says of a test."""

    status: str
    message: str


def junit(file: Path) -> dict[str, Read]:
    """By the test's name; a test with any complaint is what the complaint is."""
    found = {}
    for case in ET.parse(file).getroot().iter("testcase"):  # noqa: S314 - we wrote it
        said = [child for child in case if child.tag in {"failure", "error", "skipped"}]
        message = "\n".join(f"{child.get('message')} {child.text}" for child in said)
        found[case.attrib["name"]] = Read(said[0].tag if said else "passed", message)
    return found


def allure(folder: Path) -> dict[str, Read]:
    found = {}
    for file in folder.glob("*-result.json"):
        said = json.loads(file.read_text())
        name = said["fullName"].rpartition("#")[2]
        found[name] = Read(said["status"], str(said.get("statusDetails", {})))
    return found


@pytest.mark.usefixtures("served")
def test_each_reader_is_told_the_verdict(deployment: Deployment) -> None:
    document = yaml.safe_load(deployment.target.read_text())
    document["not_applicable"] = [{"requirement": "7.5", "clause": "complete", "reason": "it is managed"}]
    document["manual"] = [{"requirement": "7.5", "clause": "reviewed", "look_at": "the minutes of the review"}]
    deployment.target.write_text(yaml.safe_dump(document))
    deployment.run(textwrap.dedent(RULES) + textwrap.dedent(TESTS))
    record = deployment.record
    verdicts = {result.test.rpartition("::")[2]: result for result in record.results}
    assert {name: result.verdict for name, result in verdicts.items()} == VERDICTS
    in_junit = junit(Path(record.path) / "junit.xml")
    in_allure = allure(Path(record.path) / "allure-results")
    assert in_junit.keys() == in_allure.keys() == VERDICTS.keys()
    assert {n: r.status for n, r in in_junit.items() if r.status not in JUNIT[VERDICTS[n]]} == {}
    assert {n: r.status for n, r in in_allure.items() if r.status not in ALLURE[VERDICTS[n]]} == {}
    for name, result in verdicts.items():
        if result.verdict in {Verdict.failed, Verdict.not_evaluated, Verdict.not_applicable, Verdict.manual}:
            why = result.message.splitlines()[0]
            assert why in in_junit[name].message, name
        if result.verdict is Verdict.not_evaluated:
            assert f"not evaluated: {why}" in in_junit[name].message
            assert "not evaluated: " in in_allure[name].message
