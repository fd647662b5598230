"""A run as OpenReports: a result a clause, nothing that was not seen counts as a pass, and no object is too large."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from policies.catalogue import Catalogue, Clause, Requirement
from policies.finding import Finding
from policies.framework import load_framework
from policies.profiles import load_profile
from policies.waivers import Waiver
from reports.model import RunRecord, Verdict
from reports.openreports import OUTCOMES, cluster_reports, reference
from reports.overview import overview
from reports.waiving import over_run
from tests.reports.example import Made, healthy, make_run
from tests.reports.gate_runs import a_waiver

API_OBJECT_BYTES: Final = 1_500_000  # what etcd takes


def export(record: RunRecord, catalogue: Catalogue, *waivers: Waiver) -> tuple[dict[str, Any], ...]:
    terms = load_profile("golive", catalogue).waivers
    assert record.ended is not None
    overlay = over_run(record, waivers, terms=terms, catalogue=catalogue, today=record.ended.date())
    return cluster_reports(record, catalogue, load_framework(catalogue), overlay)


def results(reports: tuple[dict[str, Any], ...]) -> dict[tuple[str, str], dict[str, Any]]:
    """By requirement id and clause."""
    return {(r["policy"].split()[0], r["rule"]): r for report in reports for r in report["results"]}


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> RunRecord:
    return make_run(tmp_path_factory.mktemp("runs"), catalogue).read()


def test_there_is_a_result_for_every_clause_and_the_summary_counts_them(
    troubled: RunRecord, catalogue: Catalogue
) -> None:
    reports = export(troubled, catalogue)
    assert [report["metadata"]["name"] for report in reports] == [f"finbot-verify-lab-{n:02}" for n in range(1, 11)]
    found = results(reports)
    assert found.keys() == {(r.id, c.slug) for r in catalogue for c in r.clauses}
    for report in reports:
        counted = Counter(result["result"] for result in report["results"])
        assert report["summary"] == {name: counted[name] for name in OUTCOMES}


def test_verdicts_are_mapped_honestly(troubled: RunRecord, catalogue: Catalogue) -> None:
    found = results(export(troubled, catalogue))
    expected = {
        Verdict.passed: "pass",
        Verdict.failed: "fail",
        Verdict.error: "error",
        Verdict.manual: "error",
        Verdict.not_applicable: "skip",
    }
    seen = set()
    for state in overview(troubled, catalogue).clauses:
        result = found[state.requirement.id, state.clause.slug]
        open_to_all = "error" if state.wanted else "skip"
        assert result["result"] == expected.get(state.verdict, open_to_all)
        assert result["properties"]["verdict"] == state.verdict.value
        assert result["properties"].get("cause", "") == (state.cause.value if state.cause else "")
        assert result["scored"] is (result["result"] in {"pass", "fail"})
        seen.add(state.verdict)
    assert seen == set(Verdict)


def test_nothing_of_an_interrupted_run_passes_that_was_not_judged(tmp_path: Path, catalogue: Catalogue) -> None:
    record = make_run(tmp_path, catalogue, healthy, finish=False, without=("write-gap", "etcd-alarms")).read()
    found = results(export(record, catalogue))
    judged = {(r.requirement, r.clause) for r in record.results if r.verdict is Verdict.passed}
    assert {name for name, result in found.items() if result["result"] == "pass"} == judged
    assert found["1.1", "etcd-alarms"]["result"] == "error"
    assert found["1.1", "etcd-alarms"]["properties"]["why"] == "the run ended before its turn came"


def test_what_was_left_out_on_purpose_is_skipped(tmp_path: Path, catalogue: Catalogue) -> None:
    record = make_run(tmp_path, catalogue, healthy, without=("mtu",)).read()
    manifest = record.manifest
    assert manifest is not None
    chosen = tuple(name for name in manifest.planned if name[0] == "1.1")
    only = msgspec.structs.replace(manifest, planned=chosen, requirements=("1.1",))
    of_it = tuple(result for result in record.results if result.requirement == "1.1")
    found = results(export(msgspec.structs.replace(record, manifest=only, results=of_it), catalogue))
    assert found["1.4", "wildcards"]["result"] == "skip"
    assert found["1.4", "wildcards"]["properties"]["why"] == "left out of this run"
    assert found["1.2", catalogue.requirement("1.2").clauses[0].slug]["result"] == "skip"


def test_a_waived_failure_is_still_a_failure_and_names_the_ticket(troubled: RunRecord, catalogue: Catalogue) -> None:
    waiver = a_waiver(clause="secrets-read", subject="Group/system:authenticated")
    found = results(export(troubled, catalogue, waiver))["1.4", "secrets-read"]
    assert found["result"] == "fail"
    assert found["properties"]["waived"] == "SEC-12 until 2026-11-27"
    assert (found["properties"]["subjects"], found["properties"]["broken"]) == ("122", "2")
    assert found["severity"] == "critical"


@pytest.mark.parametrize(
    ("subject", "kind", "name", "namespace"),
    [
        ("node cp1", "Node", "cp1", None),
        ("kubelet on w2", "Node", "w2", None),
        ("namespace production", "Namespace", "production", None),
        ("pod kube-system/etcd-cp1 on cp1", "Pod", "etcd-cp1", "kube-system"),
        ("ServiceAccount/team-1/default", "ServiceAccount", "default", "team-1"),
        ("service account production/finbot-api in staging (get)", "ServiceAccount", "finbot-api", "production"),
        ("kube-system/DaemonSet/kube-flannel container install-cni", "DaemonSet", "kube-flannel", "kube-system"),
        ("production/Deployment/api container api", "Deployment", "api", "production"),
    ],
)
def test_a_subject_that_is_an_object_is_referenced(subject: str, kind: str, name: str, namespace: str | None) -> None:
    found = reference(subject)
    assert found is not None
    assert (found["kind"], found["name"], found.get("namespace")) == (kind, name, namespace)
    assert found["apiVersion"]


@pytest.mark.parametrize(
    "subject", ["api endpoint", "Group/system:masters", "w1 to w2", "GET /healthz", "node a b", "node <b>", ""]
)
def test_what_is_no_object_is_not_referenced(subject: str) -> None:
    assert reference(subject) is None


def test_a_failure_references_what_is_broken_alone(tmp_path: Path, catalogue: Catalogue) -> None:
    def outcome(requirement: Requirement, clause: Clause) -> Made:
        if clause.slug != "node-pressure":
            return healthy(requirement, clause)
        findings = tuple(Finding(f"node {n}", "none", "some", n != "w1") for n in ("cp1", "w1"))
        return Verdict.failed, None, findings, "1.1 node-pressure · node w1: disk"

    found = results(export(make_run(tmp_path, catalogue, outcome).read(), catalogue))["1.1", "node-pressure"]
    assert found["resources"] == [{"apiVersion": "v1", "kind": "Node", "name": "w1"}]


def test_no_report_grows_beyond_what_the_api_takes(troubled: RunRecord, catalogue: Catalogue) -> None:
    """Every clause fails with the longest names there can be and text without end, four bytes a character."""
    namespace, name, text = "n" * 63, "p" * 250, "\N{PILE OF POO}" * 5_000
    worst = msgspec.structs.replace(
        troubled.results[0],
        verdict=Verdict.failed,
        findings=tuple(Finding(f"pod {namespace}/{name}{i:03} on w1", "", "", False) for i in range(200)),
        message=text,
        limits={"x": text},
    )
    everywhere = tuple(
        msgspec.structs.replace(worst, requirement=r.id, clause=c.slug) for r in catalogue for c in r.clauses
    )
    reports = export(msgspec.structs.replace(troubled, results=everywhere), catalogue)
    largest = max(len(msgspec.json.encode(report)) for report in reports)
    assert API_OBJECT_BYTES / 4 < largest < API_OBJECT_BYTES
    assert reports[0]["summary"]["fail"] == len(reports[0]["results"])
