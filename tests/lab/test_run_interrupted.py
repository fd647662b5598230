"""Runs that end in the middle of a fault, or meet one: nothing stays broken, and nothing starts on what is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Final

import pytest

from fixtures.faults import FAULTS
from fixtures.scratch import leftovers
from harness.journal import Journal
from harness.lease import Lease
from policies.facts.base import Cause
from reports.faults import Entry
from reports.model import Verdict
from tests.lab.product import ROOT, VERIFY, Running, start, verify
from tests.violations.lab import Lab

FAULT: Final = ("run", "--target", "lab", "--requirement", "1.1", "--kind", "disrupt")
INSPECT: Final = ("run", "--target", "lab", "--requirement", "1.1", "--kind", "inspect")
DISRUPTED: Final = {("1.1", "write-gap"), ("1.1", "acknowledged-writes"), ("1.1", "pods-untouched")}


def journal(lab: Lab) -> tuple[Entry, ...]:
    """What is open in the cluster's journal."""
    return Journal(lab.api, lab.target.identities.namespace).entries()


def chain(lab: Lab, entry: Entry) -> str:
    """The rules by which a node is cut off, "" where there are none."""
    return lab.machine(entry.parameters["node"]).sh("iptables -w 10 -t mangle -S VERIFY-CUT 2>/dev/null || true")


def in_mid_fault(lab: Lab, running: Running) -> Entry:
    """Wait until the journal has an entry and the node is cut off; returns the entry."""
    running.says("  fault control-plane-node-cut: ")
    running.until(lambda: journal(lab), "the journal has an entry")
    (entry,) = journal(lab)
    running.until(lambda: "-j DROP" in chain(lab, entry), "the cut is in force")
    return entry


def assert_mended(lab: Lab, entry: Entry) -> None:
    """The node is back, the journal and the lease are free, and nothing was left."""
    assert chain(lab, entry) == ""
    assert FAULTS[entry.fault].unmended(lab.target, lab.api, entry.parameters) == ""
    assert journal(lab) == ()
    assert Lease(lab.api, lab.target.identities.namespace, "").holder() is None
    assert leftovers(lab.api) == ()
    lab.node_is(entry.parameters["node"], "Ready", "True")


def test_a_run_killed_in_mid_fault_is_mended_by_restore(lab: Lab, tmp_path: Path) -> None:
    killed = start(*FAULT, out=tmp_path)
    try:
        entry = in_mid_fault(lab, killed)
    finally:
        killed.send(signal.SIGKILL)
    ended = killed.end()
    assert ended.exit_code == -signal.SIGKILL
    assert ended.record.manifest is None
    assert "-j DROP" in chain(lab, entry)

    command = f"verify restore --target lab --out {tmp_path}"
    again = verify(*INSPECT, out=tmp_path)
    assert again.exit_code == 11, again.output
    assert not again.record.results
    assert f"run `{command}`" in again.output
    assert entry.run in again.output

    restored = verify("restore", "--target", "lab", out=tmp_path)
    assert restored.exit_code == 0, restored.output
    assert_mended(lab, entry)

    once_more = verify("restore", "--target", "lab", out=tmp_path)
    assert once_more.exit_code == 0, once_more.output
    assert "no fault is in force" in once_more.output

    lab.settle()
    after = verify(*INSPECT, out=tmp_path)
    assert after.exit_code == 0, after.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_run_that_is_told_to_end_in_mid_fault_mends_first(number: signal.Signals, lab: Lab, tmp_path: Path) -> None:
    running = start(*FAULT, out=tmp_path)
    entry = in_mid_fault(lab, running)
    running.send(number)
    ended = running.end()
    assert ended.exit_code == 2, ended.output
    assert_mended(lab, entry)
    assert not DISRUPTED & ended.passed
    assert ended.record.manifest is not None
    assert ended.record.manifest.not_restored == ()
    assert "Traceback" not in ended.output


def test_impatience_does_not_stop_the_undo(lab: Lab, tmp_path: Path) -> None:
    running = start(*FAULT, out=tmp_path)
    entry = in_mid_fault(lab, running)

    def undone() -> bool:
        running.send(signal.SIGINT)
        return "fault control-plane-node-cut: undone" in running.output

    running.until(undone, "the fault was undone")
    ended = running.end()
    assert "Traceback" not in ended.output
    assert chain(lab, entry) == ""
    assert journal(lab) == ()
    assert ended.exit_code in {2, 11}, ended.output
    if ended.exit_code == 11:  # a later one ended the removal of the scratch namespace
        restored = verify("restore", "--target", "lab", out=tmp_path)
        assert restored.exit_code == 0, restored.output
    assert_mended(lab, entry)


def test_a_killed_run_is_taken_up_again_once_it_is_mended(lab: Lab, tmp_path: Path) -> None:
    probed = {("1.4", slug) for slug in ("quota-enforced", "defaults-applied", "cross-namespace", "anonymous")}
    killed = start("run", "--target", "lab", "--requirement", "1.1,1.4", out=tmp_path)
    try:
        entry = in_mid_fault(lab, killed)
    finally:
        killed.send(signal.SIGKILL)
    first = killed.end().record.run

    refused = verify("run", "--target", "lab", "--resume", out=tmp_path)
    assert refused.exit_code == 11, refused.output
    assert f"run `verify restore --target lab --out {tmp_path}`" in refused.output
    assert "-j DROP" in chain(lab, entry)
    assert verify("restore", "--target", "lab", out=tmp_path).exit_code == 0
    assert_mended(lab, entry)
    lab.settle()

    resumed = verify("run", "--target", "lab", "--resume", out=tmp_path)
    assert resumed.exit_code == 0, resumed.output
    assert resumed.passed >= DISRUPTED | probed
    origins = {clause: result.carried_from for clause, result in resumed.results.items() if result.carried_from}
    assert origins == dict.fromkeys(probed, first)
    assert f"carried over from run {first}" in resumed.output
    checked = subprocess.run(
        [VERIFY, "evidence", "check", tmp_path], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
    again = verify("run", "--target", "lab", "--resume", out=tmp_path)
    assert again.exit_code == 4, again.output
    assert "there is nothing to resume" in again.output


def test_of_two_runs_started_together_one_breaks_things_and_the_other_says_why_not(lab: Lab, tmp_path: Path) -> None:
    both = [start(*FAULT, out=tmp_path / name) for name in ("one", "two")]
    one, two = sorted((running.end() for running in both), key=lambda ended: ended.exit_code)
    assert (one.exit_code, two.exit_code) == (0, 10), (one.output, two.output)
    assert one.passed >= DISRUPTED
    assert not two.with_verdict(Verdict.failed, Verdict.error)
    assert {clause for clause, cause in two.causes.items() if cause is Cause.UNSAFE} >= DISRUPTED
    assert f"run {one.record.run} on {socket.gethostname()}" in two.output
    assert "is breaking things in this deployment now" in two.output
    assert not (tmp_path / two.out.name / "latest/journal.jsonl").exists()
    assert journal(lab) == ()
    assert Lease(lab.api, lab.target.identities.namespace, "").holder() is None
    assert leftovers(lab.api) == ()


def test_a_second_run_breaks_and_judges_nothing_meanwhile(lab: Lab, tmp_path: Path) -> None:
    first = start(*FAULT, out=tmp_path / "first")
    entry = in_mid_fault(lab, first)
    second = verify(*FAULT, out=tmp_path / "second")
    restore = verify("restore", "--target", "lab", out=tmp_path / "second")
    still_cut = chain(lab, entry)
    ended = first.end()

    holder = f"run {entry.run} on {socket.gethostname()} (pid {first.process.pid})"
    assert second.exit_code == 10, second.output
    assert set(second.causes.values()) == {Cause.UNSAFE}
    assert not second.with_verdict(Verdict.passed, Verdict.failed)
    assert f"{holder} is breaking things in this deployment now" in second.output
    assert not (tmp_path / "second/latest/journal.jsonl").exists()
    assert restore.exit_code == 4, restore.output
    assert f"{holder} is at work" in restore.output
    assert "-j DROP" in still_cut
    assert ended.exit_code == 0, ended.output
    assert ended.passed >= DISRUPTED
    assert os.path.lexists(tmp_path / "first/latest/journal.jsonl")
    assert_mended(lab, entry)
