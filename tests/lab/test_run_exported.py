"""A run's reports in the live cluster: written on request, counted as the run counts, replaced by the next, removed."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from bootstrap.lab.layout import BIN, KUBECONFIG
from fixtures.kubernetes import Api
from fixtures.openreports import ACCESS, COLLECTION
from policies.catalogue import Catalogue, load_catalogue
from reports.model import RunRecord, Verdict
from reports.openreports import OUTCOMES
from reports.overview import overview
from reports.store import RunStore
from tests.lab.product import ROOT, VERIFY, verify
from tests.reports.example import HOSTILE, make_run
from tests.violations.lab import Lab, Object

SELECTOR: Final = "app.kubernetes.io/managed-by=finbot-verify,verify.finbot.dev/target=lab"
TOKEN_S: Final = 600


def export(run: Path) -> str:
    """`verify export openreports --apply`; what it said."""
    line = [str(VERIFY), "export", "openreports", str(run), "--apply", "--target", "lab"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def kubectl(*arguments: str) -> str:
    line = [str(BIN / "kubectl"), "--kubeconfig", str(KUBECONFIG), *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


def reports(lab: Lab) -> list[Object]:
    return lab.items(COLLECTION, SELECTOR)


@pytest.fixture
def clean(lab: Lab) -> Iterator[Lab]:
    """The lab without reports, before and after."""
    kubectl("delete", "clusterreports", "-l", SELECTOR)
    yield lab
    kubectl("delete", "clusterreports", "-l", SELECTOR)
    assert reports(lab) == []


def counted(found: list[Object]) -> dict[str, int]:
    """The summaries of all reports, which are those of their results."""
    for report in found:
        results = Counter(result["result"] for result in report["results"])
        assert report["summary"] == {name: results[name] for name in OUTCOMES}
    return {name: sum(report["summary"][name] for report in found) for name in OUTCOMES}


def expected(record: RunRecord, catalogue: Catalogue) -> dict[str, int]:
    """What the run itself says, clause by clause."""
    judged = Counter(result.verdict for result in record.results)
    clauses = overview(record, catalogue).clauses
    left_out = sum(state.result is None and not state.wanted for state in clauses)
    missing = sum(state.result is None and state.wanted for state in clauses)
    unjudged = judged[Verdict.error] + judged[Verdict.not_evaluated] + judged[Verdict.manual]
    return {
        "pass": judged[Verdict.passed],
        "fail": judged[Verdict.failed],
        "warn": 0,
        "error": unjudged + missing,
        "skip": judged[Verdict.not_applicable] + left_out,
    }


def test_a_run_is_read_back_as_it_counts_and_the_next_one_replaces_it(clean: Lab, tmp_path: Path) -> None:
    catalogue = load_catalogue()
    ran = verify("run", "--target", "lab", "--kind", "inspect", out=tmp_path)
    assert ran.exit_code == 0, ran.output
    assert "written: 10 ClusterReports" in export(tmp_path / "latest")
    first = reports(clean)
    assert len(first) == len(catalogue.groups)
    assert counted(first) == expected(ran.record, catalogue)
    assert counted(first)["pass"] == len(ran.passed) > 0
    named = [ref for report in first for result in report["results"] for ref in result.get("resources", [])]
    assert {ref["kind"] for ref in named} >= {"Node", "Namespace", "ServiceAccount", "DaemonSet", "Pod"}
    table = kubectl("get", "clusterreports", "-l", SELECTOR)
    assert table.splitlines()[0].split() == ["NAME", "PASS", "FAIL", "WARN", "ERROR", "SKIP", "AGE"]

    export(tmp_path / "latest")
    assert versions(reports(clean)) == versions(first)  # twice changes nothing

    worse = make_run(tmp_path / "worse", catalogue)
    export(worse.path)
    then = reports(clean)
    assert {report["metadata"]["name"] for report in then} == {report["metadata"]["name"] for report in first}
    assert {report["metadata"]["labels"]["verify.finbot.dev/run"] for report in then} == {worse.run_id}
    assert counted(then) == expected(RunStore.open(worse.path).read(), catalogue)
    assert counted(then)["fail"] > 0
    assert any(HOSTILE[:20] in result["message"] for report in then for result in report["results"])


def versions(found: list[Object]) -> dict[str, Any]:
    return {report["metadata"]["name"]: report["metadata"]["resourceVersion"] for report in found}


def test_neither_identity_of_a_run_may_write_reports(lab: Lab) -> None:
    identities = lab.target.identities

    def acting_as(account: str) -> Api:
        return lab.api.with_token(lab.api.token_request(identities.namespace, account, TOKEN_S), account)

    for api in (acting_as(identities.scanner), acting_as(identities.disruptor)):
        assert [api.self_access_review(access) for access in ACCESS] == [False] * len(ACCESS)
    assert all(lab.api.self_access_review(access) for access in ACCESS)
