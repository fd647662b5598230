"""The writer against a real server, and what must hold before a control-plane node may be cut off."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from fixtures import control_plane, faults
from fixtures.control_plane import Writer
from fixtures.faults import CONTROL_PLANE_NODE_CUT
from fixtures.kubernetes import Api
from fixtures.unobservable import Unobservable
from fixtures.waiting import NotYet, wait_until
from policies.facts.base import Cause, Listing, Unseen
from policies.facts.faults import Radius
from policies.facts.kubernetes import Condition, Meta, Node, NodeAddress, NodeStatus, Pod, PodSpec, PodStatus, Snapshot
from policies.facts.nodes import EtcdMember, EtcdView, Nodes, NodeView
from targets.model import load_target
from tests.unit.small_server import Asked, serving, status

CONTROL_PLANE = {"node-role.kubernetes.io/control-plane": ""}


# --- the writer


def test_every_write_has_its_number_and_its_times() -> None:
    with serving(lambda _: (201, {})) as server, Writer(Api(server.url), "scratch") as writer:
        wait_until(lambda: len(writer.acknowledged()) >= 20, 10, "twenty writes", interval_s=0.05)
        ended = writer.stop()
    assert [write.number for write in sorted(writer.writes, key=lambda w: w.sent)] == list(range(len(writer.writes)))
    assert all(0 <= write.sent <= write.answered <= ended and write.acknowledged for write in writer.writes)
    names = Counter(asked.body["metadata"]["name"] for asked in server.asked)
    assert names == Counter(f"write-{number}" for number in range(len(writer.writes)))
    assert {asked.path for asked in server.asked} == {"/api/v1/namespaces/scratch/configmaps"}


def test_an_api_that_hangs_never_gets_more_than_the_bounded_number() -> None:
    hold = threading.Event()
    under_way, most = set[int](), 0

    def reply(_: Asked) -> tuple[int, Any]:
        nonlocal most
        under_way.add(threading.get_ident())
        most = max(most, len(under_way))
        hold.wait(10)
        under_way.discard(threading.get_ident())
        return 201, {}

    with serving(reply) as server, Writer(Api(server.url), "scratch") as writer:
        wait_until(lambda: writer.now() > control_plane.WRITE_TIMEOUT_S / 2, 10, "some writes to hang")
        with pytest.raises(NotYet, match="0 writes acknowledged"):
            writer.steady()
        hold.set()
    assert 5 < most <= control_plane.IN_FLIGHT


def test_a_refused_write_is_not_acknowledged_and_says_why() -> None:
    with serving(lambda _: (403, status(403, "no"))) as server, Writer(Api(server.url), "scratch") as writer:
        wait_until(lambda: len(writer.writes) >= 3, 10, "three writes", interval_s=0.05)
        with pytest.raises(NotYet, match="HTTP 403: no"):
            writer.steady()
    assert writer.acknowledged() == []
    assert writer.last_failure.cause is Cause.FORBIDDEN


def test_writes_are_steady_once_they_come_without_a_pause() -> None:
    with serving(lambda _: (201, {})) as server, Writer(Api(server.url), "scratch") as writer:
        with pytest.raises(NotYet):
            writer.steady()
        wait_until(writer.steady, 10, "steady writes", interval_s=0.1)
        assert writer.now() >= control_plane.STEADY_S


def test_the_number_of_writes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_plane, "MOST_WRITES", 3)
    with serving(lambda _: (201, {})) as server, Writer(Api(server.url), "scratch") as writer:
        wait_until(lambda: not writer._clock.is_alive(), 10, "the writer to end by itself")
    assert len(writer.writes) == 3


# --- before


def member(number: int, *, healthy: bool = True, learner: bool = False) -> EtcdMember:
    return EtcdMember(str(number), f"cp{number}", learner, healthy, "" if healthy else "no answer")


def cluster(
    *,
    ready: bool = True,
    members: tuple[EtcdMember, ...] | None = None,
    leader: str = "2",
    unseen: Unseen | None = None,
) -> tuple[Snapshot, Nodes]:
    """Three control-plane nodes, the last of which may be not Ready or unseen, and what etcd says on each."""
    members = members or tuple(member(n) for n in (1, 2, 3))
    names = ("cp1", "cp2", "cp3")
    listed = tuple(
        Node(
            Meta(name, labels=CONTROL_PLANE),
            status=NodeStatus(
                (Condition("Ready", "True" if ready or name != "cp3" else "False"),),
                (NodeAddress("InternalIP", f"10.0.0.{number}"),),
            ),
        )
        for number, name in enumerate(names, 1)
    )
    rest: list[Listing[Any]] = [Listing("x")] * 10
    snapshot = Snapshot(datetime.now(UTC), "https://h", "v1.36.3", 1, Listing("nodes", listed), *rest)
    views = tuple(
        NodeView(name, f"10.0.0.{n}", True, etcd=EtcdView(str(n), leader, members, ()), uplink="eth0")
        for n, name in enumerate(names, 1)
    )
    if unseen is not None:
        views = (*views[:2], NodeView("cp3", "10.0.0.3", True, unseen=unseen))
    return snapshot, Nodes(datetime.now(UTC), views)


def test_the_node_that_leads_etcd_is_cut() -> None:
    assert control_plane._victim(*cluster()).name == "cp2"
    assert control_plane._victim(*cluster(leader="9")).name == "cp1", "where the leader is on none of them"


@pytest.mark.parametrize(
    ("world", "silent", "part"),
    [
        (cluster(ready=False), "", "not Ready: cp3"),
        (cluster(members=(member(1), member(2), member(3, healthy=False))), "", "etcd member cp3: no answer"),
        (cluster(members=(member(1), member(2), member(3, learner=True))), "", "2 voting members"),
        (cluster(unseen=Unseen(Cause.UNREACHABLE, "cp3 over SSH", "refused")), "", "cp3 over SSH: refused"),
        (cluster(), "10.0.0.1", "1 other API servers are ready, 2 are needed; cp1: HTTP 500: not ready"),
    ],
)
def test_without_full_redundancy_nothing_is_cut(
    world: tuple[Snapshot, Nodes], silent: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, nodes = world
    monkeypatch.setattr(faults, "look_at_nodes", lambda *_: nodes)
    monkeypatch.setattr(faults, "_api_server", lambda _, at: "HTTP 500: not ready" if at == silent else "")
    with pytest.raises(Unobservable) as caught:
        CONTROL_PLANE_NODE_CUT.redundancy(load_target("lab"), Api("http://127.0.0.1:1"), snapshot, {"node": "cp2"})
    assert caught.value.unseen.cause is Cause.UNSAFE
    assert part in caught.value.unseen.detail


def test_a_whole_control_plane_can_do_without_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot, nodes = cluster()
    monkeypatch.setattr(faults, "look_at_nodes", lambda *_: nodes)
    monkeypatch.setattr(faults, "_api_server", lambda *_: "")
    seen = CONTROL_PLANE_NODE_CUT.redundancy(load_target("lab"), Api("http://h"), snapshot, {"node": "cp2"})
    assert seen == "3 healthy etcd members, API servers of cp1 and cp3 ready, every node Ready"


def test_the_pods_on_the_node_are_what_the_cut_touches() -> None:
    snapshot, _ = cluster()
    on = {"a": ("cp2", "Running"), "b": ("cp2", "Pending"), "c": ("cp2", "Succeeded"), "d": ("cp1", "Running")}
    pods = tuple(Pod(Meta(name), PodSpec(node), PodStatus(phase)) for name, (node, phase) in on.items())
    snapshot = msgspec.structs.replace(snapshot, pods=Listing("pods", pods))
    parameters = {"node": "cp2", "max_seconds": "90"}
    assert CONTROL_PLANE_NODE_CUT.radius(snapshot, parameters) == Radius(nodes=1, pods=2, seconds=90)
    hidden = Listing[Pod]("pods", unseen=Unseen(Cause.FORBIDDEN, "pods", "HTTP 403"))
    with pytest.raises(Unobservable, match="HTTP 403"):
        CONTROL_PLANE_NODE_CUT.radius(msgspec.structs.replace(snapshot, pods=hidden), parameters)


# --- afterwards


def test_what_was_written_is_read_back_page_by_page() -> None:
    pages = {
        "": {"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "kube-root-ca.crt"}}]},
        "more": {"metadata": {}, "items": [{"metadata": {"name": "write-12"}}, {"metadata": {"name": "write-3"}}]},
    }
    with serving(lambda asked: (200, pages[asked.params.get("continue", "")])) as server:
        assert control_plane._read_back(Api(server.url), "scratch") == (3, 12)


def test_the_two_ends_of_the_longest_pause_after_the_cut() -> None:
    before, after = control_plane._gap([0.0, 5.0, 6.0, 6.1, 9.1, 9.2], injected_at=6.05)
    assert (before.at, after.at) == (6.1, 9.1)
    assert "3.00 s" in after.what
    assert control_plane._gap([1.0, 2.0], injected_at=3.0) == []
