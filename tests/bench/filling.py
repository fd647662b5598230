"""What the simulated cluster is filled with: objects as large as real ones, through the API like any other client's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fixtures.kubernetes import Answer, Api
from fixtures.waiting import NotYet, WaitTimeout, wait_until
from tests.bench.measured import BenchError
from tests.bench.simulated import LABEL, SIMULATED, Simulated, count

RBAC = "rbac.authorization.k8s.io"
THREADS = 16
CREATE_TIMEOUT_S = 30.0
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
    name = item["metadata"]["name"]

    def created() -> Answer:
        answer = api.request("POST", path_of(item), item)
        # Pods of one namespace are counted against its quota at once, and whoever comes second is to try again.
        if answer.status == HTTPStatus.CONFLICT and "already exists" not in answer.message:
            raise NotYet(answer.message)
        return answer

    try:
        answer = wait_until(created, CREATE_TIMEOUT_S, f"{item['kind']} {name} to be created", interval_s=0.05)
    except WaitTimeout as error:
        raise BenchError(str(error)) from error
    if answer.status == HTTPStatus.CONFLICT:
        if item["kind"] != "ServiceAccount":
            return
        # The controller manager was faster with an account that mounts its token.
        answer = api.request("PATCH", f"{path_of(item)}/{name}", item, content_type="application/merge-patch+json")
    if not answer.ok:
        raise BenchError(f"the API refused {item['kind']} {name}: HTTP {answer.status} {answer.message}")


def path_of(item: Mapping[str, Any]) -> str:
    """Where objects of that kind and namespace are created."""
    version, namespace = item["apiVersion"], item["metadata"].get("namespace")
    base = "/api/v1" if version == "v1" else f"/apis/{version}"
    return f"{base}{f'/namespaces/{namespace}' if namespace else ''}/{item['kind'].lower()}s"


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
    expected = (server.own_pods + size.pods, server.own_nodes + size.nodes)
    if waiting["items"] or (pods, nodes) != expected:
        raise NotYet(f"{nodes} nodes, {pods} pods, {'some' if waiting['items'] else 'none'} of them not Running")
    return True


# --- objects


def _object(version: str, kind: str, name: str, namespace: str = "", **content: object) -> Object:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def _namespace(number: int) -> str:
    return f"tenant-{number:03}"


def _fences(namespace: str) -> Iterator[Object]:
    """What the bootstrap puts into a namespace, and an application's own role."""
    # Far more than its ten pods need: an attempt that comes second counts until the quota controller counts anew.
    hard = {
        "requests.cpu": "200",
        "requests.memory": "400Gi",
        "limits.cpu": "400",
        "limits.memory": "800Gi",
        "pods": "200",
    }
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
    """A node as kubelets of cloud machines report themselves. Its pod network comes from the controller manager."""
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
        spec={"taints": [{"key": "kwok.x-k8s.io/node", "value": SIMULATED, "effect": "NoSchedule"}]},
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
        LABEL: SIMULATED,
    }
    return node


def _pod(number: int, size: Size) -> Object:
    """A pod with a sidecar, as the scheduler would have left it; without an owner, for none is there.

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
