"""What there is of the lab right now, for people and for programs."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bootstrap.lab import api, cluster, endpoint, node
from bootstrap.lab.cgroups import LAB, node_group
from bootstrap.lab.layout import CONTROL_PLANE, ENDPOINT, KUBECONFIG, NODES, Node
from bootstrap.lab.waiting import pause

CPU_WINDOW_S = 2.0
"""How long processor use is watched."""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class NodeStatus:
    """One node. Ages in seconds, memory in bytes; `ready` is the API's word, None where it could not be asked."""

    name: str
    role: str
    address: str
    running: bool
    ready: bool | None
    services: dict[str, float]
    """Name to age of the node's services that run."""
    missing: tuple[str, ...]
    """Services that should run and do not."""
    containers: int
    memory: int


@dataclass(frozen=True)
class Component:
    """A part of the control plane: on how many of how many places it works."""

    name: str
    ready: int
    wanted: int


@dataclass(frozen=True)
class Status:
    """The whole lab. `cpu_percent` is of one core, over CPU_WINDOW_S."""

    presence: str
    healthy: bool
    endpoint: str
    kubeconfig: str
    nodes: tuple[NodeStatus, ...]
    components: tuple[Component, ...]
    memory: int
    cpu_percent: float
    problems: tuple[str, ...]


def age_s(pid: int) -> float:
    """Seconds since the process was started."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:
        return 0.0
    return uptime - int(fields[19]) / TICKS_PER_S


def look() -> Status:
    """Look at everything. Takes CPU_WINDOW_S and a little."""
    there = cluster.presence()
    before, began = LAB.cpu_seconds(), time.monotonic()
    problems: list[str] = []
    ready = _ready(problems) if there == "made" else {}
    nodes = tuple(_node(each, ready.get(each.name)) for each in NODES)
    components = _components(problems) if there == "made" else ()
    pause(max(0.0, CPU_WINDOW_S - (time.monotonic() - began)))
    spent = LAB.cpu_seconds() - before
    healthy = (
        there == "made"
        and not problems
        and all(n.running and n.ready and not n.missing for n in nodes)
        and all(c.ready == c.wanted for c in components)
    )
    return Status(
        presence=there,
        healthy=healthy,
        endpoint=ENDPOINT,
        kubeconfig=str(KUBECONFIG),
        nodes=nodes,
        components=components,
        memory=LAB.memory_bytes(),
        cpu_percent=round(100 * spent / (time.monotonic() - began), 1),
        problems=tuple(problems),
    )


def as_document(status: Status) -> dict[str, Any]:
    """The status as plain data, for JSON."""
    return asdict(status)


def _ready(problems: list[str]) -> dict[str, bool]:
    try:
        late = api.nodes_not_ready({each.name for each in NODES})
    except api.UnansweredError as error:
        problems.append(str(error))
        return {}
    names = {text.split(" ", 1)[0] for text in late}
    return {each.name: each.name not in names for each in NODES}


def _node(each: Node, ready: bool | None) -> NodeStatus:
    services = node.services(each)
    return NodeStatus(
        name=each.name,
        role=each.role,
        address=each.address,
        running=node.process_1(each) is not None,
        ready=ready,
        services={name: round(age_s(pid), 1) for name, pid in services.items()},
        missing=tuple(name for name in node.wanted_services(each) if name not in services),
        containers=node.containers(each),
        memory=node_group(each.name).memory_bytes(),
    )


def _components(problems: list[str]) -> tuple[Component, ...]:
    found = [Component(name, int(name in endpoint.running()), 1) for name in endpoint.SERVICES]
    answering = sum(1 for each in CONTROL_PLANE if api.is_ready(each.address)[0])
    found.append(Component("API servers answering", answering, len(CONTROL_PLANE)))
    try:
        pods = api.get("/api/v1/namespaces/kube-system/pods?labelSelector=tier%3Dcontrol-plane")["items"]
        for name in ("etcd", "kube-controller-manager", "kube-scheduler"):
            ready = sum(
                1
                for pod in pods
                if pod["metadata"]["labels"].get("component") == name
                and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
            )
            found.append(Component(name, ready, len(CONTROL_PLANE)))
        for item in (*api.get("/apis/apps/v1/daemonsets")["items"], *api.get("/apis/apps/v1/deployments")["items"]):
            wanted = item["status"].get("desiredNumberScheduled", item["spec"].get("replicas", 0))
            ready = item["status"].get("numberReady", item["status"].get("readyReplicas", 0))
            found.append(Component(f"{item['metadata']['namespace']}/{item['metadata']['name']}", ready, wanted))
    except api.UnansweredError as error:
        problems.append(str(error))
    return tuple(found)
