"""Faults on the live lab: what keeps one from being injected, what ends one early, and what a dry run says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from harness.lease import Lease
from policies.facts.base import Cause
from reports.model import Verdict
from reports.store import RunStore
from tests.lab.product import ROOT, start, verify
from tests.lab.test_run_interrupted import DISRUPTED, assert_mended, chain, in_mid_fault, journal
from tests.violations.lab import Lab
from tests.violations.violations_1_1 import load_balancer

FAULT: Final = ("--requirement", "1.1", "--kind", "disrupt")
LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/verify-system/leases"
SERVERS: Final = ("cp1", "cp2", "cp3")


def target_with(folder: Path, **disrupt: Any) -> str:
    """The lab's target with other rules for disruption."""
    target = yaml.safe_load((ROOT / "targets/lab.yaml").read_text())
    target["disrupt"] |= disrupt
    file = folder / "lab.yaml"
    file.write_text(yaml.safe_dump(target))
    return str(file)


def test_a_dry_run_says_what_would_be_done_and_does_none_of_it(lab: Lab, tmp_path: Path) -> None:
    before = lab.items(LEASES)
    ended = verify("run", "--target", "lab", *FAULT, "--dry-run", out=tmp_path)
    assert ended.exit_code == 0, ended.output
    assert "dry run: control-plane-node-cut cuts cp" in ended.output
    assert "blast radius: 1 node, " in ended.output
    assert "redundancy: 3 healthy etcd members" in ended.output
    assert "its hash holds" in ended.output
    for requirement, clause in DISRUPTED:
        assert f"{requirement} {clause}: could go ahead" in ended.output
    assert not DISRUPTED & set(ended.results)
    assert journal(lab) == ()
    assert not (tmp_path / "latest/journal.jsonl").exists()
    assert lab.items(LEASES) == before
    manifest = ended.record.manifest
    assert manifest is not None
    assert manifest.dry_run


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"blast_radius": {"pods": 1}}, "1 node, 1 pod, at most 120 s are allowed"),
        ({"backups": {}}, "the target does not say where etcd snapshots lie"),
        ({"backups": {"etcd": {"folder": "/var/lib/etcd-snapshots", "max_age_hours": 0.0001}}}, "at most 0.0001 h"),
    ],
    ids=["blast radius", "no backup", "old backup"],
)
def test_a_precondition_that_is_not_met_is_told_by_a_dry_run(
    rules: dict[str, Any], words: str, lab: Lab, tmp_path: Path
) -> None:
    ended = verify("run", "--target", target_with(tmp_path, **rules), *FAULT, "--dry-run", out=tmp_path)
    assert ended.exit_code == 10, ended.output
    assert words in ended.output
    assert ended.causes == dict.fromkeys(DISRUPTED, Cause.UNSAFE)
    assert journal(lab) == ()


def test_the_same_keeps_a_run_from_injecting(lab: Lab, tmp_path: Path) -> None:
    ended = verify("run", "--target", target_with(tmp_path, blast_radius={"minutes": 0.5}), *FAULT, out=tmp_path)
    assert ended.exit_code == 10, ended.output
    assert ended.causes == dict.fromkeys(DISRUPTED, Cause.UNSAFE)
    assert "it would touch 1 node, " in ended.output
    assert not (tmp_path / "latest/journal.jsonl").exists()
    assert Lease(lab.api, lab.target.identities.namespace, "").holder() is None


def test_a_second_failure_ends_the_fault_early(lab: Lab, tmp_path: Path) -> None:
    """The endpoint loses every API server while one is cut off: nothing waits for the end of the fault."""
    target = target_with(tmp_path, error_budget={"api_seconds": 6})
    running = start("run", "--target", target, *FAULT, out=tmp_path)
    entry = in_mid_fault(lab, running)
    try:
        for name in SERVERS:
            load_balancer(f"disable server api-servers/{name}")
        running.says("fault control-plane-node-cut: undoing it, since the API endpoint failed for ", 30)
        running.until(lambda: chain(lab, entry) == "", "the cut is undone", 15)
    finally:
        for name in SERVERS:
            load_balancer(f"enable server api-servers/{name}")
    ended = running.end()
    assert ended.exit_code == 10, ended.output
    assert {clause: ended.causes.get(clause) for clause in DISRUPTED} == dict.fromkeys(DISRUPTED, Cause.UNSAFE)
    assert not DISRUPTED & ended.with_verdict(Verdict.passed, Verdict.failed, Verdict.error)
    assert "6 s are allowed while a fault is in force" in ended.output
    lines = (RunStore.open(tmp_path / "latest").path / "journal.jsonl").read_text()
    assert '"ended early"' in lines
    assert_mended(lab, entry)
