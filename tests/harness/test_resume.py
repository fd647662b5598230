"""An interrupted run that is taken up again: what is carried over, what is repeated, and when it is refused."""

from __future__ import annotations

import json
import shutil
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from msgspec import structs

from harness.verdict import decide
from policies.catalogue import load_catalogue
from policies.profiles import load_profile
from policies.waivers import Waivers
from reports.beginning import at_work, beginning_of, begun
from reports.canonical import pretty
from reports.evidence import check
from reports.gate import Standing, gate
from reports.model import Origin, RunRecord, Verdict
from reports.runs import stored_runs, verified
from reports.signing import generate, load_public_key
from reports.store import RunStore
from reports.terminal import screen
from tests.harness.test_run import PLUGINS, Deployment, deployment, said, served
from tests.unit.small_server import Asked, granting, serving

__all__ = ["deployment", "served"]  # fixtures
pytest_plugins = "pytester"

ROOT: Final = Path(__file__).resolve().parents[2]
INSPECTED, FIRST, SECOND, THIRD = "kubelet-anonymous", "quota-enforced", "cross-namespace", "anonymous"
SUITE: Final = """
    import os, signal
    from datetime import UTC, datetime
    from pathlib import Path
    import pytest
    from msgspec import structs
    from policies.rules import access
    from tests.rules.facts import build

    def seen(kind, short):
        return structs.replace(build(kind, short), seen_at=datetime.now(UTC))

    def asked(clause):
        with open("asked", "a") as file:
            print(clause, file=file)

    @pytest.mark.requirement("1.4", "kubelet-anonymous")
    def test_inspect(judge):
        asked("kubelet-anonymous")
        kubelet = {"anonymous": False, "authorization_mode": "Webhook"}
        judge(access.kubelet_anonymous, seen("nodes", {"w1": {"kubelet": kubelet}}))

    @pytest.mark.requirement("1.4", "quota-enforced")
    def test_first(judge):
        asked("quota-enforced")
        judge(access.quota_enforced, seen("trials", {"trials": {"scratch": [201, QUOTA]}}))

    @pytest.mark.requirement("1.4", "cross-namespace")
    def test_second(judge):
        asked("cross-namespace")
        END
        judge(access.cross_namespace, seen("trials", {"trials": {"a": [200, 403]}}))

    @pytest.mark.requirement("1.4", "anonymous")
    def test_third(judge):
        asked("anonymous")
        judge(access.anonymous, seen("anonymous", {"paths": {"/api": [200, 403]}}))
"""
KILLED: Final = "os.kill(os.getpid(), signal.SIGKILL)"
TOLD: Final = "raise KeyboardInterrupt"
ALL_SEEN: Final = 10  # nothing fails, and the other clauses of 1.4 have no check here


def suite(end: str = "", quota: str = '"403 exceeded quota"') -> str:
    """Four checks, of which the third ends the run in its own way; ``quota`` is what the second one sees."""
    return textwrap.dedent(SUITE).replace("END", end or "pass").replace("QUOTA", quota)


class Resumable:
    """The deployment, and what its checks asked of it."""

    def __init__(self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
        self.deployment = deployment
        self.folder = deployment.pytester.path
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        # As little as can be: what is not a probe or an inspection of 1.4 has no check here.
        self.choice = ("--requirement", "1.4")

    def ended(self, how: str, *arguments: str, **said: str) -> RunRecord:
        """A run that is ended in the third of its four checks."""
        self.run(suite(how, **said), *self.choice, *arguments)
        return self.deployment.record

    def run(self, tests: str, *arguments: str) -> pytest.RunResult:
        """A run in a process of its own: it may be killed."""
        (self.folder / "asked").unlink(missing_ok=True)
        self.deployment.pytester.makepyfile(test_suite=tests)
        plugins = [part for plugin in PLUGINS for part in ("-p", plugin)]
        plugins += ["-p", "no:hypothesispytest", "--assert=plain", "-p", "no:cacheprovider"]
        return self.deployment.pytester.runpytest_subprocess(
            *plugins, "-q", "--target", str(self.deployment.target), *arguments
        )

    def resumed(self, *arguments: str, **said: str) -> pytest.RunResult:
        """The run that takes it up again."""
        return self.run(suite(**said), *(arguments or ("--resume",)))

    @property
    def asked(self) -> list[str]:
        """The checks that the last run made, in their order."""
        return (self.folder / "asked").read_text().split()

    @property
    def root(self) -> Path:
        """Where runs are kept."""
        return self.folder / "out/runs"

    def refused(self, *arguments: str) -> str:
        """What a resume says that is refused: a wrong call, and no run of its own."""
        before = list(self.root.iterdir()) if self.root.is_dir() else []
        result = self.resumed(*arguments)
        assert result.ret == pytest.ExitCode.USAGE_ERROR, said(result)
        assert before == (list(self.root.iterdir()) if self.root.is_dir() else [])
        return " ".join(said(result).split())


@pytest.fixture
def resumable(deployment: Deployment, served: list[Asked], monkeypatch: pytest.MonkeyPatch) -> Resumable:
    assert not served
    return Resumable(deployment, monkeypatch)


def verdicts(record: RunRecord) -> dict[str, tuple[Verdict, str]]:
    """What became of each clause, and from which run it is carried over."""
    return {result.clause: (result.verdict, result.carried_from) for result in record.results}


# --- what is repeated and what is not


@pytest.mark.parametrize("how", [KILLED, TOLD], ids=["killed", "told to end"])
def test_only_what_has_no_evidence_is_repeated_and_the_new_evidence_stands_alone(
    resumable: Resumable, how: str
) -> None:
    first = resumable.ended(how)
    assert set(verdicts(first)) == {INSPECTED, FIRST}
    assert (first.manifest is None) is (how == KILLED)

    result = resumable.resumed()
    assert result.ret == ALL_SEEN, said(result)
    assert resumable.asked == [INSPECTED, SECOND, THIRD]  # inspection takes seconds, and is always repeated
    record = resumable.deployment.record
    passed = Verdict.passed
    assert verdicts(record) == {
        FIRST: (passed, first.run),
        INSPECTED: (passed, ""),
        SECOND: (passed, ""),
        THIRD: (passed, ""),
    }
    assert record.manifest is not None
    assert [origin.run for origin in record.manifest.resumes] == [first.run]
    assert set(record.manifest.planned) == {("1.4", clause) for clause in (INSPECTED, FIRST, SECOND, THIRD)}
    assert f"resumes run {first.run}" in said(result)
    assert "carried over: 1.4 quota-enforced passed" in said(result)

    shutil.rmtree(first.path)
    (checked,) = check(Path(record.path), [], decide).runs
    assert checked.problems == ()
    assert checked.again == 4


def test_what_failed_is_carried_over_as_it_was_seen(resumable: Resumable) -> None:
    first = resumable.ended(KILLED, quota="201")
    result = resumable.resumed()
    assert result.ret == 1, said(result)
    assert verdicts(resumable.deployment.record)[FIRST] == (Verdict.failed, first.run)


def test_what_could_not_be_seen_is_repeated(resumable: Resumable) -> None:
    resumable.ended(KILLED, quota='"0 timed out"')
    assert resumable.resumed().ret == ALL_SEEN
    assert resumable.asked == [INSPECTED, FIRST, SECOND, THIRD]


def test_a_resume_that_is_interrupted_is_taken_up_again_and_knows_who_saw_what(resumable: Resumable) -> None:
    first = resumable.ended(KILLED)
    resumable.run(suite(KILLED), "--resume")
    second = resumable.deployment.record
    assert second.run != first.run
    assert verdicts(second)[FIRST] == (Verdict.passed, first.run)
    assert resumable.resumed().ret == ALL_SEEN
    record = resumable.deployment.record
    assert record.manifest is not None
    assert [origin.run for origin in record.manifest.resumes] == [first.run, second.run]
    assert verdicts(record)[FIRST] == (Verdict.passed, first.run)
    assert check(resumable.root, [], decide).confirmed
    assert "nothing to resume" in resumable.refused("--resume")  # neither of the two is unfinished any more


def test_a_run_that_was_killed_before_its_end_was_written_has_nothing_left_but_to_inspect(resumable: Resumable) -> None:
    resumable.run(suite(), *resumable.choice)
    record = resumable.deployment.record
    for name in ("manifest.json", "report.html", "junit.xml"):
        (Path(record.path) / name).unlink()
    assert resumable.resumed().ret == ALL_SEEN
    assert resumable.asked == [INSPECTED]
    assert {clause for clause, (_, origin) in verdicts(resumable.deployment.record).items() if origin} == {
        FIRST,
        SECOND,
        THIRD,
    }


def test_what_no_gate_would_count_any_more_is_repeated(resumable: Resumable) -> None:
    first = resumable.ended(KILLED)
    age(Path(first.path), timedelta(hours=25))  # a probe counts for 24 h where the strictest profile asks for it
    result = resumable.resumed()
    assert result.ret == ALL_SEEN, said(result)
    assert resumable.asked == [INSPECTED, FIRST, SECOND, THIRD]
    assert "repeated: 1.4 quota-enforced was judged 25 h" in said(result)


def age(folder: Path, by: timedelta) -> None:
    """Move all that a killed run says of its times into the past."""
    file = folder / "beginning.json"
    known = beginning_of(folder)
    assert known is not None
    file.write_bytes(pretty(structs.replace(known, started=known.started - by)))
    results = RunStore(folder).read().results
    (folder / "findings.jsonl").unlink()
    for result in results:
        RunStore(folder).append_result(structs.replace(result, started=result.started - by, ended=result.ended - by))


# --- what is refused


def test_nothing_is_taken_up_while_something_is_broken_and_nothing_is_lost_by_trying(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"id": "e1", "run": "r1", "target": "small", "fault": "switch", "parameters": {}}
    broken: dict[str, str] = {}

    def answer(request: Asked) -> tuple[int, Any]:
        return (200, {"data": broken}) if request.path.endswith("/verify-journal") else granting(request)

    with serving(answer) as server:
        deployment.at(server.url)
        resumable = Resumable(deployment, monkeypatch)
        first = resumable.ended(KILLED)
        broken["e1"] = json.dumps(entry | {"opened": "2026-11-24T11:00:00Z"})
        refused = resumable.resumed()
        assert refused.ret == 11, said(refused)
        assert f"verify restore --target {deployment.target}" in said(refused)
        assert not (resumable.folder / "asked").exists()
        broken.clear()
        assert resumable.resumed().ret == ALL_SEEN
    assert resumable.asked == [INSPECTED, SECOND, THIRD]
    assert verdicts(deployment.record)[FIRST] == (Verdict.passed, first.run)


def test_there_is_nothing_to_resume(resumable: Resumable) -> None:
    assert "there is nothing to resume: no run of target small in out/runs was interrupted" in resumable.refused()
    assert resumable.run(suite(), *resumable.choice).ret == ALL_SEEN
    assert "there is nothing to resume" in resumable.refused()
    run = resumable.deployment.record.run
    assert f"run {run} judged all that it meant to" in resumable.refused(f"--resume={run}")
    assert "out/runs/nowhere holds no run" in resumable.refused("--resume=nowhere")


def test_a_resume_chooses_nothing_of_its_own(resumable: Resumable) -> None:
    resumable.ended(KILLED)
    assert "leave out --profile, --requirement and --kind" in resumable.refused("--resume", "--requirement", "1.4")


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("target", "other", "it was of target other, and this is small"),
        ("catalogue_digest", "0" * 64, "the catalogue was changed since"),
        ("code", "0" * 64, "other code saw and judged then"),
        ("target_digest", "0" * 64, "target small was changed since"),
        ("limits", {}, "other limits are in force now"),
    ],
)
def test_what_was_seen_otherwise_is_not_taken_up(resumable: Resumable, field: str, value: Any, sentence: str) -> None:
    first = resumable.ended(KILLED)
    file = Path(first.path) / "beginning.json"
    known = beginning_of(Path(first.path))
    assert known is not None
    file.write_bytes(pretty(structs.replace(known, **{field: value})))
    refused = resumable.refused(f"--resume={first.run}")
    assert f"run {first.run} cannot be resumed: {sentence}" in refused
    assert "Start a new one without --resume." in refused


def test_another_limit_of_the_target_is_another_run(resumable: Resumable) -> None:
    resumable.ended(KILLED)
    target = yaml.safe_load(resumable.deployment.target.read_text())
    target["limits"] = {"1.1": {"api_write_gap": 60}}
    resumable.deployment.target.write_text(yaml.safe_dump(target))
    assert "other limits are in force now (1.1)" in resumable.refused()


@pytest.mark.parametrize("name", ["findings.jsonl", "fact"])
def test_damaged_evidence_is_not_taken_up(resumable: Resumable, name: str) -> None:
    first = resumable.ended(KILLED)
    folder = Path(first.path)
    file = next(iter((folder / "facts").iterdir())) if name == "fact" else folder / name
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    refused = resumable.refused(f"--resume={first.run}")
    assert "its evidence does not verify" in refused
    assert file.name in refused


def test_a_beginning_that_cannot_be_read_is_not_taken_up(resumable: Resumable) -> None:
    first = resumable.ended(KILLED)
    file = Path(first.path) / "beginning.json"
    file.write_bytes(file.read_bytes()[:-100])
    assert f"cannot read {file}" in resumable.refused(f"--resume={first.run}")


def test_a_run_that_is_at_work_is_left_alone(resumable: Resumable) -> None:
    first = resumable.ended(KILLED)
    folder = Path(first.path)
    known = beginning_of(folder)
    assert known is not None
    assert not at_work(folder)
    with begun(folder, known):
        assert at_work(folder)
        assert f"run {first.run} is at work" in resumable.refused(f"--resume={first.run}")


def test_a_run_of_another_key_is_not_taken_up(resumable: Resumable) -> None:
    mine, other = (resumable.folder / name for name in ("mine.pem", "other.pem"))
    load_public_key(generate(mine))
    generate(other)
    first = resumable.ended(TOLD, "--key", str(other))
    assert "its evidence does not verify" in resumable.refused("--resume", "--key", str(mine))
    again = resumable.resumed("--resume", "--key", str(other))
    assert again.ret == ALL_SEEN, said(again)
    record = resumable.deployment.record
    assert record.manifest is not None
    assert first.manifest is not None
    assert record.manifest.resumes == (Origin(run=first.run, started=first.manifest.started, key=first.manifest.key),)


# --- what is made of it afterwards


def test_a_result_says_that_it_is_carried_over_only_where_the_run_resumes_that_one(resumable: Resumable) -> None:
    first = resumable.ended(KILLED)
    assert resumable.resumed().ret == ALL_SEEN
    folder = Path(resumable.deployment.record.path)
    (folder / "manifest.json").unlink()
    known = beginning_of(folder)
    assert known is not None
    assert check(folder, [], decide).confirmed
    (folder / "beginning.json").write_bytes(pretty(structs.replace(known, resumes=())))
    (checked,) = check(folder, [], decide).runs
    problems = [str(problem) for problem in checked.problems]
    assert problems == [
        f"findings.jsonl line 1 (1.4 quota-enforced): it is carried over from run {first.run}, which this run does "
        "not resume"
    ]


def test_the_gate_counts_what_was_carried_over_from_when_it_was_seen(resumable: Resumable) -> None:
    first = resumable.ended(KILLED)
    assert resumable.resumed().ret == ALL_SEEN
    catalogue = load_catalogue()
    runs = [verified(run, lambda folder: "") for run in stored_runs(resumable.root)]
    ask = dict[str, Any](catalogue=catalogue, waivers=Waivers(), target="small")
    nightly, golive = load_profile("nightly", catalogue), load_profile("golive", catalogue)
    known = beginning_of(Path(first.path))
    assert known is not None

    def standing(profile: Any, now: datetime) -> tuple[Standing, str]:
        answer = gate(runs, profile=profile, now=now, **ask)
        (clause,) = (one for one in answer.clauses if (one.requirement, one.clause) == ("1.4", FIRST))
        assert clause.seen_from == known.started
        return clause.standing, clause.why

    now = datetime.now(UTC)
    assert standing(nightly, now)[0] is Standing.holds
    late = known.started + nightly.fresh_for("probe")
    assert standing(nightly, late)[0] is Standing.holds
    assert standing(nightly, late + timedelta(seconds=1))[0] is Standing.too_old
    # Nothing vouched for it while the run that saw it lay there, killed.
    assert standing(golive, now) == (
        Standing.untrusted,
        f"run {runs[-1].name} carried it over from run {first.run}, which was killed and is not signed",
    )


def test_the_reader_is_told(resumable: Resumable) -> None:
    from rich.console import Console

    first = resumable.ended(KILLED)
    assert resumable.resumed().ret == ALL_SEEN
    record = resumable.deployment.record
    console = Console(width=200)
    with console.capture() as captured:
        console.print(screen(record, load_catalogue()))
    assert f"1 clause carried over from run {first.run}" in captured.get()
    assert f"1 clause carried over from run {first.run}" in (Path(record.path) / "report.html").read_text()
