"""What members of a Redis cluster say, read without one: CLUSTER NODES, volumes, a writer's lines."""

from __future__ import annotations

import msgspec
import pytest

from fixtures import redis
from fixtures.in_pod.redis_slots import owners, ranges
from fixtures.waiting import NotYet
from policies.facts.redis import Peer

NODES = """
a1 10.0.0.1:6379@16379,redis-0.redis-members.production.svc myself,master - 0 0 7 connected 0-5460 5470 [5471->-b2]
b2 10.0.0.2:6379@16379 slave,fail a1 0 0 7 disconnected
c3 :0@0 master,noaddr - 0 0 3 disconnected
"""
WORDS = tuple(tuple(line.split()) for line in NODES.strip().splitlines())


def test_a_line_of_cluster_nodes_is_a_peer() -> None:
    names = {"10.0.0.1": "redis-0"}
    assert [redis._peer(words, names) for words in WORDS] == [
        Peer("a1", "redis-0", "master", "", ((0, 5460), (5470, 5470))),
        Peer("b2", "10.0.0.2", "replica", "a1", flags=("fail",)),
        Peer("c3", "", "master", flags=("noaddr",)),
    ]


def test_a_slot_belongs_to_whoever_claims_it_with_the_latest_epoch() -> None:
    old = [["a", "10.0.0.1:6379@1,x", "myself,master", "-", "0", "0", "1", "connected", "0-9"]]
    new = [["b", "10.0.0.2:6379@1", "master", "-", "0", "0", "2", "connected", "5", "[7->-a]"]]
    for views in ({"old": old, "new": new}, {"new": new, "old": old}):
        found = owners(views)
        assert (found[4], found[5], found[7]) == ("10.0.0.1", "10.0.0.2", "10.0.0.1")
    assert owners({"lost": [["c", ":0@0", "master,noaddr", "-", "0", "0", "9", "x", "5"]]}) == {}
    assert list(ranges(["3-4", "[5-<-a]", "9"])) == [(3, 4), (9, 9)]


@pytest.mark.parametrize(
    ("folder", "claim"),
    [("/data", "data-redis-0"), ("/data/sub", "data-redis-0"), ("/database", ""), ("/data/tmp", ""), ("/", "")],
)
def test_a_folder_lies_on_the_volume_that_is_mounted_closest_to_it(folder: str, claim: str) -> None:
    pod = msgspec.convert(
        {
            "metadata": {"name": "redis-0"},
            "spec": {
                "volumes": [
                    {"name": "data", "persistentVolumeClaim": {"claimName": "data-redis-0"}},
                    {"name": "tmp", "emptyDir": {}},
                ],
                "containers": [
                    {
                        "name": "redis",
                        "volumeMounts": [
                            {"name": "data", "mountPath": "/data"},
                            {"name": "tmp", "mountPath": "/data/tmp"},
                        ],
                    }
                ],
            },
        },
        redis._Pod,
    )
    assert pod.volume(folder) == claim


def lines(*acknowledged: float, until: float, shard: str = "redis-0") -> list[redis.Line]:
    """Sessions acknowledged at these times, and one of another shard as the last."""
    found = [redis.Line("write", shard=shard, answered=at, ok=True) for at in acknowledged]
    return [*found, redis.Line("write", shard="redis-1", answered=until, ok=True)]


def test_writes_are_steady_when_they_have_come_long_enough_without_a_pause() -> None:
    halves = [n / 2 for n in range(20)]
    redis._steady(lines(*halves, until=9.6), "redis-0")
    for said, why in (
        (lines(until=9.6), "0 sessions"),
        (lines(9.0, 9.5, until=9.6), "2 sessions acknowledged in the shard of redis-0"),
        (lines(*halves, until=10.6), "in the last 3 s"),
        (lines(*(at for at in halves if not 7 < at < 9), until=9.6), "in the last 3 s"),
    ):
        with pytest.raises(NotYet, match=why):
            redis._steady(said, "redis-0")
