"""The faults' own commands, run for real in a network namespace of their own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import pytest

from fixtures import faults
from fixtures.faults import CONTROL_PLANE_NODE_CUT, FAULTS, KEPT_DOWN, NODE_CUT, POD_KEPT_DOWN, POD_KILLED, Fault
from fixtures.kubernetes import Api
from fixtures.unobservable import Unobservable
from policies.facts.base import Cause, Listing
from policies.facts.kubernetes import Condition, Meta, Node, NodeStatus, Pod, PodSpec, PodStatus, Snapshot
from targets.model import load_target
from tests.unit.small_server import Asked, serving, status

LAB: Final = load_target("lab")

LISTED = "iptables -t mangle -S | grep VERIFY-CUT || true"


def settings(max_seconds: str) -> str:
    values = {"uplink": "up0", "port": "22", "max_seconds": max_seconds, "undo": faults._UNDO}
    return "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())


def inject(max_seconds: str = "60") -> str:
    """What the fault runs on a node, in a shell of its own as over SSH."""
    script = "\n".join((faults._DISARM, faults._UNDO, settings(max_seconds), faults._INJECT))
    return f"sh -c {shlex.quote(script)}\n"


UNDO = f"sh -c {shlex.quote(faults._DISARM + faults._UNDO)}\n"


def in_namespace(script: str) -> str:
    """What a script prints in a fresh network namespace with an interface up0 and an empty /run."""
    lines = (
        "set -e",
        "mount -t tmpfs tmpfs /run",
        "ip link set lo up",
        "ip link add up0 type veth peer name peer0",
        script,
    )
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c"]
    done = subprocess.run([*command, "\n".join(lines)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


needs_root = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("iptables", path="/usr/sbin:/sbin:/usr/bin") is None,
    reason="needs root and iptables for a network namespace",
)

CUT = """-N VERIFY-CUT
-A PREROUTING -i up0 -j VERIFY-CUT
-A POSTROUTING -o up0 -j VERIFY-CUT
-A VERIFY-CUT -p tcp -m tcp --dport 22 -j RETURN
-A VERIFY-CUT -p tcp -m tcp --sport 22 -j RETURN
-A VERIFY-CUT -j DROP
"""


@needs_root
def test_the_cut_is_the_same_injected_twice() -> None:
    assert in_namespace(inject() + LISTED) == CUT
    assert in_namespace(inject() + inject() + LISTED) == CUT


@needs_root
def test_the_undo_leaves_nothing_and_may_be_repeated() -> None:
    left = f"{LISTED}\nls /run\npgrep -f 'VERIFY-CUT [0-9]' || true"
    assert in_namespace(inject() + UNDO + left) == ""
    assert in_namespace(inject() + UNDO + UNDO + left) == ""
    assert in_namespace(UNDO + left) == "", "where it was never injected"


@needs_root
def test_rules_of_others_stay() -> None:
    other = "iptables -t mangle -A PREROUTING -i up0 -j ACCEPT\n"
    shown = in_namespace(other + inject() + UNDO + "iptables -t mangle -S PREROUTING")
    assert shown == "-P PREROUTING ACCEPT\n-A PREROUTING -i up0 -j ACCEPT\n"


@needs_root
def test_the_node_mends_itself_when_nobody_does() -> None:
    wait = "for i in $(seq 50); do iptables -t mangle -S VERIFY-CUT >/dev/null 2>&1 || break; sleep 0.1; done\n"
    assert in_namespace(inject("1") + wait + LISTED + "\nsleep 0.2; ls /run") == ""


@needs_root
def test_dropped_packets_are_counted() -> None:
    send = "ip addr add 192.0.2.1/24 dev up0; ip link set up0 up; ip link set peer0 up\n"
    send += "ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:01 dev up0\n"
    send += "bash -c 'for n in 1 2; do echo $n > /dev/udp/192.0.2.2/9; done' 2>/dev/null || true\n"
    assert in_namespace(faults._DROPPED) == ""
    assert int(in_namespace(inject() + send + faults._DROPPED)) >= 2


def test_faults_are_found_by_their_own_names() -> None:
    assert all(name == fault.name for name, fault in FAULTS.items())


@pytest.mark.parametrize("fault", [CONTROL_PLANE_NODE_CUT, NODE_CUT], ids=lambda fault: fault.name)
def test_without_a_way_to_the_node_nothing_is_injected(fault: Fault) -> None:
    target = LAB.model_copy(update={"ssh": None})
    parameters = {"node": "cp1", "address": "192.0.2.1", "uplink": "eth0", "max_seconds": "60"}
    for step in (fault.inject, fault.undo, fault.proof):
        with pytest.raises(Unobservable) as caught:
            step(target, Api("http://127.0.0.1:1"), parameters)
        assert caught.value.unseen.cause is Cause.ABSENT
    assert "cp1" in fault.touches.format(**parameters)


# --- a pod that is killed


class Keeper:
    """The pods of a namespace, and whoever makes another one for each that is killed."""

    def __init__(self, *pods: tuple[str, str, bool]) -> None:
        """Name, UID, and whether it is ready."""
        self.pods = {name: (uid, ready) for name, uid, ready in pods}
        self.killed: list[str] = []

    def __call__(self, asked: Asked) -> tuple[int, Any]:
        if asked.path == "/apis/apps/v1/namespaces/production/deployments/pooler":
            return 200, {"spec": {"replicas": 2}}
        name = asked.path.removeprefix("/api/v1/namespaces/production/pods").strip("/")
        if not name:
            return 200, {"items": [self._pod(each) for each in self.pods]}
        if name not in self.pods:
            return 404, status(404, "not found")
        if asked.method == "DELETE":
            assert asked.body["gracePeriodSeconds"] == 0
            if asked.body["preconditions"]["uid"] != self.pods[name][0]:
                return 409, status(409, "the UID in the precondition does not match")
            del self.pods[name]
            self.killed.append(name)
            return 200, {}
        return 200, self._pod(name)

    def _pod(self, name: str) -> dict[str, Any]:
        uid, ready = self.pods[name]
        conditions = [{"type": "Ready", "status": str(ready)}]
        phase = "Running" if ready else "Pending"
        return {"metadata": {"name": name, "uid": uid}, "status": {"phase": phase, "conditions": conditions}}


KILL = {"namespace": "production", "pod": "finbot-db-1", "uid": "u1"}


def test_a_pod_is_killed_once_and_is_not_mended_until_its_successor_runs() -> None:
    keeper = Keeper(("finbot-db-1", "u1", True))
    with serving(keeper) as server:
        api = Api(server.url)
        assert POD_KILLED.proof(LAB, api, KILL) == ""
        assert POD_KILLED.unmended(LAB, api, KILL) == "", "where it was never injected"
        POD_KILLED.inject(LAB, api, KILL)
        POD_KILLED.inject(LAB, api, KILL)
        assert POD_KILLED.proof(LAB, api, KILL) == "pod production/finbot-db-1 (UID u1) is gone"
        assert POD_KILLED.unmended(LAB, api, KILL) == "pod production/finbot-db-1 is not back"
        keeper.pods["finbot-db-1"] = ("u2", False)
        POD_KILLED.inject(LAB, api, KILL)
        assert keeper.killed == ["finbot-db-1"], "the successor is left alone"
        assert "u1" in POD_KILLED.proof(LAB, api, KILL)
        assert POD_KILLED.unmended(LAB, api, KILL) == "pod production/finbot-db-1 is Pending"
        keeper.pods["finbot-db-1"] = ("u2", True)
        POD_KILLED.undo(LAB, api, KILL)
        assert POD_KILLED.unmended(LAB, api, KILL) == ""


def test_a_deployments_pod_is_mended_when_as_many_are_ready_again() -> None:
    keeper = Keeper(("pooler-5d-a", "u1", True), ("pooler-5d-b", "u2", True), ("other-5d-c", "u3", True))
    kill = {"namespace": "production", "pod": "pooler-5d-a", "uid": "u1"}
    with serving(keeper) as server:
        api = Api(server.url)
        POD_KILLED.inject(LAB, api, kill)
        assert POD_KILLED.unmended(LAB, api, kill) == "1 of 2 pods pooler-5d-* are ready"
        keeper.pods["pooler-5d-x"] = ("u4", True)
        assert POD_KILLED.unmended(LAB, api, kill) == ""


def test_a_kill_that_is_refused_or_hidden_is_no_silence() -> None:
    with serving(lambda _: (403, status(403, "no"))) as server:
        for step in (POD_KILLED.inject, POD_KILLED.proof, POD_KILLED.unmended):
            with pytest.raises(Unobservable) as caught:
                step(LAB, Api(server.url), KILL)
            assert caught.value.unseen.cause is Cause.FORBIDDEN


class Finalized(Keeper):
    """One pod whose finalizers are heeded: while it has any, it ends and is still there."""

    finalizers: list[str] | None = None
    deleted = False

    def __call__(self, asked: Asked) -> tuple[int, Any]:
        name = asked.path.rpartition("/")[2]
        if name not in self.pods or asked.method == "GET":
            return super().__call__(asked)
        if asked.method == "PATCH":
            if asked.body["metadata"]["uid"] != self.pods[name][0]:
                return 409, status(409, "the UID in the precondition does not match")
            self.finalizers = asked.body["metadata"]["finalizers"]
            if self.deleted and not self.finalizers:
                del self.pods[name]
            return 200, {}
        if self.finalizers:
            self.deleted = True
            self.pods[name] = (self.pods[name][0], False)
            return 200, {}
        return super().__call__(asked)

    def _pod(self, name: str) -> dict[str, Any]:
        pod = super()._pod(name)
        if self.pods[name][0] == "u1":
            pod["metadata"] |= {"finalizers": self.finalizers}
            pod["metadata"] |= {"deletionTimestamp": "2026-11-24T12:00:00Z"} if self.deleted else {}
        return pod


def test_a_pod_is_kept_down_until_that_is_taken_back() -> None:
    keeper = Finalized(("finbot-db-1", "u1", True))
    keeper.finalizers = ["example.com/theirs"]
    with serving(keeper) as server:
        api = Api(server.url)
        assert POD_KEPT_DOWN.proof(LAB, api, KILL) == ""
        POD_KEPT_DOWN.undo(LAB, api, KILL)
        assert keeper.finalizers == ["example.com/theirs"], "where it was never injected"
        keeper.finalizers.clear()
        POD_KEPT_DOWN.inject(LAB, api, KILL)
        POD_KEPT_DOWN.inject(LAB, api, KILL)
        assert keeper.finalizers == [KEPT_DOWN]
        assert POD_KEPT_DOWN.proof(LAB, api, KILL).endswith("(UID u1) has ended and is not ready")
        assert POD_KEPT_DOWN.unmended(LAB, api, KILL) == "pod production/finbot-db-1 is ending"
        POD_KEPT_DOWN.undo(LAB, api, KILL)
        POD_KEPT_DOWN.undo(LAB, api, KILL)
        assert POD_KEPT_DOWN.unmended(LAB, api, KILL) == "pod production/finbot-db-1 is not back"
        keeper.pods["finbot-db-1"] = ("u2", True)
        POD_KEPT_DOWN.inject(LAB, api, KILL)
        assert keeper.pods == {"finbot-db-1": ("u2", True)}, "the successor is left alone"
        assert POD_KEPT_DOWN.proof(LAB, api, KILL) == ""
        assert POD_KEPT_DOWN.unmended(LAB, api, KILL) == ""
    with serving(lambda _: (403, status(403, "no"))) as server, pytest.raises(Unobservable):
        POD_KEPT_DOWN.inject(LAB, Api(server.url), KILL)


# --- what can be missed


def deployed(*names: str, ill: str = "") -> Snapshot:
    pods = tuple(
        Pod(Meta(n, "production"), PodSpec(f"w{i}"), PodStatus("Running", "", (Condition("Ready", str(n != ill)),)))
        for i, n in enumerate(names)
    )
    listings: list[Listing[Any]] = [Listing("x")] * 11
    whole = Snapshot(datetime.now(UTC), "https://h", "v1.36.3", 1, *listings)
    nodes = tuple(Node(Meta(f"w{i}"), status=NodeStatus((Condition("Ready", "True"),))) for i in range(3))
    return msgspec.structs.replace(whole, pods=Listing("pods", pods), nodes=Listing("nodes", nodes))


THREE = ("finbot-db-1", "finbot-db-2", "finbot-db-3", "finbot-db-pooler-5d-a")


def test_a_whole_database_can_do_without_an_instance_and_its_node() -> None:
    api, snapshot = Api("http://127.0.0.1:1"), deployed(*THREE)
    assert POD_KILLED.redundancy(LAB, api, snapshot, KILL) == "3 pods of postgres ready on w0, w1, w2"
    cut = {"node": "w1", "system": "postgres"}
    assert NODE_CUT.redundancy(LAB, api, snapshot, cut) == "3 pods of postgres ready on w0, w1, w2; every node Ready"


@pytest.mark.parametrize(
    ("snapshot", "pod", "part"),
    [
        (deployed(*THREE[:2]), "finbot-db-1", "2 of 3 pods are ready"),
        (deployed(*THREE, ill="finbot-db-2"), "finbot-db-1", "2 of 3 pods are ready"),
        (deployed(*THREE), "finbot-db-pooler-5d-a", "1 of 2 pods are ready"),
        (deployed("redis-0"), "redis-0", "1 of 6 pods are ready"),
        (deployed("grafana-0"), "grafana-0", "nothing is known of it"),
    ],
)
def test_without_redundancy_nothing_is_killed(snapshot: Snapshot, pod: str, part: str) -> None:
    with pytest.raises(Unobservable, match=part) as caught:
        POD_KILLED.redundancy(LAB, Api("http://127.0.0.1:1"), snapshot, KILL | {"pod": pod})
    assert caught.value.unseen.cause is Cause.UNSAFE
