"""Targets: the published ones, where they are found, and what a wrong one is told."""

import re
from pathlib import Path

import pytest

from policies.catalogue import load_catalogue
from policies.documents import DocumentError
from targets.model import TARGETS, known_targets, load_target


def test_the_lab_names_its_place_and_its_emulations() -> None:
    lab = load_target("lab")
    assert lab.environment == "lab"
    assert lab.cluster.context == "finbot-lab"
    assert lab.disrupt.allowed
    assert lab.emulated


def test_the_example_is_valid_and_disrupts_nothing() -> None:
    example = load_target(str(TARGETS / "production.example.yaml"))
    assert example.environment == "production"
    assert not example.disrupt.allowed
    assert example.not_applicable_reason("10.2", "drain") == "No spot capacity is used in this account"
    assert example.not_applicable_reason("10.1", "requests") is None


def test_published_targets_name_only_what_the_catalogue_has() -> None:
    catalogue = load_catalogue()
    for file in sorted(TARGETS.glob("*.yaml")):
        target = load_target(str(file))
        named = [(entry.requirement, entry.clause) for entry in target.not_applicable]
        assert list(catalogue.unknown_names(target.limits, named)) == []
        assert catalogue.deviations(target.limits) == ()


def test_an_unknown_name_lists_the_known_ones() -> None:
    assert known_targets() == ("lab",)
    with pytest.raises(DocumentError, match=re.escape('there is no target "prod"; known are: lab.')):
        load_target("prod")


def test_a_path_that_does_not_exist() -> None:
    with pytest.raises(DocumentError, match=r"nowhere/prod\.yaml: there is no such file"):
        load_target("nowhere/prod.yaml")


def test_paths_are_filled_in_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = changed(tmp_path, "/var/lib/finbot-lab/kubeconfig", "${VERIFY_TEST_HOME}/kube")
    monkeypatch.setenv("VERIFY_TEST_HOME", "/home/me")
    assert load_target(str(file)).cluster.kubeconfig_path == Path("/home/me/kube")
    monkeypatch.delenv("VERIFY_TEST_HOME")
    with pytest.raises(
        DocumentError, match=r"cluster.kubeconfig: the environment variable VERIFY_TEST_HOME is not set"
    ):
        _ = load_target(str(file)).cluster.kubeconfig_path
    monkeypatch.setenv("HOME", "/home/me")
    file = changed(tmp_path, "/var/lib/finbot-lab/kubeconfig", "~/.kube/config")
    assert load_target(str(file)).cluster.kubeconfig_path == Path("/home/me/.kube/config")


def changed(folder: Path, old: str, new: str) -> Path:
    text = (TARGETS / "lab.yaml").read_text()
    assert old in text
    file = folder / "changed.yaml"
    file.write_text(text.replace(old, new, 1))
    return file


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  context: finbot-lab\n", "", "cluster.context: is missing."),
        (
            "environment: lab",
            "environment: test",
            'environment: expected one of lab, staging, production; found "test".',
        ),
        ("overlay:", "overlaid:", 'network.overlaid: unknown key. Did you mean "overlay"?'),
        ("allowed: true", "allowed: yes", 'disrupt.allowed: expected true or false; found "yes".'),
        ("max_seconds: 150", "max_seconds: 0", "disrupt.max_seconds: input should be greater than or equal to 1"),
        ("port: 9093", "port: 99999", "monitoring.alertmanager.port: input should be less than or equal to 65535"),
        (
            "    production: {",
            "    prod: {",
            'namespaces.applications.prod: "prod" is not one of the environments. Known are:',
        ),
        ("{rto: 5}", "{rto: .inf}", 'limits["7.2"].rto: expected a finite number; found .inf.'),
        ("{rto: 5}", "{rto: 5 min}", 'limits["7.2"].rto: expected a number; found "5 min".'),
        ("https://10.231.0.1:6443", "10.231.0.1", "control_plane.endpoint: expected text of the form"),
        ("Group/kubeadm:cluster-admins", "kubeadm:cluster-admins", "rbac.allow[0].subject: expected text of the form"),
        ("[cluster-admin, ", "[root, ", "rbac.allow[0].powers[0]: expected one of cluster-admin, wildcards,"),
    ],
)
def test_a_wrong_target_is_told_where(tmp_path: Path, old: str, new: str, expected: str) -> None:
    file = changed(tmp_path, old, new)
    with pytest.raises(DocumentError) as caught:
        load_target(str(file))
    (problem,) = caught.value.problems
    assert f"{problem.key}: {problem.problem}".startswith(expected)
    assert problem.line is not None
    assert problem.key.split(".")[0].split("[")[0] in file.read_text()


def test_a_credential_in_the_wrong_place_is_not_printed(tmp_path: Path) -> None:
    file = changed(tmp_path, "  context: finbot-lab\n", "  context: finbot-lab\n  token: hunter2\n")
    with pytest.raises(DocumentError) as caught:
        load_target(str(file))
    assert "hunter2" not in str(caught.value)


def test_a_check_against_the_catalogue_names_the_line(tmp_path: Path) -> None:
    file = changed(tmp_path, "{rto: 5}", "{rtoo: 5}")
    catalogue = load_catalogue()
    with pytest.raises(DocumentError) as caught:
        load_target(
            str(file),
            check=lambda target: [
                (("limits", requirement, name), sentence)
                for requirement, name, sentence in catalogue.unknown_names(target.limits)
            ],
        )
    (problem,) = caught.value.problems
    assert problem.key == 'limits["7.2"].rtoo'
    assert file.read_text().splitlines()[(problem.line or 0) - 1].strip().startswith('"7.2": {rtoo: 5}')


def test_not_applicable_is_said_once(tmp_path: Path) -> None:
    file = changed(tmp_path, "emulated:", 'not_applicable:\n- &x {requirement: "1.1", reason: no}\n- *x\nemulated:')
    with pytest.raises(DocumentError, match="anchors and aliases"):
        load_target(str(file))
    entry = '- {requirement: "1.1", reason: no}\n'
    file = changed(tmp_path, "emulated:", f"not_applicable:\n{entry}{entry}emulated:")
    with pytest.raises(DocumentError, match=r"not_applicable\[1\]: this is said twice"):
        load_target(str(file))
    other = 'manual:\n- {requirement: "1.1", look_at: the pager}\n'
    file = changed(tmp_path, "emulated:", f"not_applicable:\n{entry}{other}emulated:")
    with pytest.raises(DocumentError, match=r"manual\[0\]: this is said twice"):
        load_target(str(file))
