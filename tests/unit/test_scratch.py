"""Scratch namespaces and the quota alerts tried in them, against a small server that keeps namespaces and pods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fixtures import scratch
from fixtures.alerts import try_alerts
from fixtures.kubernetes import Api
from fixtures.scratch import leftovers, remove_leftovers, scratch_namespace
from fixtures.unobservable import Unobservable
from fixtures.waiting import WaitTimeout
from policies.facts.alerts import QuotaAlerts
from policies.facts.base import Cause
from policies.limits import Limit, Limits
from targets.model import Target, load_target
from tests.unit.small_server import Asked, serving, status

RUN = "20261124-ab12"
LABEL = {"labelSelector": "app.kubernetes.io/managed-by=finbot-verify"}


class Cluster:
    """Namespaces and pods in memory, and what one wants it to answer instead."""

    def __init__(self) -> None:
        self.namespaces: dict[str, set[str]] = {}
        self.made: list[str] = []
        self.instead: Callable[[Asked], tuple[int, Any] | None] = lambda _: None
        self.alerting: Callable[[str], list[str]] = lambda _: []

    def __call__(self, asked: Asked) -> tuple[int, Any]:
        if (answer := self.instead(asked)) is not None:
            return answer
        match [asked.method, *asked.path.removeprefix("/api/v1/").split("/")]:
            case ["POST", "namespaces"]:
                self.made.append(asked.body["metadata"]["name"])
                self.namespaces[asked.body["metadata"]["name"]] = set()
                return 201, asked.body
            case ["GET", "namespaces"]:
                assert asked.params == LABEL
                return 200, {"items": [{"metadata": {"name": name}} for name in self.namespaces]}
            case ["GET", "pods"]:
                assert asked.params == LABEL
                pods = [(namespace, pod) for namespace, pods in self.namespaces.items() for pod in pods]
                return 200, {"items": [{"metadata": {"name": pod, "namespace": ns}} for ns, pod in pods]}
            case ["GET", "namespaces", "monitoring", "services", _, "proxy", *_]:
                namespace = asked.params["filter"].split('"')[1]
                return 200, [{"labels": {"alertname": name}} for name in self.alerting(namespace)]
            case [method, "namespaces", name, *rest] if name in self.namespaces:
                return self._inside(method, name, rest, asked)
        return 404, status(404, "not found")

    def _inside(self, method: str, name: str, rest: list[str], asked: Asked) -> tuple[int, Any]:
        match [method, *rest]:
            case ["DELETE"]:
                del self.namespaces[name]
            case ["POST", "pods"]:
                self.namespaces[name].add(asked.body["metadata"]["name"])
                return 201, asked.body
            case ["GET", "pods"]:
                return 200, {"items": [{"metadata": {"name": pod}} for pod in self.namespaces[name]]}
            case ["DELETE", "pods", pod]:
                self.namespaces[name].discard(pod)
            case ["GET", "resourcequotas", _]:
                return 200, {"status": {"used": {"pods": "0"}}}
        return 200, {}


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def api(cluster: Cluster) -> Iterator[Api]:
    with serving(cluster) as server:
        yield Api(server.url)


def test_a_namespace_is_there_for_the_block_and_gone_after_it(cluster: Cluster, api: Api) -> None:
    with scratch_namespace(api, RUN, "try") as namespace:
        assert leftovers(api) == (f"namespace {namespace}",)
        assert namespace == "verify-20261124-ab12-try"
    assert not cluster.namespaces
    assert leftovers(api) == ()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_it_goes_whatever_ends_the_block(cluster: Cluster, api: Api, error: type[BaseException]) -> None:
    with pytest.raises(error), scratch_namespace(api, RUN, "try"):
        raise error
    assert not cluster.namespaces


def test_it_goes_where_it_could_not_be_bounded(cluster: Cluster, api: Api) -> None:
    cluster.instead = lambda a: (403, status(403, "no")) if a.path.endswith("/resourcequotas") else None
    with pytest.raises(Unobservable) as caught, scratch_namespace(api, RUN, "try"):
        pass
    assert caught.value.unseen.cause is Cause.FORBIDDEN
    assert not cluster.namespaces


def test_it_goes_although_the_api_was_away_for_a_moment(cluster: Cluster, api: Api) -> None:
    away = iter([True, True])
    cluster.instead = lambda a: (503, status(503, "away")) if a.method == "DELETE" and next(away, False) else None
    with scratch_namespace(api, RUN, "try"):
        pass
    assert not cluster.namespaces


def test_one_that_does_not_go_is_told_and_found(cluster: Cluster, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "NAMESPACE_GONE_WITHIN_S", 0.01)
    cluster.instead = lambda a: (200, {}) if a.method == "DELETE" and not a.path.count("/pods/") else None
    with pytest.raises(WaitTimeout, match="namespace verify-20261124-ab12-try to be gone"):  # noqa: SIM117
        with scratch_namespace(api, RUN, "try"):
            pass
    assert leftovers(api) == ("namespace verify-20261124-ab12-try",)


def test_what_earlier_runs_left_is_removed(cluster: Cluster, api: Api) -> None:
    cluster.namespaces = {"verify-old-writes": {"probe"}}
    remove_leftovers(api)
    assert leftovers(api) == ()


# --- quota alerts


def limits(within_s: float = 5) -> Limits:
    return Limits([Limit("quota_use", 80, "%", "at_most"), Limit("alert_within", within_s, "s", "at_most")])


@pytest.fixture
def target() -> Target:
    return load_target("lab")


def observe(api: Api, target: Target, within_s: float = 5) -> QuotaAlerts:
    return try_alerts(api, target, RUN, limits(within_s), lambda _: None)


def test_an_alert_that_comes_and_ends(cluster: Cluster, api: Api, target: Target) -> None:
    def alerting(namespace: str) -> list[str]:
        return ["QuotaAlmostFull"] if len(cluster.namespaces.get(namespace, ())) > 16 else []

    cluster.alerting = alerting
    seen = observe(api, target)
    [full], [calm] = seen.beyond, seen.below
    assert (full.used_percent, calm.used_percent) == (85, 75)
    assert full.alert == "QuotaAlmostFull"
    assert full.fired_after_s is not None
    assert full.ended_after_s is not None
    assert calm.fired_after_s is None
    assert calm.waited_s >= full.waited_s
    assert seen.unseen is None
    assert not cluster.namespaces


def test_an_alert_that_never_comes(cluster: Cluster, api: Api, target: Target) -> None:
    [full] = observe(api, target, within_s=0.01).beyond
    assert full.fired_after_s is None
    assert full.waited_s >= 0.01


def test_an_alert_that_never_ends_and_comes_for_everyone(cluster: Cluster, api: Api, target: Target) -> None:
    cluster.alerting = lambda namespace: [] if namespace == "default" else ["Always"]
    seen = observe(api, target, within_s=0.01)
    assert seen.beyond[0].fired_after_s is not None
    assert seen.beyond[0].ended_after_s is None
    assert seen.below[0].alert == "Always"


def test_without_an_alertmanager_nothing_is_made(cluster: Cluster, api: Api, target: Target) -> None:
    cluster.instead = lambda a: (404, status(404, "no")) if "/proxy/" in a.path else None
    with pytest.raises(Unobservable) as caught:
        observe(api, target)
    assert caught.value.unseen.cause is Cause.ABSENT
    assert not cluster.made


def test_an_alertmanager_that_goes_away_meanwhile_is_no_silence(cluster: Cluster, api: Api, target: Target) -> None:
    cluster.instead = lambda a: (
        (503, status(503, "no endpoints")) if "/proxy/" in a.path and cluster.namespaces else None
    )
    seen = observe(api, target, within_s=0.01)
    assert seen.unseen is not None
    assert seen.unseen.cause is Cause.UNREACHABLE
