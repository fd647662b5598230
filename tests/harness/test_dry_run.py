"""A dry run reads, says what would be broken, makes no probe, and counts for nothing."""

from __future__ import annotations

import pytest

from harness.checks import source
from harness.dry_run import PLANS
from policies.facts.base import Cause
from reports.model import Verdict
from reports.runs import stored_runs
from tests.harness.test_run import RULES, Deployment, deployment, served  # noqa: F401 - fixtures
from tests.unit.small_server import Asked

pytest_plugins = ["pytester"]

SUITE = (
    RULES
    + """
    fresh = lambda: Fact(datetime.now(UTC))

    @pytest.mark.requirement("1.1", "control-plane-nodes")
    def test_nodes(judge):
        judge(green, fresh())

    @pytest.mark.requirement("1.3", "pod-traffic")
    def test_probe(judge):
        raise AssertionError("a probe was made")

    @pytest.mark.requirement("1.1", "write-gap")
    @pytest.mark.disrupts("control-plane")
    def test_gap(judge):
        raise AssertionError("something was broken")
"""
)


def test_it_neither_probes_nor_breaks(deployment: Deployment, served: list[Asked]) -> None:  # noqa: F811
    result = deployment.run(SUITE, "--dry-run")
    assert result.ret == 10, result.outlines
    result.stdout.fnmatch_lines(["*dry run: reads only; nothing is probed or broken*"])
    verdicts = {r.clause: (r.verdict, r.cause) for r in deployment.record.results}
    assert verdicts == {
        "control-plane-nodes": (Verdict.passed, None),
        "write-gap": (Verdict.not_evaluated, Cause.UNSAFE),
    }
    assert "does not allow faults" in result.stdout.str()
    changing = [asked for asked in served if asked.method != "GET"]
    assert {asked.path.rpartition("/")[2] for asked in changing} <= {"token", "selfsubjectaccessreviews"}


def test_it_says_nothing_that_counts(deployment: Deployment, served: list[Asked]) -> None:  # noqa: F811
    deployment.run(SUITE, "--dry-run", "--kind", "inspect")
    (run,) = stored_runs(deployment.pytester.path / "out/runs")
    assert run.manifest is not None
    assert run.manifest.dry_run
    assert run.results(("1.1", "control-plane-nodes")) == ()


def test_it_cannot_resume(deployment: Deployment, served: list[Asked]) -> None:  # noqa: F811
    result = deployment.run(SUITE, "--dry-run", "--resume")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--dry-run breaks nothing and has nothing to resume*"])


def test_every_fault_of_the_suites_has_a_plan() -> None:
    assert {check.disrupts for check in source().checks.values() if check.disrupts} == set(PLANS)
