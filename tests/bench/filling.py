"""What the simulated cluster is filled with: objects as large as real ones, through the API like any other client's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml

from fixtures.kubernetes import Api
from fixtures.waiting import NotYet, WaitTimeout, wait_until
from tests.bench.measured import BenchError
from tests.bench.simulated import Simulated

SCANNER = Path(__file__).parents[2] / "bootstrap/layers/30-rbac/scanner.yaml"
RBAC = "rbac.authorization.k8s.io"
THREADS = 16
RUNNING_TIMEOUT_S = 300.0

Object = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How much there is of everything."""

    nodes: int
    namespaces: int
    pods: int

    def part(self, divisor: int) -> Size:
        """A fraction of all three."""
        return Size(self.nodes // divisor, self.namespaces // divisor, self.pods // divisor)

    def __str__(self) -> str:
        return f"{self.nodes} nodes, {self.namespaces} namespaces, {self.pods:,} pods"


def create(api: Api, item: Object) -> None:
    """Create an object, or leave it where it is there already. Raises `BenchError` where the API refuses it."""
    answer = api.request("POST", path_of(item), item)
    if not answer.ok and answer.status != HTTPStatus.CONFLICT:
        name = item["metadata"]["name"]
        raise BenchError(f"the API refused {item['kind']} {name}: HTTP {answer.status} {answer.message}")


def path_of(item: Mapping[str, Any]) -> str:
    """Where objects of that kind and namespace are created."""
    version, namespace = item["apiVersion"], item["metadata"].get("namespace")
    base = "/api/v1" if version == "v1" else f"/apis/{version}"
    return f"{base}{f'/namespaces/{namespace}' if namespace else ''}/{item['kind'].lower()}s"


def identities(api: Api) -> None:
    """The scanner with the rights that the bootstrap gives it."""
    create(api, _object("v1", "Namespace", "verify-system"))
    for item in yaml.safe_load_all(SCANNER.read_text()):
        create(api, item)


def fill(server: Simulated, size: Size, address: Callable[[int], str]) -> None:
    """Add what is missing to that size, and wait until every pod is Running.

    ``address`` gives the InternalIP of the n-th node. Raises `BenchError` where that does not come about.
    """
    api = server.api
    with ThreadPoolExecutor(THREADS) as pool:
        for items in (
            (_node(number, address(number)) for number in range(size.nodes)),
            (_object("v1", "Namespace", _namespace(number)) for number in range(size.namespaces)),
            (item for number in range(size.namespaces) for item in _fences(_namespace(number))),
            (_pod(number, size) for number in range(size.pods)),
        ):
            for _ in pool.map(lambda item: create(api, item), items):
                pass
    try:
        wait_until(lambda: _simulated(server, size), RUNNING_TIMEOUT_S, f"{size} to be simulated", interval_s=1.0)
    except WaitTimeout as error:
        raise BenchError(str(error)) from error


def _simulated(server: Simulated, size: Size) -> bool:
    server.kwok.check()
    api = server.api
    pods, nodes = count(api, "pods"), count(api, "nodes")
    waiting = api.get_json("/api/v1/pods", "pods", params={"fieldSelector": "status.phase!=Running", "limit": "1"})
    if waiting["items"] or (pods, nodes) != (size.pods, size.nodes):
        raise NotYet(f"{nodes} nodes, {pods} pods, {'some' if waiting['items'] else 'none'} of them not Running")
    return True


def count(api: Api, resource: str) -> int:
    """How many objects of a core resource there are."""
    listed = api.get_json(f"/api/v1/{resource}", resource, params={"limit": "1"})
    return len(listed["items"]) + int(listed["metadata"].get("remainingItemCount", 0))


# --- objects


def _object(version: str, kind: str, name: str, namespace: str = "", **content: object) -> Object:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def _namespace(number: int) -> str:
    return f"tenant-{number:03}"


def _fences(namespace: str) -> Iterator[Object]:
    """What the bootstrap puts into a namespace, and an application's own role."""
    hard = {"requests.cpu": "20", "requests.memory": "40Gi", "limits.cpu": "40", "limits.memory": "80Gi", "pods": "200"}
    yield _object("v1", "ResourceQuota", "namespace", namespace, spec={"hard": hard})
    container = {
        "type": "Container",
        "defaultRequest": {"cpu": "100m", "memory": "128Mi"},
        "default": {"cpu": "500m", "memory": "512Mi"},
    }
    yield _object("v1", "LimitRange", "containers", namespace, spec={"limits": [container]})
    for account in ("default", "finbot-api"):
        yield _object("v1", "ServiceAccount", account, namespace, automountServiceAccountToken=account != "default")
    rules = [{"apiGroups": [""], "resources": ["configmaps", "services"], "verbs": ["get", "list", "watch"]}]
    yield _object(f"{RBAC}/v1", "Role", "finbot-api", namespace, rules=rules)
    yield _object(
        f"{RBAC}/v1",
        "RoleBinding",
        "finbot-api",
        namespace,
        roleRef={"apiGroup": RBAC, "kind": "Role", "name": "finbot-api"},
        subjects=[{"kind": "ServiceAccount", "name": "finbot-api", "namespace": namespace}],
    )


def _node(number: int, address: str) -> Object:
    """A node as kubelets of cloud machines report themselves; three are of the control plane."""
    name = f"node-{number:03}"
    resources = {"cpu": "16", "memory": "65842560Ki", "pods": "110", "ephemeral-storage": "104845292Ki"}
    images = [
        {
            "names": [
                f"registry.example.com/finbot/part-{image}@sha256:{image:064x}",
                f"registry.example.com/finbot/part-{image}:2026.11.{image}",
            ],
            "sizeBytes": 150_000_000 + image,
        }
        for image in range(40)
    ]
    node = _object(
        "v1",
        "Node",
        name,
        spec={"podCIDR": f"10.244.{number}.0/24", "podCIDRs": [f"10.244.{number}.0/24"]},
        status={
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "allocatable": resources,
            "capacity": resources,
            "images": images,
            "nodeInfo": {
                "architecture": "amd64",
                "operatingSystem": "linux",
                "osImage": "Debian GNU/Linux 12 (bookworm)",
                "kernelVersion": "6.1.0-28-amd64",
                "containerRuntimeVersion": "containerd://2.4.2",
                "kubeletVersion": "v1.36.3",
                "kubeProxyVersion": "",
                "machineID": f"{number:032x}",
                "systemUUID": f"{number:032x}",
                "bootID": f"{number:032x}",
            },
        },
    )
    node["metadata"]["labels"] = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "kubernetes.io/hostname": name,
        "node.kubernetes.io/instance-type": "m7i.4xlarge",
        "topology.kubernetes.io/region": "eu-west-1",
        "topology.kubernetes.io/zone": f"eu-west-1{'abc'[number % 3]}",
        **({"node-role.kubernetes.io/control-plane": ""} if number < 3 else {}),
    }
    return node


def _pod(number: int, size: Size) -> Object:
    """A pod of a Deployment with a sidecar, as its controllers and the scheduler would have left it.

    It gets its token volume from admission, its status from KWOK, and its managedFields from both. Its namespace and
    its node are the same at every size of the same proportions.
    """
    revision = f"{number % 9973:010x}"
    pod = _object(
        "v1",
        "Pod",
        f"finbot-api-{revision[-9:]}-{number:05}",
        _namespace(number * size.namespaces // size.pods),
        spec={
            "nodeName": f"node-{number * size.nodes // size.pods:03}",
            "serviceAccountName": "finbot-api",
            "priority": 0,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001},
            "terminationGracePeriodSeconds": 30,
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "topology.kubernetes.io/zone",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "finbot-api"}},
                }
            ],
            "initContainers": [_container("migrate", 9000, 4)],
            "containers": [_container("api", 8080, 20), _container("proxy", 15000, 10)],
            "volumes": [
                {"name": "config", "configMap": {"name": "finbot-api"}},
                {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}},
            ],
        },
    )
    pod["metadata"] |= {
        "labels": {
            "app.kubernetes.io/name": "finbot-api",
            "app.kubernetes.io/part-of": "finbot",
            "app.kubernetes.io/version": "2026.11.3",
            "pod-template-hash": revision[-9:],
        },
        "annotations": {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": "8080",
            "checksum/config": f"{number:064x}",
        },
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": f"finbot-api-{revision[-9:]}",
                "uid": f"00000000-0000-4000-8000-{number:012x}",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    return pod


def _container(name: str, port: int, variables: int) -> Object:
    container: Object = {
        "name": name,
        "image": f"registry.example.com/finbot/{name}@sha256:{port:064x}",
        "args": ["serve", "--listen", f"0.0.0.0:{port}", "--config", "/etc/finbot/config.yaml", "--log-format", "json"],
        "env": [
            {"name": f"FINBOT_SETTING_{index}", "value": f"https://part-{index}.finbot.svc.cluster.local:8443/v1"}
            for index in range(variables)
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/finbot", "readOnly": True},
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 - inside a container that never runs
        ],
    }
    if name != "migrate":
        probe = {"httpGet": {"path": "/healthz", "port": port}, "periodSeconds": 10, "failureThreshold": 3}
        container |= {
            "ports": [{"name": "http", "containerPort": port}],
            "livenessProbe": probe,
            "readinessProbe": probe,
            "startupProbe": probe,
        }
    return container
