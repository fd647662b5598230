"""The snapshot: what could not be listed says why, and is never an empty list."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.kubernetes import SNAPSHOT_ACCESS, Api, take_snapshot
from fixtures.unobservable import Unobservable
from policies.facts.base import Cause
from tests.unit.small_server import Asked, Reply, serving, status


def listing(*names: str, following: str = "") -> dict[str, Any]:
    items = [{"metadata": {"name": name, "managedFields": [{"a": 1}]}, "data": {"password": "x"}} for name in names]
    return {"kind": "SomethingList", "metadata": {"continue": following, "resourceVersion": "7"}, "items": items}


def cluster(**replies: Reply) -> Reply:
    """A server that answers every list with one object, except those of ``replies`` by resource."""

    def reply(asked: Asked) -> tuple[int, Any]:
        if asked.path == "/version":
            return 200, {"gitVersion": "v1.36.3"}
        resource = asked.path.rpartition("/")[2]
        return replies[resource](asked) if resource in replies else (200, listing("one"))

    return reply


def test_every_list_is_taken_with_one_request() -> None:
    with serving(cluster()) as server:
        snapshot = take_snapshot(Api(server.url))
    lists = [asked for asked in server.asked if asked.path != "/version"]
    assert len(lists) == snapshot.requests == len(SNAPSHOT_ACCESS) == 11
    assert snapshot.version == "v1.36.3"
    assert [node.metadata.name for node in snapshot.nodes.items] == ["one"]
    assert snapshot.daemon_sets.unseen is None


def test_pages_are_followed_and_counted() -> None:
    def pods(asked: Asked) -> tuple[int, Any]:
        pages = {"": ("a", "2"), "2": ("b", "3"), "3": ("c", "")}
        name, token = pages[asked.params.get("continue", "")]
        return 200, listing(name, following=token)

    with serving(cluster(pods=pods)) as server:
        snapshot = take_snapshot(Api(server.url))
    assert [pod.metadata.name for pod in snapshot.pods.items] == ["a", "b", "c"]
    assert snapshot.requests == 13


@pytest.mark.parametrize(
    ("code", "cause"), [(403, Cause.FORBIDDEN), (404, Cause.ABSENT), (500, Cause.UNREACHABLE), (400, Cause.INVALID)]
)
def test_one_list_that_fails_leaves_the_others_standing(code: int, cause: Cause) -> None:
    with serving(cluster(rolebindings=lambda _: (code, status(code, "why")))) as server:
        snapshot = take_snapshot(Api(server.url, identity="scanner"))
    assert snapshot.role_bindings.items == ()
    assert snapshot.role_bindings.unseen is not None
    assert snapshot.role_bindings.unseen.cause is cause
    assert snapshot.role_bindings.unseen.what == "rolebindings"
    assert snapshot.pods.unseen is None


def test_a_refused_list_says_what_to_grant() -> None:
    with serving(cluster(pods=lambda _: (403, status(403, "no")))) as server:
        refused = take_snapshot(Api(server.url, identity="scanner")).pods.unseen
    assert refused is not None
    assert refused.remedy == "grant scanner `list pods`: apply bootstrap/layers/30-rbac"


def test_a_list_that_fails_on_a_later_page_is_not_a_shorter_list() -> None:
    def pods(asked: Asked) -> tuple[int, Any]:
        return (500, status(500, "later")) if "continue" in asked.params else (200, listing("a", following="2"))

    with serving(cluster(pods=pods)) as server:
        snapshot = take_snapshot(Api(server.url))
    assert snapshot.pods.items == ()
    assert snapshot.pods.unseen is not None


def test_a_list_that_expired_is_taken_once_more_from_its_start() -> None:
    gone = iter([True])

    def pods(asked: Asked) -> tuple[int, Any]:
        if "continue" not in asked.params:
            return 200, listing("a", following="2")
        return (410, status(410, "expired")) if next(gone, False) else (200, listing("b"))

    with serving(cluster(pods=pods)) as server:
        snapshot = take_snapshot(Api(server.url))
    assert [pod.metadata.name for pod in snapshot.pods.items] == ["a", "b"]


def test_a_list_that_expires_again_is_not_seen() -> None:
    def pods(asked: Asked) -> tuple[int, Any]:
        return (410, status(410, "expired")) if "continue" in asked.params else (200, listing("a", following="2"))

    with serving(cluster(pods=pods)) as server:
        pods_seen = take_snapshot(Api(server.url)).pods
    assert pods_seen.unseen is not None
    assert pods_seen.unseen.cause is Cause.UNREACHABLE


@pytest.mark.parametrize(
    "content", [b"<html>", b"{}", b'{"kind": "PodList", "items": [{"metadata": 3}]}', b"", b"\xff\xfe"]
)
def test_an_answer_that_is_no_list_is_not_an_empty_list(content: bytes) -> None:
    with serving(cluster(pods=lambda _: (200, content))) as server:
        pods = take_snapshot(Api(server.url)).pods
    assert pods.unseen is not None
    assert pods.unseen.cause is Cause.INVALID


def test_a_server_that_fails_altogether_gives_no_snapshot() -> None:
    with serving(lambda _: (500, status(500, "down"))) as server, pytest.raises(Unobservable) as caught:
        take_snapshot(Api(server.url))
    assert caught.value.unseen.cause is Cause.UNREACHABLE


def test_nothing_but_the_allowed_fields_enters() -> None:
    with serving(cluster()) as server:
        snapshot = take_snapshot(Api(server.url))
    assert "password" not in repr(snapshot)
