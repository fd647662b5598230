"""What was broken on purpose is read back from the journal as it was written, also from one that a crash cut short."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from msgspec.structs import replace

from policies.catalogue import Catalogue
from reports.faults import BUDGET, faults_of
from reports.html import render
from reports.model import RunRecord
from reports.store import JOURNAL
from reports.timeline import timeline
from reports.waived import waived
from tests.reports.example import START, drawn_of, healthy, make_run, outage


def _of_profile(record: RunRecord, profile: str) -> RunRecord:
    assert record.manifest is not None
    return replace(record, manifest=replace(record.manifest, profile=profile))


def test_a_fault_is_told_from_its_beginning_to_its_end(tmp_path: Path, catalogue: Catalogue) -> None:
    (one,) = faults_of(make_run(tmp_path, catalogue).path)
    assert (one.fault, one.parameters["node"]) == ("control-plane-node-cut", "cp2")
    assert one.radius is not None
    assert one.radius.text() == "1 node, 9 pods, at most 90 s"
    assert one.opened == START
    assert one.undone == START + timedelta(seconds=40.4)
    assert one.proof == "cp2 does not answer on 6443"
    assert one.why_early.startswith("service production/api had no ready endpoint")
    assert one.budget.startswith(BUDGET)


def test_one_that_was_not_undone_is_an_alarm(tmp_path: Path, catalogue: Catalogue) -> None:
    store = make_run(tmp_path, catalogue, healthy, gap_s=3.2, finish=False)
    whole = (store.path / JOURNAL).read_bytes().splitlines(keepends=True)
    (store.path / JOURNAL).write_bytes(b"".join(whole[:2]) + whole[2][:20])
    (one,) = faults_of(store.path)
    assert one.injected is not None
    assert one.undone is one.proved is None
    assert 'class="fault-record alarm"' in render(store.read(), catalogue).read_text()


def test_a_run_that_broke_nothing_has_no_such_section(tmp_path: Path, catalogue: Catalogue) -> None:
    store = make_run(tmp_path, catalogue, healthy, gap_s=3.2, finish=False)
    (store.path / JOURNAL).unlink()
    assert faults_of(store.path) == ()
    assert "What was broken on purpose" not in render(store.read(), catalogue).read_text()


def test_the_early_end_is_a_marker_of_the_drawing(tmp_path: Path, catalogue: Catalogue) -> None:
    (one,) = faults_of(make_run(tmp_path, catalogue).path)
    alone, journalled = timeline(drawn_of(outage()), None), timeline(drawn_of(outage()), None, one)
    assert journalled.count('class="marker"') == alone.count('class="marker"') + 2  # one in each width
    assert "<b>49.8 s</b> ended early, since service production/api" in journalled


def test_waivers_that_cannot_be_laid_over_are_said_and_hide_nothing(tmp_path: Path, catalogue: Catalogue) -> None:
    record = make_run(tmp_path, catalogue).read()
    laid = waived(_of_profile(record, "gone"), catalogue)
    assert 'there is no profile "gone"' in laid.problem
    assert not laid.overlay.covered
    page = render(_of_profile(record, "gone"), catalogue).read_text()
    assert "The waivers could not be laid over this run: " in page
