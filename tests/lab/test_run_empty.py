"""A cluster with nothing in it but our two identities: almost nothing can be judged there, and nothing is a pass by
default."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from bootstrap.lab.layout import BIN, BOOTSTRAP
from reports.model import Verdict
from targets.model import load_target
from tests.lab.alone import CONTEXT, alone
from tests.lab.product import ROOT, Clause, verify
from tests.violations.lab import Lab

IDENTITIES: Final = (
    "10-namespaces/verify-system.yaml",
    "30-rbac/identities.lab.yaml",
)
THERE: Final = {None, load_target("lab").identities.namespace, "default", "kube-system", "kube-node-lease"}
"""The namespaces of a bare API server; in no other can anything be granted."""

# An API server binds roles by itself, and whoever they bind was looked at. The account of 1.4's last clause, looked for
# in each namespace, does not exist, so that it holds nothing.
TRUE_OF_ANY_API_SERVER: Final[set[Clause]] = {
    ("1.4", "cluster-admin"),
    ("1.4", "wildcards"),
    ("1.4", "secrets-read"),
    ("1.4", "escalation"),
    ("1.4", "default-service-accounts"),
}


@pytest.fixture
def empty(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """A target whose cluster is a bare API server; its nodes would be reached as the lab's are."""
    del lab  # its binaries are used
    with alone(tmp_path, lambda _: None) as cluster:
        for file in IDENTITIES:
            objects = yaml.safe_load_all((BOOTSTRAP / "layers" / file).read_text())
            manifest = yaml.safe_dump_all(o for o in objects if o["metadata"].get("namespace") in THERE)
            command = [str(BIN / "kubectl"), "--kubeconfig", str(cluster.kubeconfig), "apply", "-f", "-"]
            subprocess.run(command, check=True, capture_output=True, input=manifest.encode())
        target = yaml.safe_load((ROOT / "targets/lab.yaml").read_text())
        target["cluster"] = {"kubeconfig": str(cluster.kubeconfig), "context": CONTEXT}
        target["control_plane"] = {}
        (tmp_path / "empty.yaml").write_text(yaml.safe_dump(target))
        yield tmp_path / "empty.yaml"


def test_nothing_is_a_pass_where_there_is_nothing(empty: Path, tmp_path: Path) -> None:
    # Without controllers a scratch namespace never gets usable, so that the probes of 1.3 and 10.1 have no place here.
    whole = verify("run", "--target", str(empty), "--requirement", "1.1,1.4", out=tmp_path / "whole")
    inspect = ("--requirement", "1.3,10.1", "--kind", "inspect")
    rest = verify("run", "--target", str(empty), *inspect, out=tmp_path / "rest")
    results = whole.results | rest.results
    assert len(results) == 30
    for ran in (whole, rest):
        assert ran.exit_code not in {0, 11}, ran.output
        assert "Traceback" not in ran.output
        errors = ran.with_verdict(Verdict.error)
        assert not errors, [ran.results[clause].message for clause in errors]
    assert whole.passed | rest.passed <= TRUE_OF_ANY_API_SERVER
    for clause, result in results.items():
        if result.verdict is not Verdict.passed:
            assert result.message, clause
            assert "  -> " in result.message or "nothing to examine" in result.message, result.message
    assert not (tmp_path / "whole/latest/journal.jsonl").exists()
