"""A whole run against the healthy lab: green, complete, and nothing of it stays."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec

from fixtures.faults import FAULTS
from fixtures.scratch import leftovers
from harness.journal import Journal
from harness.lease import Lease
from policies.catalogue import load_catalogue
from policies.facts.control_plane import ControlPlaneOutage
from policies.facts.kubernetes import Snapshot
from policies.profiles import load_profile
from reports.faults import Line
from reports.model import Verdict
from reports.store import RunStore
from tests.lab.conftest import HealthyRun
from tests.violations.lab import Lab

MOST_LISTS = 25  # the issue's own bound on what the read-only part may ask for


def test_a_healthy_deployment_is_green_and_left_as_it_was(lab: Lab, healthy_run: HealthyRun) -> None:
    ran = healthy_run.ended
    messages = [result.message for result in ran.results.values() if result.message]
    assert ran.exit_code == 0, (messages, ran.output)
    catalogue = load_catalogue()
    checked = load_profile("nightly", catalogue).must_pass
    clauses = {(r, clause.slug) for r in checked for clause in catalogue.requirement(r).clauses}
    assert len(clauses) == 66
    assert ran.passed == clauses
    assert_complete(healthy_run.folder / "latest", ran.record.run)
    assert "nothing is left over" in ran.output
    assert leftovers(lab.api) == ()
    namespace = lab.target.identities.namespace
    assert Journal(lab.api, namespace).entries() == ()
    assert Lease(lab.api, namespace, "").holder() is None


def assert_complete(folder: Path, run: str) -> None:
    """Everything that a run leaves is there, and says the same."""
    store = RunStore.open(folder)
    record = store.read()
    assert record.manifest is not None
    assert record.manifest.files == store.digests()
    assert record.manifest.not_restored == ()
    facts = [store.load_fact(digest) for digest in {d for result in record.results for d in result.facts}]
    (snapshot,) = (fact for fact in facts if isinstance(fact, Snapshot))
    assert 0 < snapshot.requests <= MOST_LISTS
    (outage,) = (fact for fact in facts if isinstance(fact, ControlPlaneOutage))
    assert outage.proof
    lines = [msgspec.json.decode(raw, type=Line) for raw in (folder / "journal.jsonl").read_bytes().splitlines()]
    faults = {line.entry.id: line.entry for line in lines}
    assert {entry.fault for entry in faults.values()} == set(FAULTS)
    assert {entry.run for entry in faults.values()} == {run}
    for entry in faults:  # one after the other, each to its end
        assert [line.event for line in lines if line.entry.id == entry] == ["open", "injected", "proved", "undone"]
    assert [line.entry.id for line in lines] == [entry for entry in faults for _ in range(4)]
    cases = ET.parse(folder / "junit.xml").getroot().iter("testcase")  # noqa: S314 - we wrote it
    assert len(list(cases)) == len(record.results)
    allure = list((folder / "allure-results").glob("*-result.json"))
    assert len(allure) == len(record.results)
    assert {msgspec.json.decode(file.read_bytes())["status"] for file in allure} == {Verdict.passed.value}
    assert (folder / "report.html").stat().st_size > 10_000
