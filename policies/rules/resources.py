"""Requirements 1.4 and 10.1: quotas and limit ranges of namespaces, requests and limits of containers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from policies.facts.base import Cause
from policies.facts.declared import Declared
from policies.facts.kubernetes import Container, LimitRangeItem, Pod, ResourceQuota, Snapshot
from policies.facts.quantity import parse_quantity
from policies.finding import Finding
from policies.limits import Limits
from policies.rules.common import blind, count, missing, some

RESOURCES: Final = ("cpu", "memory")
FINISHED: Final = frozenset({"Succeeded", "Failed"})


# --- fences around namespaces


def quota_present(snapshot: Snapshot, declared: Declared, _limits: Limits) -> Iterator[Finding]:
    """quota-present: each environment has a ResourceQuota that bounds CPU and memory."""
    expected = "a ResourceQuota for cpu and memory"
    yield from blind(expected, snapshot.resource_quotas)
    if snapshot.resource_quotas.unseen is None:
        quotas = _quotas(snapshot)
        for name in declared.environments:
            yield _absent(snapshot, name, expected) or _quota_finding(name, expected, quotas[name])


def namespace_quota(snapshot: Snapshot, _limits: Limits) -> Iterator[Finding]:
    """namespace-quota: each namespace of the cluster has a ResourceQuota that bounds CPU and memory."""
    expected = "a ResourceQuota for cpu and memory"
    yield from blind(expected, snapshot.namespaces, snapshot.resource_quotas)
    if snapshot.namespaces.unseen is None and snapshot.resource_quotas.unseen is None:
        quotas = _quotas(snapshot)
        for namespace in snapshot.namespaces.items:
            name = namespace.metadata.name
            yield _quota_finding(name, expected, quotas[name])


def limit_range_present(snapshot: Snapshot, declared: Declared, _limits: Limits) -> Iterator[Finding]:
    """limit-range-present: each environment has a LimitRange with default requests and limits for containers."""
    expected = "a LimitRange with default requests and limits of cpu and memory"
    yield from blind(expected, snapshot.limit_ranges)
    if snapshot.limit_ranges.unseen is not None:
        return
    items: defaultdict[str, list[LimitRangeItem]] = defaultdict(list)
    for limit_range in snapshot.limit_ranges.items:
        items[limit_range.metadata.namespace] += limit_range.spec.limits or ()
    for name in declared.environments:
        absent = _absent(snapshot, name, expected)
        if absent is not None:
            yield absent
            continue
        lacking = _lacking_defaults(items[name])
        observed = f"no default {some(lacking)}" if items[name] else "it has no LimitRange"
        yield Finding(f"namespace {name}", expected, observed if lacking else "it has one", not lacking)


def _lacking_defaults(items: list[LimitRangeItem]) -> list[str]:
    containers = [item for item in items if item.type == "Container"]
    lacking = [f"request of {r}" for r in RESOURCES if not any(r in (i.default_request or {}) for i in containers)]
    return lacking + [f"limit of {r}" for r in RESOURCES if not any(r in (i.default or {}) for i in containers)]


def _absent(snapshot: Snapshot, name: str, expected: str) -> Finding | None:
    """A namespace that is not there can have no fence; that it is missing is judged by 1.1 namespaces, once."""
    if snapshot.namespaces.unseen or any(item.metadata.name == name for item in snapshot.namespaces.items):
        return None
    remedy = f"create the namespace {name} first (1.1 namespaces)"
    return missing(f"namespace {name}", expected, "the namespace does not exist", Cause.ABSENT, remedy)


def _quotas(snapshot: Snapshot) -> defaultdict[str, list[ResourceQuota]]:
    quotas: defaultdict[str, list[ResourceQuota]] = defaultdict(list)
    for quota in snapshot.resource_quotas.items:
        quotas[quota.metadata.namespace].append(quota)
    return quotas


def _quota_finding(name: str, expected: str, quotas: list[ResourceQuota]) -> Finding:
    bounded = {key.removeprefix("requests.").removeprefix("limits.") for q in quotas for key in q.spec.hard or {}}
    lacking = [resource for resource in RESOURCES if resource not in bounded]
    names = some([quota.metadata.name for quota in quotas])
    if not quotas:
        observed = "it has no ResourceQuota"
    else:
        observed = f"{names} does not bound {' and '.join(lacking)}" if lacking else f"bounded by {names}"
    return Finding(f"namespace {name}", expected, observed, not lacking)


# --- containers


def requests(snapshot: Snapshot, _limits: Limits) -> Iterator[Finding]:
    """requests: every container of every pod that is not finished states requests of CPU and memory above zero."""
    yield from _stated(snapshot, "requests")


def limits(snapshot: Snapshot, _limits: Limits) -> Iterator[Finding]:
    """limits: every container of every pod that is not finished states limits of CPU and memory above zero."""
    yield from _stated(snapshot, "limits")


@dataclass(slots=True)
class _Tally:
    """What was seen of one container of one workload, over the workload's pods."""

    pods: int = 0
    lacking: list[str] = field(default_factory=list)
    """Names of the pods in which something is not stated."""
    what: set[str] = field(default_factory=set)


def _stated(snapshot: Snapshot, which: Literal["requests", "limits"]) -> Iterator[Finding]:
    """One finding for each container of each workload, as pods of one workload share their manifest."""
    expected = f"{which} of cpu and memory"
    yield from blind(expected, snapshot.pods)
    tallies: defaultdict[tuple[str, str, str], _Tally] = defaultdict(_Tally)
    for pod in snapshot.pods.items if snapshot.pods.unseen is None else ():
        if pod.status.phase in FINISHED:
            continue
        namespace, workload = pod.metadata.namespace, _workload(pod)
        for container in (*pod.spec.containers, *(pod.spec.init_containers or ())):
            tally = tallies[namespace, workload, container.name]
            tally.pods += 1
            lacking = not_stated(container, which)
            if lacking:
                tally.lacking.append(pod.metadata.name)
                tally.what.update(lacking)
    for (namespace, workload, container_name), tally in tallies.items():
        subject = f"{namespace}/{workload} container {container_name}"
        pods = count(tally.pods, "pod")
        if tally.lacking:
            what = " and ".join(r for r in RESOURCES if r in tally.what)
            observed = f"no {which} of {what} in {len(tally.lacking)} of {pods} (e.g. {tally.lacking[0]})"
        else:
            observed = f"stated in {pods}"
        yield Finding(subject, expected, observed, not tally.lacking)


def _workload(pod: Pod) -> str:
    """``ReplicaSet/web-5d8f``; the pod itself where nothing owns it, or only the node (a static pod)."""
    for owner in pod.metadata.owner_references or ():
        if owner.kind != "Node":
            return f"{owner.kind}/{owner.name}"
    return f"Pod/{pod.metadata.name}"


def not_stated(container: Container, which: Literal["requests", "limits"]) -> list[str]:
    """The resources that a container says nothing about; an amount of zero reserves and bounds nothing."""
    amounts = container.resources.requests if which == "requests" else container.resources.limits
    return [resource for resource in RESOURCES if not _positive(amounts or {}, resource)]


def _positive(amounts: Mapping[str, str], resource: str) -> bool:
    text = amounts.get(resource)
    if text is None:
        return False
    try:
        return parse_quantity(text) > 0
    except ValueError:
        return False  # the API server admits no such quantity; if one is here it states nothing
