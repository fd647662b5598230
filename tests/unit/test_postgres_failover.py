"""The loss of the database's primary: what is asked before, what counts as steady, and as back."""

from __future__ import annotations

from typing import Any, cast

import pytest

from fixtures import postgres_failover
from fixtures.clients import Job
from fixtures.kubernetes import Api
from fixtures.postgres_failover import _Primary, _Row, _Writer
from fixtures.unobservable import Unobservable
from fixtures.waiting import NotYet
from policies.facts.base import Cause
from policies.facts.postgres import Postgres
from targets.model import load_target
from tests.rules.facts import build
from tests.unit.small_server import Asked, serving, status

LAB = load_target("lab")
CLUSTERS = "/apis/postgresql.cnpg.io/v1/namespaces/production/clusters/finbot-db"


def seen(**instances: Any) -> Postgres:
    named = {name.replace("_", "-"): has for name, has in instances.items()}
    found = build("postgres", {"instances": named})
    assert isinstance(found, Postgres)
    return found


# --- before


class Deployment:
    """The API of a deployment with this primary, and controller managers with these flags."""

    def __init__(self, primary: str = "finbot-db-1", flags: tuple[str, ...] = ()) -> None:
        self.primary = primary
        self.flags = flags

    def __call__(self, asked: Asked) -> tuple[int, Any]:
        if asked.path == CLUSTERS:
            spec = {"failoverDelay": 5, "instances": 3}
            return 200, {"spec": spec, "status": {"currentPrimary": self.primary}}
        if asked.path == "/api/v1/namespaces/kube-system/pods":
            if not self.flags:
                return 403, status(403, "no")
            return 200, {"items": [{"spec": {"containers": [{"command": list(self.flags)}]}}]}
        assert asked.path == "/api/v1/namespaces/production/pods"
        pod = {"metadata": {"name": "finbot-db-1", "uid": "u1"}, "spec": {"nodeName": "w2"}}
        return 200, {"items": [pod]}


@pytest.mark.parametrize(
    ("flags", "grace_s"),
    [
        ((), 50.0),
        (("kube-controller-manager", "--leader-elect=true"), 50.0),
        (("kube-controller-manager", "--node-monitor-grace-period=1m30s"), 90.0),
        (("kube-controller-manager", "--node-monitor-grace-period=500ms"), 0.5),
    ],
)
def test_the_primary_and_the_systems_own_timers(flags: tuple[str, ...], grace_s: float) -> None:
    with serving(Deployment(flags=flags)) as server:
        primary = postgres_failover.look_at_primary(Api(server.url), LAB)
    assert (primary.name, primary.uid, primary.node) == ("finbot-db-1", "u1", "w2")
    timers = {timer.name: timer.seconds for timer in primary.timers}
    assert timers == {"failoverDelay": 5, "livenessProbeTimeout": 30, "node-monitor-grace-period": grace_s}


@pytest.mark.parametrize(("name", "part"), [("", "it names no primary"), ("finbot-db-9", "no such pod is there")])
def test_without_a_primary_nothing_is_broken(name: str, part: str) -> None:
    with serving(Deployment(primary=name)) as server, pytest.raises(Unobservable, match=part) as caught:
        postgres_failover.look_at_primary(Api(server.url), LAB)
    assert caught.value.unseen.cause is Cause.UNSAFE


def test_the_rehearsal_says_which_pod_would_be_killed() -> None:
    with serving(Deployment()) as server:
        plan = postgres_failover.plan(Api(server.url), LAB)
    assert plan.fault == "pod-killed"
    assert plan.parameters == {"namespace": "production", "pod": "finbot-db-1", "uid": "u1"}


def test_a_whole_cluster_may_lose_its_primary() -> None:
    postgres_failover._whole(seen())


@pytest.mark.parametrize(
    ("instances", "part"),
    [
        ({"db_3": {"unseen": "unreachable"}}, "db-3 gives no answer"),
        ({"db_3": "gone"}, "2 of 3 instances are there"),
        ({"db_1": {"standbys": {"db-2": ["streaming", "quorum"]}}}, "not streaming from db-1: db-3"),
        (
            {"db_1": {"standbys": {"db-2": ["streaming", "quorum"], "db-3": ["catchup", "quorum"]}}},
            "not streaming from db-1: db-3",
        ),
        ({"db_2": {"in_recovery": False}}, "no instance, or more than one, takes writes"),
        ({"db_1": {"in_recovery": True}}, "no instance, or more than one, takes writes"),
    ],
)
def test_one_that_is_not_whole_may_not(instances: dict[str, Any], part: str) -> None:
    with pytest.raises(Unobservable, match=part) as caught:
        postgres_failover._whole(seen(**instances))
    assert caught.value.unseen.cause is Cause.UNSAFE


# --- the writer


class Written:
    """What a writer has written until now, by its clock."""

    def __init__(self, now: float, rows: list[_Row]) -> None:
        self.now = now
        self._rows = rows

    def lines(self, _kind: type[_Row]) -> list[_Row]:
        return self._rows


def writer(now: float, *acknowledged: float, failed: float = 0.0) -> _Writer:
    rows = [_Row(n, at, at, True) for n, at in enumerate(acknowledged)]
    if failed:
        rows.append(_Row(len(rows), failed, failed, False, "connection refused"))
    return _Writer(cast(Job, Written(now, rows)))


def test_rows_without_a_pause_are_steady() -> None:
    assert writer(10, 6.5, 7.2, 8, 8.9, 9.5).steady()


@pytest.mark.parametrize(
    ("now", "acknowledged"),
    [(10.0, ()), (10.0, (8.0, 9.0, 9.5)), (10.0, (6.0, 7.2, 8.0, 8.5)), (10.0, (6.0, 7.5, 9.0))],
    ids=["none", "just begun", "ended", "a pause"],
)
def test_others_are_not(now: float, acknowledged: tuple[float, ...]) -> None:
    with pytest.raises(NotYet, match="rows acknowledged in the last 3 s"):
        writer(now, *acknowledged).steady()


def test_why_the_last_row_failed_is_told() -> None:
    with pytest.raises(NotYet, match="the last failed: connection refused"):
        writer(10, 1, failed=9).steady()


# --- back as a replica


@pytest.mark.parametrize(
    ("instances", "trouble"),
    [
        ({}, ""),
        ({"db_2": "gone"}, "its pod is not there"),
        ({"db_2": {"unseen": "unreachable"}}, "the answer was: unreachable"),
        ({"db_2": {"receiver": None}}, "its WAL receiver is not there"),
        ({"db_1": {"standbys": {"db-3": ["streaming", "quorum"]}}}, "db-1 has it as no standby"),
        ({"db_1": {"standbys": {"db-2": ["catchup", "quorum"]}}}, "db-1 has it as catchup"),
        ({"db_1": {"in_recovery": True}}, "no instance, or more than one, takes writes"),
    ],
)
def test_an_instance_streams_by_its_own_word_and_the_primarys(instances: dict[str, Any], trouble: str) -> None:
    assert postgres_failover._not_streaming(seen(**instances), "db-2") == trouble


def test_one_that_is_the_primary_again_has_nothing_to_stream() -> None:
    assert postgres_failover._not_streaming(seen(), "db-1") == ""


def test_the_longest_pause_after_the_fault_is_marked() -> None:
    before, after = postgres_failover._gap([0.0, 5.0, 6.0, 6.1, 9.1, 9.2], 6.05)
    assert (before.at, after.at) == (6.1, 9.1)
    assert "3.00 s later" in after.what
    assert postgres_failover._gap([1.0, 2.0], 3.0) == []


def test_what_is_killed_is_named_by_its_uid() -> None:
    primary = _Primary("finbot-db-2", "u2", "w1", ())
    kill = postgres_failover.PARAMETERS["pod-killed"](Api("http://127.0.0.1:1"), LAB, primary)
    assert kill == {"namespace": "production", "pod": "finbot-db-2", "uid": "u2"}
