"""What the lab and the layers write into nodes and clusters, as far as it can be read without either."""

from __future__ import annotations

import ipaddress
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bootstrap.lab import cluster, images, layers, layout, network
from bootstrap.lab.templates import render, write

BOOTSTRAP = layout.BOOTSTRAP
REFERENCES = {recipe.name.replace("-", "_"): f"lab.local/{recipe.name}:1" for recipe in images.RECIPES}
SETTINGS = {
    **REFERENCES,
    "bridge": layout.BRIDGE_ADDRESS,
    "port": layout.API_PORT,
    "endpoint": layout.ENDPOINT,
    "pod_network": layout.POD_NETWORK,
    "service_network": layout.SERVICE_NETWORK,
    "cluster_dns": layout.CLUSTER_DNS,
    "cluster_domain": layout.CLUSTER_DOMAIN,
}


def values(file: Path) -> dict[str, str]:
    """A values file as bash reads it."""
    said = subprocess.run(
        ["bash", "-c", 'set -a; . "$1"; env -0', "bash", str(file)],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(entry.split("=", 1) for entry in said.split("\0") if entry)


def objects_of_layers(file: Path) -> Iterator[dict[str, Any]]:
    """Every object of every layer with the values of `file`, as install.sh fills them in."""
    known = values(file)
    known |= {f"{name.upper()}_IMAGE": known.get(f"{name.upper()}_IMAGE", ref) for name, ref in REFERENCES.items()}
    known |= {name.removeprefix("SMALL_"): value for name, value in known.items() if name.startswith("SMALL_")}
    for manifest in sorted((BOOTSTRAP / "layers").rglob("*.yaml")):
        made = re.findall(r"^ *export (.+)$", manifest.with_name("install.sh").read_text(), re.MULTILINE)
        here = {name: "production" for line in made for name in line.split()} | known
        text = re.sub(r"\$\{([A-Z][A-Z0-9_]*)\}", lambda found: here[found[1]], manifest.read_text())  # noqa: B023 - at once
        # A kustomization changes what others publish, and is no object.
        yield from (document for document in yaml.safe_load_all(text) if document and "kind" in document)


def objects_of_lab() -> Iterator[dict[str, Any]]:
    for name in cluster.MANIFESTS:
        yield from (document for document in yaml.safe_load_all(render(f"manifests/{name}", **SETTINGS)) if document)


def containers(objects: Iterator[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for each in objects:
        spec = each.get("spec", {}).get("template", {}).get("spec", {})
        for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
            yield f"{each['kind']} {each['metadata']['name']} {container['name']}", container


VALUES = [BOOTSTRAP / "values/lab.env", BOOTSTRAP / "values/production.example.env"]


@pytest.mark.parametrize("file", VALUES, ids=lambda file: file.name)
def test_layers_are_complete_with_either_values(file: Path) -> None:
    found = list(objects_of_layers(file))
    assert {each["kind"] for each in found} >= {"Namespace", "ResourceQuota", "LimitRange", "ClusterRole", "Deployment"}
    assert all(each["apiVersion"] and each["metadata"]["name"] for each in found)


def test_every_container_of_ours_states_requests_and_limits() -> None:
    found = [*containers(objects_of_lab()), *containers(objects_of_layers(VALUES[0]))]
    assert len(found) >= 9
    for name, container in found:
        for kind in ("requests", "limits"):
            assert set(container["resources"][kind]) == {"cpu", "memory"}, name


def test_static_pods_state_requests_and_limits() -> None:
    patches = sorted((layout.HERE / "config/patches").glob("*+strategic.yaml"))
    names = {patch.name.partition("+")[0] for patch in patches}
    assert names == {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
    for patch in patches:
        (container,) = yaml.safe_load(patch.read_text())["spec"]["containers"]
        assert container["name"] == patch.name.partition("+")[0]
        for kind in ("requests", "limits"):
            assert set(container["resources"][kind]) == {"cpu", "memory"}, patch.name


def test_neither_identity_reads_secrets_or_grants_anything() -> None:
    rules = [
        rule
        for each in objects_of_layers(VALUES[0])
        if each["kind"] in {"ClusterRole", "Role"} and each["metadata"]["name"] != "finbot-api"
        for rule in each["rules"]
    ]
    assert rules
    for rule in rules:
        assert "*" not in (*rule["resources"], *rule["verbs"], *rule["apiGroups"]), rule
        assert not {"secrets", "serviceaccounts/token"} & set(rule["resources"]), rule
        assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"]), rule


def test_the_scanner_only_reads() -> None:
    rules = [
        rule
        for each in objects_of_layers(VALUES[0])
        if each["kind"] in {"ClusterRole", "Role"} and each["metadata"]["name"] == "finbot-verify:scanner"
        for rule in each["rules"]
    ]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list"}
    assert not any("/" in resource for rule in rules for resource in rule["resources"])


def test_kubeadm_settings_name_the_whole_cluster() -> None:
    text = render(
        "config/kubeadm.yaml",
        **{k: v for k, v in SETTINGS.items() if k != "endpoint"},
        name="cp1",
        address="10.231.0.11",
        addresses="10.231.0.11, 10.231.0.12",
        cluster=layout.NAME,
        endpoint="10.231.0.1:6443",
        etcd_cluster="cp1=https://10.231.0.11:2380,cp2=https://10.231.0.12:2380",
        etcd_version="3.6.16",
        kubernetes_version=layout.KUBERNETES_VERSION,
        repository=layout.IMAGE_REPOSITORY,
    )
    init, whole = yaml.safe_load_all(text)
    assert init["localAPIEndpoint"] == {"advertiseAddress": "10.231.0.11", "bindPort": 6443}
    flags = {flag["name"] for flag in whole["apiServer"]["extraArgs"]}
    assert flags >= {"audit-policy-file", "encryption-provider-config", "kubelet-certificate-authority"}
    assert whole["networking"]["podSubnet"] == layout.POD_NETWORK


def test_kubelets_answer_nobody_anonymously() -> None:
    settings = yaml.safe_load(
        render(
            "config/kubelet.yaml",
            address="10.231.0.21",
            cluster_dns=layout.CLUSTER_DNS,
            cluster_domain=layout.CLUSTER_DOMAIN,
            cgroup="finbot-lab/w1",
            static_pods="",
        )
    )
    assert settings["authentication"]["anonymous"] == {"enabled": False}
    assert settings["authorization"] == {"mode": "Webhook"}
    assert settings["readOnlyPort"] == 0


def test_nodes_have_addresses_of_their_own_on_the_bridge() -> None:
    on_bridge = ipaddress.ip_network(layout.NODE_NETWORK)
    addresses = [node.address for node in layout.NODES]
    assert len({*addresses, layout.BRIDGE_ADDRESS}) == len(layout.NODES) + 1
    assert all(ipaddress.ip_address(address) in on_bridge for address in addresses)
    assert [node.role for node in layout.NODES].count("control-plane") == len(layout.CONTROL_PLANE) == 3
    # The kernel allows 15 characters for the name of a link.
    assert all(len(node.link) <= 15 for node in layout.NODES)


def test_networks_do_not_overlap() -> None:
    networks = [
        ipaddress.IPv4Network(cidr) for cidr in (layout.NODE_NETWORK, layout.POD_NETWORK, layout.SERVICE_NETWORK)
    ]
    assert not any(a.overlaps(b) for a in networks for b in networks if a is not b)
    assert ipaddress.IPv4Address(layout.CLUSTER_DNS) in networks[2]


def test_addresses_of_this_machine_are_read() -> None:
    assert ipaddress.IPv4Network("127.0.0.0/8") in {each.network for each in network.addresses()}


def test_images_reach_the_layers_as_values(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(layers, "IMAGE_VALUES", tmp_path / "images.env")
    layers.write_image_values({"kube-state-metrics": "lab.local/kube-state-metrics:v2"})
    assert values(tmp_path / "images.env")["KUBE_STATE_METRICS_IMAGE"] == "lab.local/kube-state-metrics:v2"


def test_a_setting_without_value_is_not_written() -> None:
    with pytest.raises(KeyError, match="address"):
        render("config/sshd_config")


def test_private_files_are_never_readable_by_others(tmp_path: Path) -> None:
    write(tmp_path / "deep/key", "secret", 0o600)
    assert (tmp_path / "deep/key").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in (tmp_path / "deep").iterdir()] == ["key"]


RUNS: list[tuple[list[str], str]] = [
    ([], "--values"),
    (["--values", "/nonexistent.env"], "/nonexistent.env cannot be read"),
    (["--values"], "wants a value"),
    (["--nonsense"], "unknown argument --nonsense"),
    (["--values", str(VALUES[1])], "name the context"),
    (["--values", str(VALUES[1]), "--context", "nowhere"], "no context nowhere"),
]


@pytest.mark.parametrize(("arguments", "says"), RUNS, ids=[says for _, says in RUNS])
def test_the_runner_refuses_with_a_sentence(arguments: list[str], says: str, tmp_path: Path) -> None:
    # A kubectl that knows no context: the runner asks it before it changes anything.
    (tmp_path / "kubectl").symlink_to("/bin/false")
    done = subprocess.run(
        [BOOTSTRAP / "run.sh", *arguments],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert says in done.stderr


def test_the_runner_explains_itself() -> None:
    done = subprocess.run([BOOTSTRAP / "run.sh", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--only" in done.stdout


def test_scripts_are_clean() -> None:
    scripts = [*BOOTSTRAP.glob("*.sh"), *BOOTSTRAP.glob("layers/*/*.sh"), *layout.HERE.glob("*.sh")]
    assert len(scripts) >= 8
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, "-x", *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
