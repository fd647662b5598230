"""`verify gate`, `diff` and `history` as they are typed, on runs that really judged, signed and lying in a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from harness.cli import app
from policies.catalogue import Catalogue
from reports.signing import generate, load_signing_key
from reports.store import RunStore
from tests.reports.gate_runs import CHECKED, CLAUSES, together
from tests.reports.judged import START, all_cases, judged_run
from tests.rules.cases import Case

AS_OF = "2026-11-24T03:00"  # an hour after the runs began
SUBJECT_CLAUSE = ("1.4", "wildcards")


def that_pass() -> list[Case]:
    """For each clause that has a check a case that passes."""
    cases = [case for case in all_cases() if case.expect == "passed" and not case.overrides]
    return [next(case for case in cases if (case.requirement, case.clause) == name) for name in CLAUSES]


def with_one_broken() -> list[Case]:
    """The same, but for one clause whose case fails."""
    broken = next(c for c in all_cases() if (c.requirement, c.clause) == SUBJECT_CLAUSE and c.expect == "failed")
    return [broken if (c.requirement, c.clause) == SUBJECT_CLAUSE else c for c in that_pass()]


@dataclass(frozen=True)
class Shelf:
    """A folder of runs, the key that signed them, and another one."""

    runs: Path
    key: Path
    other: Path

    def gate(self, *options: str, key: Path | None = None, profile: str = "nightly") -> Result:
        """What is answered an hour after the runs."""
        keys = ["--public-key", str(key)] if key is not None else []
        return verify("gate", "--profile", profile, "--runs", str(self.runs), "--as-of", AS_OF, *keys, *options)

    def newest(self) -> RunStore:
        """The run made last."""
        return RunStore.open(self.runs / "latest")


def verify(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80", "VERIFY_PUBLIC_KEY": "", "NO_COLOR": "1"})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> Shelf:
    folder = tmp_path_factory.mktemp("shelf")
    key, other = generate(folder / "key"), generate(folder / "other")
    signing = load_signing_key(str(folder / "key"))
    for cases, ago in ((with_one_broken(), 1), (that_pass(), 0)):
        judged_run(folder / "runs", catalogue, key=signing, cases=cases, started=START - timedelta(hours=ago))
    return Shelf(folder / "runs", key, other)


@pytest.fixture
def shelf(made: Shelf, tmp_path: Path) -> Shelf:
    shutil.copytree(made.runs, tmp_path / "runs", symlinks=True)
    return Shelf(tmp_path / "runs", made.key, made.other)


def test_all_that_is_demanded_holds_and_is_signed(shelf: Shelf) -> None:
    answered = shelf.gate(key=shelf.key)
    assert answered.exit_code == 0, answered.output
    assert answered.output.startswith(" GO ")
    assert len(answered.output.splitlines()) <= 24
    assert max(map(len, answered.output.splitlines())) <= 80


def test_signed_by_another_key_is_no_evidence(shelf: Shelf) -> None:
    answered = shelf.gate(key=shelf.other)
    assert answered.exit_code == 1
    assert f"not to be trusted: {len(CLAUSES)} clauses of {together(CHECKED)}" in " ".join(answered.output.split())


def test_unsigned_counts_only_where_no_key_is_named(tmp_path: Path, made: Shelf, catalogue: Catalogue) -> None:
    judged_run(tmp_path / "runs", catalogue, cases=that_pass())
    shelf = Shelf(tmp_path / "runs", made.key, made.other)
    assert shelf.gate().exit_code == 0
    assert shelf.gate(key=made.key).exit_code == 1


def test_a_release_counts_signed_evidence_alone_and_waits_for_every_requirement(shelf: Shelf) -> None:
    unsigned = shelf.gate(profile="golive")
    assert unsigned.exit_code == 4
    assert "golive counts signed evidence alone" in unsigned.output
    answered = shelf.gate("--json", key=shelf.key, profile="golive")
    assert answered.exit_code == 1
    answer = json.loads(answered.output)
    assert {blocker["what"] for blocker in answer["blockers"]} == {"no check yet"}
    assert len(answer["keys"]) == 1


def alter_a_finding(run: RunStore) -> None:
    file = run.path / "findings.jsonl"
    file.write_bytes(file.read_bytes().replace(b"wildcards", b"wildcarbs", 1))


def lose_a_fact(run: RunStore) -> None:
    next((run.path / "facts").iterdir()).unlink()


def add_a_file(run: RunStore) -> None:
    (run.path / "note.txt").write_text("all is well")


def lose_the_manifest(run: RunStore) -> None:
    (run.path / "manifest.json").unlink()
    (run.path / "manifest.dsse.json").unlink()


def lose_the_signature(run: RunStore) -> None:
    (run.path / "manifest.dsse.json").unlink()


def break_the_manifest(run: RunStore) -> None:
    (run.path / "manifest.json").write_bytes(b"{}")


def empty_the_manifest(run: RunStore) -> None:
    (run.path / "manifest.json").write_bytes(b"")


def rename_the_run(run: RunStore) -> None:
    run.path.rename(run.path.with_name("20261124-015959-aaaaaa"))


@pytest.mark.parametrize("harm", [alter_a_finding, lose_a_fact, add_a_file, lose_the_manifest, lose_the_signature,
                                  break_the_manifest, empty_the_manifest, rename_the_run])  # fmt: skip
def test_whatever_is_done_to_a_run_it_is_evidence_no_more(shelf: Shelf, harm: Callable[[RunStore], None]) -> None:
    harm(shelf.newest())
    answered = shelf.gate(key=shelf.key)
    assert answered.exit_code == 1, answered.output
    assert "NO-GO" in answered.output


def test_a_run_taken_out_of_the_chain_is_no_go(shelf: Shelf) -> None:
    first = shelf.runs / names(shelf)[0]
    shutil.rmtree(first)
    answered = shelf.gate(key=shelf.key)
    assert answered.exit_code == 1
    told = " ".join(answered.output.split())
    assert f"run {first.name}" in told
    assert "is not there" in told


def test_the_newest_run_taken_out_is_no_go(shelf: Shelf) -> None:
    shutil.rmtree(shelf.runs / names(shelf)[1])
    answered = shelf.gate()
    assert answered.exit_code == 1
    assert "latest points at run" in " ".join(answered.output.split())


def test_a_breach_is_waived_from_a_file(tmp_path: Path, made: Shelf, catalogue: Catalogue) -> None:
    run = judged_run(tmp_path / "runs", catalogue, cases=with_one_broken())
    shelf = Shelf(tmp_path / "runs", made.key, made.other)
    answered = shelf.gate()
    assert answered.exit_code == 1
    assert "✗ 1.4 wildcards broken" in answered.output
    (result,) = [r for r in run.read().results if (r.requirement, r.clause) == SUBJECT_CLAUSE]
    waivers = [
        {
            "requirement": "1.4",
            "clause": "wildcards",
            "subject": finding.subject,
            "reason": "The old pipeline, until it is replaced.",
            "risk": "It can change any object in ci.",
            "requested_by": "M. Roe",
            "approver": "J. Doe",
            "ticket": "SEC-12",
            "issued": "2026-11-20",
            "expires": "2026-11-27",
        }
        for finding in result.findings
        if finding.ok is False
    ]
    file = tmp_path / "waivers.yaml"
    file.write_text(yaml.safe_dump({"waivers": waivers}))
    waived = shelf.gate("--waivers", str(file))
    assert waived.exit_code == 0, waived.output
    assert "until 2026-11-27, SEC-12, J. Doe: The old pipeline" in " ".join(waived.output.split())
    answer = json.loads(shelf.gate("--waivers", str(file), "--json").output)
    (clause,) = [c for c in answer["clauses"] if (c["requirement"], c["clause"]) == SUBJECT_CLAUSE]
    assert (clause["standing"], clause["verdict"]) == ("waived", "failed")


def test_what_was_go_is_none_a_day_and_a_bit_later(shelf: Shelf) -> None:
    assert shelf.gate("--as-of", "2026-11-25T04:00").exit_code == 0
    later = shelf.gate("--as-of", "2026-11-25T04:01")
    assert later.exit_code == 1
    assert f"too old: {len(CLAUSES)} clauses of {together(CHECKED)}: passed 26" in " ".join(later.output.split())
    before = shelf.gate("--as-of", "2026-11-24T01:59", "--target", "lab")
    assert before.exit_code == 1
    assert "never judged" in before.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["gate"], "say for what: --profile with one of golive, nightly, soc2"),
        (["gate", "--profile", "nightlly"], 'no profile "nightlly". Did you mean "nightly"?'),
        (["gate", "--profile", "nightly", "--target", "lob"], 'no run of a target "lob". Did you mean "lab"?'),
        (["gate", "--profile", "nightly", "--runs", "nowhere"], "there is no folder nowhere"),
        (["gate", "--profile", "nightly", "--waivers", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
        (["gate", "--profile", "nightly", "--public-key", "nowhere.pub"], "cannot read the public key nowhere.pub"),
        (["gate", "--profile", "nightly", "--as-of", "noon"], '"noon" is no time'),
        (["diff", "nothing", "latest"], "nothing holds no run"),
        (["history", "--runs", "nowhere"], "there is no folder nowhere"),
        (["history", "--target", "lob"], 'no run of a target "lob"'),
    ],
)
def test_a_wrong_call_is_exit_code_4_and_a_sentence(made: Shelf, arguments: list[str], told: str) -> None:
    runs = [] if "--runs" in arguments else ["--runs", str(made.runs)]
    answered = verify(*arguments, *runs)
    assert answered.exit_code == 4, answered.output
    assert told in " ".join(answered.output.split())


def test_several_targets_have_to_be_told_apart(tmp_path: Path, catalogue: Catalogue) -> None:
    for _ in range(2):
        judged_run(tmp_path / "runs", catalogue, cases=that_pass()[:1])
    one = next(tmp_path.glob("runs/2*/manifest.json"))
    one.write_bytes(one.read_bytes().replace(b'"target": "lab"', b'"target": "staging"'))
    answered = verify("gate", "--profile", "nightly", "--runs", str(tmp_path / "runs"))
    assert answered.exit_code == 4
    assert "holds runs of lab, staging; say which deployment with --target" in " ".join(answered.output.split())


# --- diff and history


def names(shelf: Shelf) -> list[str]:
    """The run with one clause broken, and the one where all hold."""
    found = {json.loads(f.read_bytes())["number"]: f.parent.name for f in shelf.runs.glob("2*/manifest.json")}
    return [found[1], found[2]]


def diff(shelf: Shelf, *arguments: str) -> Any:
    return json.loads(verify("diff", *arguments, "--runs", str(shelf.runs), "--json").output)


def test_a_run_differs_in_nothing_from_itself(made: Shelf) -> None:
    answered = verify("diff", names(made)[0], names(made)[0], "--runs", str(made.runs))
    assert answered.exit_code == 0
    assert f"Nothing changed in {len(CLAUSES)} clauses." in answered.output


def test_what_was_mended_is_named_by_clause_and_subject(made: Shelf) -> None:
    found = diff(made, *names(made))
    assert [(c["clause"], c["before"], c["after"]) for c in found["clauses"]] == [("wildcards", "failed", "passed")]
    assert found["same"] == len(CLAUSES) - 1
    assert any(subject["before_ok"] is False for subject in found["clauses"][0]["subjects"])
    back = diff(made, *reversed(names(made)))
    assert [(c["clause"], c["before"], c["after"]) for c in back["clauses"]] == [("wildcards", "passed", "failed")]
    screen = verify("diff", *names(made), "--runs", str(made.runs)).output
    assert "✗ broken → ✓ holds" in screen
    assert max(map(len, screen.splitlines())) <= 80


def test_a_changed_limit_and_a_run_of_less_are_told(shelf: Shelf, catalogue: Catalogue) -> None:
    short = judged_run(shelf.runs, catalogue, cases=that_pass()[:3])
    manifest = short.path / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"value": 30.0', b'"value": 45.0'))
    found = diff(shelf, names(shelf)[1], "latest")
    assert {(c["before"], c["after"]) for c in found["clauses"]} == {("passed", None)}
    assert len(found["clauses"]) == len(CLAUSES) - 3
    assert any(c["what"] == "1.1 api_write_gap" and c["after"].startswith("at most 45 s") for c in found["limits"])


def test_history_has_a_column_for_each_run(made: Shelf) -> None:
    answered = verify("history", "--runs", str(made.runs))
    assert answered.exit_code == 0
    verdicts = answered.output.partition("Measured")[0].splitlines()
    rows = {line.split()[0]: line.split()[-2:] for line in verdicts if line[:3] in {"1.3", "1.4"}}
    assert rows["1.3"] == ["✓", "✓"]
    assert sorted(rows["1.4"]) == ["✓", "✗"]
    assert max(map(len, answered.output.splitlines())) <= 80


def test_history_as_data_says_what_each_run_was(made: Shelf) -> None:
    found = json.loads(verify("history", "--runs", str(made.runs), "--last", "1", "--json").output)
    assert found["earlier"] == 1
    (run,) = found["runs"]
    assert sum(run["clauses"].values()) == len(CLAUSES)
    assert not run["doubt"]


def test_history_shows_runs_that_are_no_evidence_as_such(shelf: Shelf) -> None:
    alter_a_finding(shelf.newest())
    lose_the_manifest(RunStore(shelf.runs / names(shelf)[0]))
    found = json.loads(verify("history", "--target", "lab", "--runs", str(shelf.runs), "--json").output)
    assert all(run["doubt"] for run in found["runs"])
    assert "no exit" in verify("history", "--target", "lab", "--runs", str(shelf.runs)).output


def test_the_folder_is_left_as_it_was(shelf: Shelf) -> None:
    def contents() -> dict[str, bytes]:
        return {str(f): f.read_bytes() for f in shelf.runs.rglob("*") if f.is_file()}

    before = contents()
    for call in (["gate", "--profile", "nightly"], ["history"], ["diff", *names(shelf)]):
        verify(*call, "--runs", str(shelf.runs))
    assert contents() == before
