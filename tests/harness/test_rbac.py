"""What is granted: exactly what the chosen checks declare, for each identity, and no more."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from fixtures.kubernetes import SNAPSHOT_ACCESS, Access
from harness.checks import ROOT, source
from harness.cli import app
from harness.coverage import chosen, least
from harness.needs import FIXTURES, Asked, needs, reads
from harness.rbac import roles
from harness.selection import choose
from policies.catalogue import load_catalogue
from targets.model import load_target

CATALOGUE = load_catalogue()
LAB = load_target("lab")
LAYER = ROOT / "bootstrap/layers/30-rbac/identities.lab.yaml"

Granted = set[tuple[str, str, str, str, str]]
"""Namespace, group, resource with its subresource, name, verb; empty where any."""


def objects(*arguments: str) -> list[dict[str, Any]]:
    """What `verify rbac` writes for the lab."""
    result = CliRunner().invoke(app, ["rbac", "--target", "lab", *arguments])
    assert result.exit_code == 0, result.output
    return [each for each in yaml.safe_load_all(result.stdout) if each]


def granted(documents: list[dict[str, Any]], account: str) -> Granted:
    """What an account is granted by roles that are bound to it."""
    bound = {
        (each["roleRef"]["kind"], each["metadata"].get("namespace", ""), each["roleRef"]["name"])
        for each in documents
        if each["kind"].endswith("Binding") and account in {subject["name"] for subject in each["subjects"]}
    }
    return {
        (each["metadata"].get("namespace", ""), group, resource, name, verb)
        for each in documents
        if each["kind"].endswith("Role")
        and (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]) in bound
        for rule in each["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }


def as_granted(access: Access) -> tuple[str, str, str, str, str]:
    resource = f"{access.resource}/{access.subresource}" if access.subresource else access.resource
    return access.namespace, access.group, resource, access.name, access.verb


def test_the_layer_applies_what_the_command_writes() -> None:
    result = CliRunner().invoke(app, ["rbac", "--target", "lab"])
    remedy = f"run: verify rbac --target lab --output {LAYER.relative_to(ROOT)}"
    assert LAYER.read_text() == result.stdout, remedy


@pytest.mark.parametrize("arguments", [[], ["-p", "nightly"], ["-k", "inspect"], ["-r", "1.4"], ["-r", "1.3"]], ids=str)
def test_everything_needed_is_granted_and_nothing_else(arguments: list[str]) -> None:
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    choice = choose(
        CATALOGUE, [r for r in [options.get("-r")] if r], [k for k in [options.get("-k")] if k], options.get("-p")
    )
    wanted = least(source(), CATALOGUE, choice, LAB)
    written = objects(*arguments)
    for identity in ("scanner", "disruptor"):
        has = granted(written, identity)
        mine = {as_granted(need.access) for need in wanted if need.identity == identity}
        # What is granted everywhere is not granted once more in a namespace, or for a name.
        wider = {(ns, *rest) for ns, *rest in mine} - has
        for place, group, resource, name, verb in wider:
            places = {("", ""), ("", name), (place, "")}
            assert has & {(ns, group, resource, any_or_one, verb) for ns, any_or_one in places}
        assert has <= mine


def test_without_probes_and_faults_there_is_no_disruptor() -> None:
    written = objects("--kind", "inspect")
    assert not [each for each in written if "disruptor" in yaml.safe_dump(each)]
    assert {verb for *_, verb in granted(written, "scanner")} == {"get", "list"}


def test_without_faults_nothing_of_journal_and_lease_is_written() -> None:
    probing = granted(objects("--kind", "inspect,probe"), "disruptor")
    of_ours = {(r, verb) for ns, _, r, _, verb in probing if ns == "verify-system"}
    assert of_ours == {("configmaps", "get"), ("leases", "get")}
    breaking = granted(objects("--kind", "disrupt"), "disruptor")
    assert ("verify-system", "", "configmaps", "verify-journal", "patch") in breaking


def test_one_requirement_is_granted_no_more_than_its_rules_read() -> None:
    lists = {resource for ns, _, resource, _, verb in granted(objects("-r", "1.3", "-k", "inspect"), "scanner")}
    assert lists == {"nodes", "pods", "daemonsets", "namespaces", "configmaps", "leases", "clusters"}


def test_a_namespace_is_enough_where_its_name_is_known() -> None:
    only_trials = granted(objects("-r", "1.4", "-k", "probe"), "disruptor")
    creates = {ns for ns, _, resource, _, verb in only_trials if (resource, verb) == ("pods", "create")}
    assert creates == set(LAB.namespaces.environments)


@pytest.mark.parametrize("arguments", [[], ["-p", "nightly"], ["-k", "inspect"]], ids=str)
def test_nobody_is_granted_secrets_tokens_wildcards_or_more_grants(arguments: list[str]) -> None:
    for identity in ("scanner", "disruptor"):
        for _, group, resource, _, verb in granted(objects(*arguments), identity):
            assert "*" not in {group, resource, verb}
            assert resource not in {"secrets", "serviceaccounts/token"}
            assert verb not in {"escalate", "bind", "impersonate"}


# --- what is declared


def test_every_fixture_that_calls_the_api_says_what_it_needs() -> None:
    """A fixture that is handed an identity, or makes one of itself, stands in the table with it."""
    missing = {}
    for file in sorted(Path(ROOT / "fixtures").glob("*.py")):
        for node in ast.parse(file.read_text()).body:
            fixture = isinstance(node, ast.FunctionDef) and any(
                "fixture" in ast.unparse(d) for d in node.decorator_list
            )
            if not fixture:
                continue
            assert isinstance(node, ast.FunctionDef)
            handed = {a.arg for a in (*node.args.args, *node.args.kwonlyargs)} & {"scanner", "disruptor"}
            named = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            handed |= {"operator"} & named
            if lacking := handed - FIXTURES.get(node.name, {}).keys():
                missing[node.name] = lacking
    assert missing == {}


def test_what_is_not_known_of_a_rule_is_taken_as_everything() -> None:
    check = Asked("1.1", "namespaces", "inspect", ("snapshot",), ("snapshot",), "no_such.rule")
    asked_for = {need.access for need in needs([check], LAB) if need.uses == ("snapshot",)}
    assert reads("no_such.rule") is None
    assert asked_for | {Access("list", "", "namespaces"), Access("list", "", "pods")} == set(SNAPSHOT_ACCESS)


def test_every_check_is_chosen_once_in_the_order_of_a_run() -> None:
    checks = chosen(source(), CATALOGUE, choose(CATALOGUE, [], []))
    assert len({check.name for check in checks}) == len(checks) == len(source().checks)
    kinds = [check.kind for check in checks]
    assert kinds == sorted(kinds, key=["inspect", "probe", "load", "disrupt"].index)


def test_roles_are_bound_to_the_accounts_of_the_target() -> None:
    other = LAB.model_copy(update={"identities": LAB.identities.model_copy(update={"scanner": "narrow"})})
    checks = chosen(source(), CATALOGUE, choose(CATALOGUE, ["1.1"], ["inspect"]))
    made = roles(needs(checks, other), other)
    assert {each["metadata"]["name"] for each in made} == {"narrow", "finbot-verify:narrow"}


# --- a wrong call is 4, as everywhere


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--targt", "lab"],
        ["run"],
        ["gate", "--nope"],
        ["lab", "ups"],
        ["nothing"],
        ["history", "--last", "none"],
        ["rbac", "--target", "labb"],
        ["rbac", "--target", "lab", "--profile", "golove"],
        ["preflight", "--target", "lab", "--kind", "inspct"],
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_4(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 4
