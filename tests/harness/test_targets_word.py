"""What a target says of a clause itself: written down with its reason, whether a check reaches the clause or not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from harness.verdict import decide
from policies.catalogue import load_catalogue
from policies.facts.base import Cause
from policies.profiles import load_profile
from policies.waivers import Waivers
from reports.evidence import check
from reports.gate import gate
from reports.model import Verdict
from reports.overview import overview
from reports.runs import stored_runs
from tests.harness.test_run import PASSES, Deployment, deployment, said, served, suite

__all__ = ["deployment", "served"]

pytest_plugins = "pytester"

pytestmark = pytest.mark.usefixtures("served")

CATALOGUE = load_catalogue()
CLAUSES = len(CATALOGUE.requirement("2.1").clauses)


def says(deployment: Deployment, **words: Any) -> None:
    """Write something more into the target."""
    deployment.target.write_text(yaml.safe_dump(yaml.safe_load(deployment.target.read_text()) | words))


def test_what_is_for_a_person_is_said_and_not_run(deployment: Deployment) -> None:
    says(deployment, manual=[{"requirement": "7.3", "clause": "recent", "look_at": "the minutes of the drill"}])
    result = deployment.run(suite("raise SystemExit"))
    clause, other = deployment.record.results
    assert (clause.verdict, other.verdict, result.ret) == (Verdict.manual, Verdict.passed, 10), said(result)
    assert clause.message == "7.3 recent · only a person can judge it here  -> the minutes of the drill"
    assert "1 clause waits for a person" in " ".join(said(result).split())


@pytest.mark.parametrize(
    ("words", "verdict", "code"),
    [
        ({"not_applicable": [{"requirement": "2.1", "reason": "nothing comes in"}]}, Verdict.not_applicable, 5),
        ({"manual": [{"requirement": "2.1", "look_at": "the appliance"}]}, Verdict.manual, 10),
    ],
)
def test_a_requirement_without_any_check_gets_the_targets_word(
    deployment: Deployment, words: dict[str, Any], verdict: Verdict, code: int
) -> None:
    says(deployment, **words)
    result = deployment.run(PASSES, "--requirement", "2.1")
    assert [(r.requirement, r.verdict, r.test) for r in deployment.record.results] == [("2.1", verdict, "")] * CLAUSES
    assert result.ret == code, said(result)
    assert "nothing to run" not in said(result)
    assert check(deployment.runs[0], [], decide).runs[0].problems == ()


def test_what_does_not_apply_is_no_longer_shown_as_without_a_check(deployment: Deployment) -> None:
    says(deployment, not_applicable=[{"requirement": "2.1", "reason": "nothing comes in"}])
    result = deployment.run(PASSES)
    assert result.ret == 0, said(result)
    states = {state.requirement.id: state for state in overview(deployment.record, CATALOGUE).requirements}
    assert states["2.1"].verdict is Verdict.not_applicable
    assert (states["2.2"].verdict, states["2.2"].cause) == (Verdict.not_evaluated, Cause.NO_CHECK)


def test_what_was_left_out_gets_no_word(deployment: Deployment) -> None:
    says(deployment, not_applicable=[{"requirement": "2.1", "reason": "nothing comes in"}])
    deployment.run(PASSES, "--requirement", "7.3")
    assert {r.requirement for r in deployment.record.results} == {"7.3"}


def test_a_name_that_the_catalogue_lacks_is_a_usage_error(deployment: Deployment) -> None:
    says(deployment, manual=[{"requirement": "7.3", "clause": "recentt", "look_at": "something"}])
    result = deployment.run(PASSES)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert 'manual[0]: requirement 7.3 has no clause "recentt"' in said(result)


def test_the_gate_says_what_the_person_has_to_look_at(deployment: Deployment) -> None:
    says(deployment, manual=[{"requirement": "7.3", "clause": "recent", "look_at": "the minutes of the drill"}])
    deployment.run(PASSES)
    profile = load_profile("nightly", CATALOGUE).model_copy(update={"must_pass": ("7.3",)})
    answer = gate(
        stored_runs(deployment.pytester.path / "out/runs"),
        profile=profile.model_copy(update={"kinds": ("inspect",)}),
        catalogue=CATALOGUE,
        waivers=Waivers(),
        target="small",
        now=datetime.now(UTC),
    )
    (blocker,) = [blocker for blocker in answer.blockers if blocker.clause == "recent"]
    assert not answer.go
    assert (blocker.what, blocker.remedy) == ("for a person", "the minutes of the drill")
