"""Runs of small suites with the real plugin: what is refused, what is judged, and what the run leaves and says."""

from __future__ import annotations

import itertools
import re
import socket
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bootstrap.lab.s3 import Server
from harness.verdict import decide
from policies.facts.base import Cause
from reports.bucket import Bucket, BucketStore
from reports.evidence import check
from reports.model import RunRecord, Verdict
from reports.signing import generate, load_public_key
from reports.store import PAGE, RunStore
from tests.reports.s3 import serving_s3
from tests.unit.small_server import Asked, granting, serving

pytest_plugins = "pytester"

PLUGINS = ("fixtures.kubernetes", "fixtures.declared", "fixtures.nodes", "harness.plugin")

Answer = Callable[[Asked], tuple[int, Any]]

RULES = """
    from datetime import UTC, datetime
    import pytest
    from fixtures.unobservable import Unobservable
    from policies.facts.base import Cause, Fact, Unseen
    from policies.finding import Finding

    FORBIDDEN = Unseen(Cause.FORBIDDEN, "pods", "HTTP 403", "grant it")
    stale = Fact(datetime(2026, 1, 1, tzinfo=UTC))

    def green(fact, limits): yield Finding("etcd", "3 members", "3 members", True)
    def red(fact, limits): yield Finding("etcd", "3 members", "2 members", False)
    def blind(fact, limits): yield Finding.unseen("etcd", "3 members", FORBIDDEN)
    def empty(fact, limits): yield from ()
    def broken(fact, limits):
        yield Finding("etcd", "3 members", "3 members", True)
        raise KeyError("members")
"""
# A requirement of two clauses, both inspected.
BODY = """
    @pytest.mark.requirement("7.3", "recent")
    def test_it(snapshot, judge):
        {}

    @pytest.mark.requirement("7.3", "evidence")
    def test_the_other(snapshot, judge):
        judge(green, snapshot)
"""


def suite(statement: str) -> str:
    """A suite of two tests, the first of which does what is stated, and the second passes."""
    return textwrap.dedent(RULES) + textwrap.dedent(BODY).format(statement)


PASSES = suite("judge(green, snapshot)")


class Deployment:
    """A target in a folder, with a kubeconfig for it, and small suites run against it."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.target = pytester.path / "target.yaml"
        pytester.makeini("[pytest]\naddopts = -p no:cacheprovider -p no:locust\nfilterwarnings = error")

    def at(self, server: str, context: str = "here", **changes: Any) -> None:
        """Write target and kubeconfig; ``changes`` go over the target's keys."""
        cluster = {"name": "c", "cluster": {"server": server}}
        user = {"name": "u", "user": {"token": "operator"}}
        named = {"name": "here", "context": {"cluster": "c", "user": "u"}}
        kubeconfig = self.pytester.path / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump({"contexts": [named], "clusters": [cluster], "users": [user]}))
        target = {
            "name": "small",
            "description": "A small one",
            "environment": "staging",
            "cluster": {"kubeconfig": str(kubeconfig), "context": context},
            "network": {
                "cni": {"name": "flannel", "namespace": "kube-system", "daemonset": "flannel"},
                "overlay": "vxlan",
                "headless": {"namespace": "kube-system", "service": "dns"},
                "external_names": ["example.org"],
            },
            "probe_image": "probe:1",
            **changes,
        }
        self.target.write_text(yaml.safe_dump(target))

    def run(self, tests: str, *arguments: str, target: str = "") -> pytest.RunResult:
        """Run a suite; without ``target`` against the target written by ``at``."""
        self.pytester.makepyfile(test_suite=tests)
        options = ["--target", target or str(self.target)] if target != "none" else []
        plugins = [part for plugin in PLUGINS for part in ("-p", plugin)]
        plugins += ["-p", "no:hypothesispytest", "--assert=plain"]
        return self.pytester.runpytest_inprocess(*plugins, "-q", *options, *arguments, no_reraise_ctrlc=True)

    @property
    def record(self) -> RunRecord:
        """The newest run, read back."""
        return RunStore.open(self.pytester.path / "out/runs/latest").read()

    @property
    def runs(self) -> list[Path]:
        """The folders of all runs."""
        return [path for path in self.pytester.path.glob("out/runs/[0-9]*") if path.is_dir()]


@pytest.fixture
def deployment(pytester: pytest.Pytester) -> Deployment:
    return Deployment(pytester)


@pytest.fixture
def served(deployment: Deployment) -> Iterator[list[Asked]]:
    """A deployment whose API grants everything and holds nothing; yields what it was asked."""

    with serving(granting) as server:
        deployment.at(server.url)
        yield server.asked


def said(result: pytest.RunResult) -> str:
    """Everything that was printed."""
    return "\n".join([*result.outlines, *result.errlines])


# --- a wrong call ends with a sentence, before anything was asked


def test_without_a_target_the_suites_are_a_usage_error(deployment: Deployment) -> None:
    result = deployment.run(PASSES, target="none")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "say which with --target" in said(result)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--requirement", "1.99"], 'there is no requirement "1.99"'),
        (["--profile", "golove"], 'there is no profile "golove". Did you mean "golive"?'),
        (["--kind", "inspct"], 'there is no kind "inspct"; known are inspect, probe, load, disrupt'),
    ],
)
def test_an_unknown_name_is_a_usage_error(
    deployment: Deployment, served: list[Asked], arguments: list[str], sentence: str
) -> None:
    result = deployment.run(PASSES, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert sentence in said(result)
    assert not served
    assert not deployment.runs


def test_an_unknown_target_lists_the_known_ones(deployment: Deployment) -> None:
    result = deployment.run(PASSES, target="labb")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert 'there is no target "labb"; known are: lab' in said(result)


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("colour: blue", "colour"),
        ("limits: {'1.1': {no_such_limit: 3}}", "limits"),
        ("not_applicable: [{requirement: '1.1', clause: nothing, reason: none}]", "not_applicable"),
        ("\tssh: {user: root}", "not valid YAML"),
        ("ssh: !!python/object/apply:os.system ['true']", "ssh"),
    ],
)
def test_a_malformed_target_is_named_by_file_line_and_key(
    deployment: Deployment, served: list[Asked], line: str, place: str
) -> None:
    number = len(deployment.target.read_text().splitlines()) + 1
    with deployment.target.open("a") as file:
        file.write(line + "\n")
    result = deployment.run(PASSES)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"target.yaml:{number}" in said(result)
    assert place in said(result)
    assert "Traceback" not in said(result)
    assert not served


def test_a_context_that_the_kubeconfig_lacks_asks_nothing_of_any_cluster(
    deployment: Deployment, served: list[Asked]
) -> None:
    server = yaml.safe_load((deployment.pytester.path / "kubeconfig").read_text())["clusters"][0]["cluster"]["server"]
    deployment.at(server, context="elsewhere")
    result = deployment.run(PASSES)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert 'no context "elsewhere"; it has: here' in said(result)
    assert not served
    assert not deployment.runs


def test_a_missing_kubeconfig_says_so(deployment: Deployment) -> None:
    deployment.at("https://127.0.0.1:1", cluster={"kubeconfig": "/nowhere/kubeconfig", "context": "here"})
    result = deployment.run(PASSES)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "kubeconfig /nowhere/kubeconfig: there is no such file" in said(result)


def test_a_test_without_a_clause_is_a_usage_error(deployment: Deployment, served: list[Asked]) -> None:
    result = deployment.run("def test_it(): pass")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert 'test_it: a test of the suites carries @pytest.mark.requirement("1.1", "a-clause")' in said(result)
    assert not served


def test_a_test_of_a_clause_that_the_catalogue_lacks_is_a_usage_error(
    deployment: Deployment, served: list[Asked]
) -> None:
    result = deployment.run(PASSES.replace("evidence", "evidance"))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert 'no clause "evidance"' in said(result)
    assert not served


def test_nothing_chosen_is_no_pass(deployment: Deployment, served: list[Asked]) -> None:
    result = deployment.run(PASSES, "--requirement", "2.1")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "nothing to run: no check reaches what was chosen yet" in said(result)
    assert not served


def test_listing_the_checks_needs_no_deployment(deployment: Deployment) -> None:
    result = deployment.run(PASSES, "--collect-only", "--target", "lab", target="none")
    assert result.ret == pytest.ExitCode.OK


# --- what cannot be seen is no pass


def test_an_api_that_refuses_connections_leaves_everything_unseen(deployment: Deployment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    deployment.at(f"http://127.0.0.1:{port}")
    result = deployment.run(PASSES)
    assert result.ret == 10
    record = deployment.record
    assert {(r.verdict, r.cause) for r in record.results} == {(Verdict.not_evaluated, Cause.UNREACHABLE)}
    assert "connection refused" in record.results[0].message
    assert "verify lab status" in record.results[0].message
    assert (Path(record.path) / PAGE).stat().st_size > 0
    assert record.manifest is not None
    assert record.manifest.exit_code == 10


def test_a_pass_is_a_pass(deployment: Deployment, served: list[Asked]) -> None:
    result = deployment.run(PASSES)
    assert result.ret == 0, said(result)
    assert [r.verdict for r in deployment.record.results] == [Verdict.passed, Verdict.passed]
    assert all(asked.method == "GET" or "/token" in asked.path or "review" in asked.path for asked in served)


@pytest.mark.parametrize(
    ("statement", "code", "verdict", "words"),
    [
        ("pass", 1, Verdict.error, "ended without judging anything"),
        ("judge(empty, snapshot)", 10, Verdict.not_evaluated, "there was nothing to examine"),
        ("judge(red, snapshot)", 1, Verdict.failed, "7.3 recent · etcd: 2 members, 3 members  -> "),
        ("judge(blind, snapshot)", 10, Verdict.not_evaluated, "pods: HTTP 403"),
        ("judge(green, stale)", 10, Verdict.not_evaluated, "from before this run"),
        ("1 / 0", 1, Verdict.error, "the check itself failed: ZeroDivisionError"),
        ("judge(broken, snapshot)", 1, Verdict.error, "the check itself failed: KeyError"),
        ("raise Unobservable(FORBIDDEN)", 10, Verdict.not_evaluated, "pods: HTTP 403"),
        ("judge(green, snapshot); assert False", 1, Verdict.error, "the check itself failed: AssertionError"),
        ("pytest.skip('not today')", 1, Verdict.error, "ended without judging anything"),
    ],
)
@pytest.mark.usefixtures("served")
def test_verdicts(deployment: Deployment, statement: str, code: int, verdict: Verdict, words: str) -> None:
    result = deployment.run(suite(statement))
    clause, other = deployment.record.results
    assert other.verdict is Verdict.passed
    assert (clause.verdict, result.ret) == (verdict, code), said(result)
    assert words in clause.message


@pytest.mark.usefixtures("served")
def test_a_run_of_a_profile_is_known_by_its_name(deployment: Deployment) -> None:
    result = deployment.run(PASSES, "--profile", "nightly", "--requirement", "7.3")
    manifest = deployment.record.manifest
    assert manifest is not None, said(result)
    assert (manifest.profile, manifest.requirements) == ("nightly", ("7.3",))
    assert "load" not in manifest.kinds


@pytest.mark.usefixtures("served")
def test_a_run_of_a_profile_ends_with_the_gates_answer(deployment: Deployment) -> None:
    nightly = said(deployment.run(PASSES, "--profile", "nightly", "--requirement", "7.3"))
    assert re.search(r"gate   NO-GO nightly: \d+ things block, all of it with", nightly), nightly
    golive = said(deployment.run(PASSES, "--profile", "golive", "--requirement", "7.3"))
    assert "gate   golive counts signed evidence alone: run with --key" in golive
    assert "gate   " not in said(deployment.run(PASSES, "--requirement", "7.3"))


@pytest.mark.usefixtures("served")
def test_what_does_not_apply_is_said_with_its_reason_and_not_run(deployment: Deployment) -> None:
    document = yaml.safe_load(deployment.target.read_text())
    document["not_applicable"] = [{"requirement": "7.3", "clause": "recent", "reason": "it is managed"}]
    deployment.target.write_text(yaml.safe_dump(document))
    result = deployment.run(suite("raise SystemExit"))
    clause, _ = deployment.record.results
    assert (clause.verdict, result.ret) == (Verdict.not_applicable, 0), said(result)
    assert "it is managed" in clause.message


@pytest.mark.usefixtures("served")
def test_an_end_in_the_middle_is_no_pass_for_what_was_still_to_come(deployment: Deployment) -> None:
    result = deployment.run(suite("raise KeyboardInterrupt"))
    assert result.ret == pytest.ExitCode.INTERRUPTED
    record = deployment.record
    assert not record.results
    assert record.manifest is not None
    assert record.manifest.planned == (("7.3", "recent"), ("7.3", "evidence"))


# --- nothing starts on what is broken


@pytest.mark.parametrize("alive", [False, True])
def test_an_open_journal_stops_the_next_run(deployment: Deployment, *, alive: bool) -> None:
    entry = (
        '{"id":"e1","run":"r1","target":"small","fault":"control-plane-node-cut","parameters":{"node":"cp1"},'
        '"opened":"2026-11-24T11:00:00Z"}'
    )
    renewals = itertools.count()

    def lease() -> dict[str, Any]:
        """One that lives renews it, whatever its clock says."""
        renewed = f"2026-11-24T11:00:{next(renewals) if alive else 0:02}.000000Z"
        return {"holderIdentity": "r1|elsewhere|7|1|its boot", "leaseDurationSeconds": 2, "renewTime": renewed}

    def answer(request: Asked) -> tuple[int, Any]:
        match request.path.rpartition("/")[2]:
            case "verify-journal":
                return 200, {"data": {"e1": entry}}
            case "verify-disrupt":
                return 200, {"metadata": {"resourceVersion": "1"}, "spec": lease()}
        return granting(request)

    with serving(answer) as server:
        deployment.at(server.url)
        result = deployment.run(PASSES)
    record = deployment.record
    assert record.manifest is not None
    if alive:  # what it breaks is its own to undo; what is seen meanwhile would be judged wrongly
        assert result.ret == 10
        assert [(r.verdict, r.cause) for r in record.results] == [(Verdict.not_evaluated, Cause.UNSAFE)] * 2
        assert "run r1 on elsewhere (pid 7) is breaking things" in record.results[0].message
    else:
        assert result.ret == 11
        assert not record.results
        assert f"verify restore --target {deployment.target}" in said(result)
        assert f"next verify restore --target {deployment.target}" in " ".join(said(result).split())
        page = (Path(record.path) / PAGE).read_text()
        assert f"<code>verify restore --target {deployment.target}" in page
        assert "control-plane-node-cut" in "".join(record.manifest.not_restored)


def test_what_was_seen_while_another_run_began_to_break_things_is_no_verdict(deployment: Deployment) -> None:
    entry = (
        '{"id":"e1","run":"r1","target":"small","fault":"control-plane-node-cut","parameters":{"node":"cp1"},'
        '"opened":"2026-11-24T11:00:00Z"}'
    )
    renewals = itertools.count()
    asked: list[str] = []

    def answer(request: Asked) -> tuple[int, Any]:
        last = request.path.rpartition("/")[2]
        asked.append(last)
        match last:
            case "verify-journal" if "nodes" in asked:  # after preflight
                return 200, {"data": {"e1": entry}}
            case "verify-disrupt":
                lease = {"holderIdentity": "r1|elsewhere|7|1|its boot", "leaseDurationSeconds": 2}
                lease["renewTime"] = f"2026-11-24T11:00:{next(renewals):02}.000000Z"
                return 200, {"metadata": {"resourceVersion": "1"}, "spec": lease}
        return granting(request)

    with serving(answer) as server:
        deployment.at(server.url)
        result = deployment.run(suite("judge(red, snapshot)"))
    assert result.ret == 10, said(result)
    record = deployment.record
    assert [(r.verdict, r.cause) for r in record.results] == [(Verdict.not_evaluated, Cause.UNSAFE)] * 2
    assert "run r1 on elsewhere (pid 7) is breaking things" in record.results[0].message


# --- the evidence

JUDGES = """
    import pytest
    from policies.rules import control_plane

    @pytest.mark.requirement("1.1", "control-plane-nodes")
    def test_it(snapshot, judge):
        judge(control_plane.ready_nodes, snapshot)
"""


@pytest.mark.parametrize("named_by", ["option", "variable", "target"])
@pytest.mark.usefixtures("served")
def test_a_run_is_signed_with_the_key_that_is_named(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, named_by: str
) -> None:
    key = deployment.pytester.path / "key.pem"
    public = load_public_key(generate(key))
    arguments = ["--key", str(key)] if named_by == "option" else []
    if named_by == "variable":
        monkeypatch.setenv("VERIFY_KEY", str(key))
    if named_by == "target":
        deployment.target.write_text(f"{deployment.target.read_text()}\nevidence: {{key: {key}}}\n")
    result = deployment.run(JUDGES, *arguments)
    assert "not signed" not in said(result)
    (found,) = check(deployment.runs[0], [public], decide).runs
    assert found.problems == ()
    assert found.signed_by == public.id
    assert found.again == 1


@pytest.mark.usefixtures("served")
def test_a_run_without_a_key_says_once_that_it_is_not_signed_and_can_be_judged_again(deployment: Deployment) -> None:
    result = deployment.run(JUDGES)
    on_one_line = " ".join(said(result).split())
    assert on_one_line.count("evidence not signed: no key was named; make one with `verify keygen --out FILE`") == 1
    (found,) = check(deployment.runs[0], [], decide).runs
    assert found.problems == ()
    assert found.again == 1


def test_a_key_that_cannot_be_used_ends_the_run_before_anything_is_asked(
    deployment: Deployment, served: list[Asked]
) -> None:
    result = deployment.run(JUDGES, "--key", "nowhere.pem")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "cannot read the key nowhere.pem: No such file or directory. Name another one, or make one" in said(result)
    assert not served
    assert not deployment.runs


# --- where it is kept


@pytest.mark.usefixtures("served")
def test_a_run_whose_evidence_does_not_reach_its_bucket_is_whole_and_not_0(deployment: Deployment) -> None:
    store = "{bucket: evidence, endpoint: 'http://127.0.0.1:1', region: us-east-1, retention_days: 1, profile: none}"
    deployment.target.write_text(f"{deployment.target.read_text()}\nevidence: {{store: {store}}}\n")
    result = deployment.run(PASSES)
    assert result.ret == 10
    folder = f"out/runs/{deployment.runs[0].name}"
    on_one_line = " ".join(said(result).split())
    assert f"kept only in {folder}: cannot reach http://127.0.0.1:1: Connection refused" in on_one_line
    assert f"Then: verify evidence push {folder}" in on_one_line
    assert deployment.record.manifest is not None
    assert deployment.record.manifest.exit_code == 0  # what the verdicts say, signed before


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real S3, of a program that lies in the cache of whoever runs the tests, not of the home that pytester makes."""
    with serving_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.mark.usefixtures("served")
def test_a_run_is_kept_in_its_bucket_and_says_what_that_cost(s3: Server, deployment: Deployment) -> None:
    store = f"{{bucket: evidence, endpoint: '{s3.url}', region: us-east-1, retention_days: 1, "
    store += f"credentials: '{s3.credentials}'}}"
    deployment.target.write_text(f"{deployment.target.read_text()}\nevidence: {{store: {store}}}\n")
    result = deployment.run(JUDGES)
    assert deployment.record.manifest is not None
    assert result.ret == deployment.record.manifest.exit_code
    run = deployment.runs[0]
    assert f"kept   s3://evidence/{run.name}, locked until 2" in said(result)
    assert re.search(r"cost   evidence and reports took \d+\.\d s of \d+\.\d s \(", said(result))
    bucket = Bucket("evidence", "", s3.url, "us-east-1", credentials=s3.credentials, retention_days=1)
    assert BucketStore(bucket).check(run.name, [], decide).confirmed
