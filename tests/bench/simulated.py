"""Nodes and pods that KWOK simulates on the lab's own API servers, beside the lab's own six.

What would take part in nodes that do not exist is kept from it first: DaemonSets stay on the real nodes, and those that
follow every pod within a memory limit meant for forty are set aside. Deleting a namespace costs the controller manager
some eighty requests, so 500 are not deleted: the lab is taken down and brought up again, which takes a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootstrap.lab import cluster
from bootstrap.lab.build import build
from bootstrap.lab.layout import KUBECONFIG, NAME
from bootstrap.lab.progress import Progress
from fixtures.kubernetes import Api, KubeconfigError
from fixtures.unobservable import Unobservable
from fixtures.waiting import NotYet, WaitTimeout, wait_until
from tests.bench.measured import BenchError
from tests.program import Program, started

STAGES = Path(__file__).with_name("stages.yaml")
LABEL = "type"
SIMULATED = "kwok"
ASIDE_TIMEOUT_S = 120.0

NOT_SIMULATED = {"matchExpressions": [{"key": LABEL, "operator": "NotIn", "values": [SIMULATED]}]}
AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [NOT_SIMULATED]}}}
ON_REAL_NODES: dict[str, Any] = {
    "spec": {
        "updateStrategy": {"$retainKeys": ["type"], "type": "OnDelete"},
        "template": {"spec": {"affinity": AFFINITY}},
    }
}
NOWHERE: dict[str, Any] = {"spec": {"template": {"spec": {"nodeSelector": {LABEL: "set-aside"}}}}}
ASIDE: dict[str, dict[str, Any]] = {
    "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy": ON_REAL_NODES,
    "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-flannel": ON_REAL_NODES,
    "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-router": NOWHERE,
    "/apis/apps/v1/namespaces/kube-system/deployments/kube-state-metrics": {"spec": {"replicas": 0}},
}


@dataclass(frozen=True)
class Simulated:
    """The lab with KWOK beside it."""

    api: Api
    """As its administrator."""
    kwok: Program
    own_nodes: int
    own_pods: int
    """What the lab itself holds, simulated ones not counted."""


@contextmanager
def simulated(folder: Path, say: Callable[[str], None]) -> Iterator[Simulated]:
    """The running lab made ready for simulated nodes, and KWOK's controller; a fresh lab stands there afterwards.

    Raises `BenchError` where there is no lab, or it does not get ready.
    """
    if not KUBECONFIG.exists():
        raise BenchError("there is no lab on this machine; `verify lab up` makes one")
    program = build(["kwok"], say).binary("kwok")
    try:
        api = Api.from_kubeconfig(KUBECONFIG, NAME)
        own_nodes = count(api, "nodes")
    except (KubeconfigError, Unobservable) as error:
        raise BenchError(f"the lab does not answer: {error}") from error
    try:
        own_pods = _set_aside(api)
        with started(
            program,
            f"--kubeconfig={KUBECONFIG}",
            f"--config={STAGES}",
            "--manage-all-nodes=false",
            f"--manage-nodes-with-label-selector={LABEL}={SIMULATED}",
            "--node-ip=127.0.0.1",
            "--node-lease-duration-seconds=40",
            "--v=WARN",
            log=folder / "kwok.log",
        ) as kwok:
            yield Simulated(api, kwok, own_nodes, own_pods)
    finally:
        say("the lab is full of what was simulated: taking it down and up")
        cluster.down(Progress())
        cluster.up(Progress())


def count(api: Api, resource: str) -> int:
    """How many objects of a core resource there are."""
    listed = api.get_json(f"/api/v1/{resource}", resource, params={"limit": "1"})
    return len(listed["items"]) + int(listed["metadata"].get("remainingItemCount", 0))


def _set_aside(api: Api) -> int:
    """Patch what must not take part; returns how many pods are left once all that were set aside are gone."""
    for path, patch in ASIDE.items():
        answer = api.request("PATCH", path, patch, content_type="application/strategic-merge-patch+json")
        if not answer.ok:
            raise BenchError(
                f"the lab refused to set {path.rpartition('/')[2]} aside: HTTP {answer.status} {answer.message}"
            )

    def gone() -> int:
        for path, patch in ASIDE.items():
            status = api.get_json(path, path)["status"]
            there = status.get("currentNumberScheduled", status.get("replicas", 0))
            if patch is not ON_REAL_NODES and there:
                raise NotYet(f"{there} pods of {path.rpartition('/')[2]} are still there")
        ending = [
            pod["metadata"]["name"]
            for pod in api.get_json("/api/v1/pods", "pods")["items"]
            if "deletionTimestamp" in pod["metadata"]
        ]
        if ending:
            raise NotYet(f"{', '.join(ending)} still ending")
        return count(api, "pods")

    try:
        return wait_until(gone, ASIDE_TIMEOUT_S, "what follows every pod to be set aside", interval_s=1.0)
    except WaitTimeout as error:
        raise BenchError(str(error)) from error
