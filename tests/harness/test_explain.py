"""`verify explain`: what it says of a check is what the source holds, and what it says of the past is in the runs."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from harness.checks import ROOT, source
from harness.cli import app
from harness.explanation import explain_screen, explained
from policies import waivers
from policies.catalogue import load_catalogue
from policies.facts.base import Cause
from targets.model import load_target
from tests.reports.gate_runs import NOW, a_run, broken, unseen

CATALOGUE = load_catalogue()
CODE = source()
HOSTILE = "[red]x[/red]\x1b[31m\u202e"


def explain(*arguments: str, runs: Path | None = None) -> Result:
    return CliRunner().invoke(app, ["explain", *arguments, "--runs", str(runs or "/nowhere")], env={"COLUMNS": "200"})


def told(*arguments: str) -> Any:
    result = explain(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def screen(*stored: Any, clause: str = "wildcards", target: str | None = None) -> str:
    requirement = CATALOGUE.requirement("1.4")
    found = explained(
        requirement,
        (CATALOGUE.clause("1.4", clause),),
        catalogue=CATALOGUE,
        code=CODE,
        target=load_target(target) if target else None,
        stored=stored,
        today=NOW.date(),
    )
    console = Console(width=200, no_color=True, highlight=False)
    with console.capture() as capture:
        console.print(explain_screen(found, NOW))
    return capture.get()


def test_every_test_of_the_suites_is_known_and_stands_where_it_is_said_to() -> None:
    texts = {file: file.read_text() for file in (ROOT / "suites").rglob("test_*.py")}
    assert len(CODE.checks) == sum(text.count("@pytest.mark.requirement(") for text in texts.values())
    for (requirement, clause), check in CODE.checks.items():
        line = texts[ROOT / check.file].splitlines()[check.line - 1]
        assert line.startswith(f"def {check.test}("), check
        assert CATALOGUE.clause(requirement, clause)
        assert check.promise
        assert check.rule
        assert all(CODE.promise(fact) for fact in check.facts), check.facts


def test_a_clause_is_told_with_what_it_needs_and_what_it_breaks() -> None:
    (clause,) = told("1.1/write-gap", "--target", "lab")["clauses"]
    check = clause["check"]
    assert check["rule"] == "control_plane.write_gap"
    assert "create configmaps" in check["needs"]["disruptor"]
    assert "control_plane.endpoint" in check["settings"]
    assert check["fault"] == "control-plane-node-cut"
    assert "in lab: 1 node" in check["fault_bounds"]
    assert [limit["text"] for limit in clause["limits"]] == ["at most 30 s (api_write_gap)"]
    assert told("1.1")["criteria"].keys() == {"A1.2"}


def test_what_only_reads_needs_the_scanner_and_breaks_nothing() -> None:
    (clause,) = told("1.1/node-pressure")["clauses"]
    assert list(clause["check"]["needs"]) == ["scanner"]
    assert clause["check"]["fault"] == ""
    (clause,) = told("1.1/certificates")["clauses"]
    assert clause["check"]["settings"] == ["ssh"]


@pytest.mark.parametrize("form", [("1.1/write-gap",), ("1.1 write-gap",), ("1.1", "write-gap")])
def test_a_clause_may_be_written_in_three_ways(form: tuple[str, ...]) -> None:
    assert [clause["clause"] for clause in told(*form)["clauses"]] == ["write-gap"]


def test_without_a_name_all_fifty_are_listed() -> None:
    listed = told()
    assert len(listed) == 50
    assert listed["1.1"] == len(CATALOGUE.requirement("1.1").clauses)
    assert listed["1.2"] == 0


def test_a_requirement_shows_every_clause_and_those_without_a_check() -> None:
    for requirement in map(CATALOGUE.requirement, ("1.1", "1.2", "8.1", "10.5")):
        text = " ".join(explain(requirement.id).stdout.split())
        for clause in requirement.clauses:
            assert clause.slug in text
            assert " ".join(clause.statement.split()) in text
    assert "no check yet" in explain("1.2").stdout


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("1.1/rite-gap", 'no clause "rite-gap". Did you mean "write-gap"?'),
        ("11.1", 'no requirement "11.1"'),
    ],
)
def test_a_wrong_name_is_a_sentence(name: str, sentence: str) -> None:
    result = explain(name)
    assert result.exit_code == 4
    assert sentence in result.output


def test_limits_that_a_target_changes_stand_beside_the_catalogues(tmp_path: Path) -> None:
    lab = (ROOT / "targets/lab.yaml").read_text()
    own = tmp_path / "own.yaml"
    own.write_text(lab.replace('  "7.2":', '  "1.1": {api_write_gap: 45, cert_days_left: 60}\n  "7.2":'))
    text = explain("1.1", "--target", str(own)).stdout
    assert "at most 45 s (api_write_gap); at most 30 s (api_write_gap) in the catalogue, loosened" in text
    assert "at least 60 days (cert_days_left); at least 30 days (cert_days_left) in the catalogue\n" in "\n".join(
        line.rstrip() for line in [*text.splitlines(), ""]
    )


def test_last_results_the_latest_first_with_age_and_the_worst_finding() -> None:
    old = a_run(30)
    new = a_run(2, {("1.4", "wildcards"): broken(HOSTILE, "Group/developers")}, exit_code=1)
    text = screen(new, old)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.index("✗ broken 1 h 59 min ago in lab") < text.index("✓ holds 29 h 59 min ago in lab")
    assert "[red]x[/red]" in text
    assert "(and 2 more subjects)" in text
    hidden = screen(a_run(1, {("1.4", "wildcards"): unseen("roles", cause=Cause.FORBIDDEN)}))
    assert "? not evaluated (forbidden)" in hidden
    assert "no run kept here judged it" in screen()
    assert "no run kept here judged it" in screen(a_run(1, target="elsewhere"), target="lab")


def test_what_does_not_apply_and_what_is_waived_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days = {"issued": NOW.date() - timedelta(days=2), "expires": NOW.date() + timedelta(days=2)}
    file = tmp_path / "waivers.yaml"
    file.write_text(
        f"""
waivers:
  - requirement: "1.4"
    clause: wildcards
    subject: ServiceAccount/ci/deployer
    reason: The old pipeline.
    risk: It can change any object in ci.
    requested_by: M. Roe
    approver: J. Doe
    ticket: SEC-12
    issued: {days["issued"]}
    expires: {days["expires"]}
"""
    )
    known = waivers.load_waivers(CATALOGUE, file)
    monkeypatch.setattr("harness.explanation.load_waivers", lambda _: known)
    assert (
        f"ServiceAccount/ci/deployer, until {days['expires']}: The old pipeline. (SEC-12, approved by J. Doe)"
        in screen()
    )
    assert "ci/deployer" not in screen(clause="secrets-read")
