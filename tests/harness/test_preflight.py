"""`verify preflight` says beforehand what a run would come to, by asking and nothing else."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from fixtures.kubernetes import Access
from harness.cli import app
from policies.catalogue import load_catalogue
from policies.profiles import load_profile
from targets.model import load_target
from tests.unit.small_server import Asked, SmallServer, granting, serving

Refuses = Callable[[Access], bool]


def target_at(folder: Path, url: str, **changes: Any) -> Path:
    """The lab's target at another address; ``changes`` go over its keys, None takes one out."""
    kubeconfig = {
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "operator"}}],
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    document = load_target("lab").model_dump(mode="json", by_alias=True, exclude_defaults=True)
    document |= {"cluster": {"kubeconfig": str(folder / "kubeconfig"), "context": "here"}, **changes}
    file = folder / "target.yaml"
    file.write_text(yaml.safe_dump({key: value for key, value in document.items() if value is not None}))
    return file


@contextmanager
def deployment(refuses: Refuses = lambda _: False, journal: dict[str, str] | None = None) -> Iterator[SmallServer]:
    """An API that grants what is not refused, and holds a journal."""

    def answer(asked: Asked) -> tuple[int, Any]:
        match asked.path.partition("?")[0].rpartition("/")[2]:
            case "selfsubjectaccessreviews":
                a = asked.body["spec"]["resourceAttributes"]
                access = Access(a["verb"], a["group"], a["resource"], a["namespace"], a["subresource"], a["name"])
                return 201, {"status": {"allowed": not refuses(access)}}
            case "verify-journal" if journal is not None:
                return 200, {"data": journal}
        return granting(asked)

    with serving(answer) as server:
        yield server


def preflight(target: Path, *arguments: str) -> Result:
    """The command with its screen."""
    return CliRunner().invoke(app, ["preflight", "--target", str(target), *arguments], env={"COLUMNS": "100"})


def told(target: Path, *arguments: str) -> dict[str, Any]:
    """What it says to a program."""
    result = preflight(target, *arguments, "--json")
    found: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == found["exit_code"], result.output
    return found


def stopped(found: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(c["requirement"], c["clause"]): c for c in found["clauses"] if c["outlook"] == "cannot be evaluated"}


NO_FAULTS = ("--kind", "inspect,probe")


def test_where_everything_is_granted_everything_can_be_evaluated(tmp_path: Path) -> None:
    with deployment() as server:
        found = told(target_at(tmp_path, server.url), *NO_FAULTS)
    assert found["exit_code"] == 0
    assert stopped(found) == {}
    assert {c["outlook"] for c in found["clauses"] if c["requirement"] in {"1.1", "1.3"}} == {"can be evaluated"}
    assert "1.2" in found["without_check"]
    writes = [a for a in server.asked if a.method != "GET" and not a.path.endswith(("/token", "accessreviews"))]
    assert writes == []


def test_what_is_refused_names_the_clauses_that_it_costs_and_no_other(tmp_path: Path) -> None:
    with deployment(lambda a: a.resource == "limitranges" and not a.namespace) as server:
        target = target_at(tmp_path, server.url)
        found, screen = told(target, *NO_FAULTS), preflight(target, *NO_FAULTS)
    assert found["exit_code"] == screen.exit_code == 10
    assert set(stopped(found)) == {("1.4", "limit-range-present")}
    clause = stopped(found)["1.4", "limit-range-present"]
    assert (clause["cause"], clause["why"]) == ("forbidden", "snapshot: scanner may not list limitranges")
    refused = [need for need in found["needs"] if need["allowed"] is False]
    assert [(n["identity"], n["access"]) for n in refused] == [("scanner", "list limitranges")]
    assert "? 1.4 limit-range-present" in screen.output
    assert "verify rbac" in screen.output
    assert max(len(line.rstrip()) for line in screen.output.splitlines()) <= 100


def test_what_only_the_run_around_them_asks_costs_no_clause(tmp_path: Path) -> None:
    with deployment(lambda a: a.resource == "configmaps" and a.verb == "get") as server:
        found = told(target_at(tmp_path, server.url), *NO_FAULTS)
    assert found["exit_code"] == 0
    assert any(need["allowed"] is False for need in found["needs"])


def test_an_operator_who_may_issue_no_token_for_an_application(tmp_path: Path) -> None:
    with deployment(lambda a: a.subresource == "token" and a.namespace == "staging") as server:
        found = told(target_at(tmp_path, server.url), *NO_FAULTS)
    assert set(stopped(found)) == {("1.4", "cross-namespace"), ("1.4", "anonymous")}


@pytest.mark.parametrize(
    ("section", "clauses"),
    [
        ("monitoring", {("10.1", "quota-alert")}),
        (
            "ssh",
            {
                *(("1.1", slug) for slug in ("etcd-members", "etcd-health", "etcd-alarms", "certificates")),
                ("1.3", "mtu"),
                ("1.4", "kubelet-anonymous"),
            },
        ),
    ],
)
def test_what_the_target_leaves_out_is_said(tmp_path: Path, section: str, clauses: set[tuple[str, str]]) -> None:
    with deployment() as server:
        found = told(target_at(tmp_path, server.url, **{section: None}), *NO_FAULTS)
    assert set(stopped(found)) == clauses
    assert all(f"`{section}`" in clause["remedy"] for clause in stopped(found).values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"disrupt": {"allowed": False}}, "does not allow faults"), ({"environment": "production"}, "type --disrupt")],
    ids=["not-allowed", "production"],
)
def test_a_fault_that_is_not_permitted_is_said(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with deployment() as server:
        found = told(target_at(tmp_path, server.url, **changes), "--kind", "disrupt")
    catalogue = load_catalogue()
    checked = load_profile("nightly", catalogue).must_pass
    faults = {(r, c.slug) for r in checked for c in catalogue.requirement(r).clauses if c.kind == "disrupt"}
    assert {clause for clause, said in stopped(found).items() if said["kind"] == "disrupt"} == faults
    assert words in found["disruptions"][0]["why_not"]


def test_what_is_still_broken_stops_everything(tmp_path: Path) -> None:
    entry = (
        '{"id":"e1","run":"r1","target":"lab","fault":"control-plane-node-cut","parameters":{"node":"cp1"},'
        '"opened":"2026-11-24T11:00:00Z"}'
    )
    with deployment(journal={"e1": entry}) as server:
        target = target_at(tmp_path, server.url)
        found = told(target, "-r", "1.3", "-k", "inspect")
    assert found["exit_code"] == 10
    assert "control-plane-node-cut" in found["still_broken"]
    assert len(stopped(found)) == 3
    assert f"verify restore --target {target}" in found["still_broken"]


def test_an_api_that_is_away_is_no_error_of_ours(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    target = target_at(tmp_path, f"http://127.0.0.1:{port}")
    found = told(target, *NO_FAULTS)
    assert found["exit_code"] == 10
    assert "connection refused" in found["unreachable"]
    assert {need["allowed"] for need in found["needs"]} == {None}
    assert not any(c["outlook"] == "can be evaluated" for c in found["clauses"])
    assert "Could not be asked" in preflight(target, *NO_FAULTS).output


def test_what_waits_for_a_person_is_not_evaluated_by_a_run(tmp_path: Path) -> None:
    manual = [{"requirement": "10.1", "clause": "quota-alert", "look_at": "the provider's alert of last night"}]
    with deployment() as server:
        found = told(target_at(tmp_path, server.url, manual=manual), "-r", "10.1", "-k", "probe")
    (clause,) = found["clauses"]
    assert (clause["outlook"], found["exit_code"]) == ("waits for a person", 10)


def test_what_does_not_apply_needs_nothing(tmp_path: Path) -> None:
    away = [{"requirement": "10.1", "clause": "quota-alert", "reason": "alerts are the provider's"}]
    with deployment() as server:
        found = told(target_at(tmp_path, server.url, not_applicable=away), "-r", "10.1", "-k", "probe")
    (clause,) = found["clauses"]
    assert (clause["outlook"], clause["why"]) == ("does not apply", "alerts are the provider's")
    assert found["needs"] == []
