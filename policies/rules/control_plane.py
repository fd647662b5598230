"""Requirement 1.1: the control plane is redundant, healthy, and survives the loss of one node."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from policies.facts.base import Cause, Unseen
from policies.facts.control_plane import ControlPlaneOutage, PodIdentity
from policies.facts.declared import Declared
from policies.facts.kubernetes import Node, Snapshot
from policies.facts.nodes import Certificate, EtcdMember, EtcdView, Nodes, NodeView
from policies.finding import Finding
from policies.limits import Limits
from policies.rules.common import blind, count, missing, some

COMPONENTS: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
PRESSURES: Final = ("MemoryPressure", "DiskPressure", "PIDPressure")
STATIC_PODS: Final = "kube-system"  # where kubeadm's static pods stand


# --- nodes and components


def ready_nodes(snapshot: Snapshot, limits: Limits) -> Iterator[Finding]:
    """control-plane-nodes: enough nodes with the control-plane role are Ready."""
    limit = limits["control_plane_nodes"]
    expected = f"{limit.text()} Ready"
    if snapshot.nodes.unseen:
        yield from blind(expected, snapshot.nodes)
        return
    nodes = [node for node in snapshot.nodes.items if node.control_plane]
    ready = [node.metadata.name for node in nodes if node.ready]
    down = [f"{node.metadata.name} ({_condition(node, 'Ready')})" for node in nodes if not node.ready]
    observed = f"{count(len(ready), 'control-plane node')} Ready" + (f" ({some(ready)})" if ready else "")
    if down:
        observed += f", not Ready: {some(down)}"
    yield Finding("control plane", expected, observed, limit.allows(len(ready)))


def _condition(node: Node, kind: str) -> str:
    """``Ready is Unknown: NodeStatusUnknown``."""
    for condition in node.status.conditions or ():
        if condition.type == kind:
            return f"{kind} is {condition.status}" + (f": {condition.reason}" if condition.reason else "")
    return f"no condition {kind}"


def components(snapshot: Snapshot, limits: Limits) -> Iterator[Finding]:
    """control-plane-components: of each component as many are ready, on different nodes, as there must be nodes.

    Told by kubeadm's labels on the static pods in kube-system.
    """
    limit = limits["control_plane_nodes"]
    expected = f"{limit.text()} with a ready one"
    if snapshot.pods.unseen:
        yield from blind(expected, snapshot.pods)
        return
    static = [pod for pod in snapshot.pods.items if pod.static and pod.metadata.namespace == STATIC_PODS]
    for component in COMPONENTS:
        pods = [pod for pod in static if (pod.metadata.labels or {}).get("component") == component]
        ready = sorted({pod.spec.node_name for pod in pods if pod.ready})
        down = sorted(pod.metadata.name for pod in pods if not pod.ready)
        observed = f"ready on {count(len(ready), 'node')}" + (f" ({some(ready)})" if ready else "")
        if down:
            observed += f", not ready: {some(down)}"
        yield Finding(component, expected, observed, limit.allows(len(ready)))


def node_pressure(snapshot: Snapshot, _limits: Limits) -> Iterator[Finding]:
    """node-pressure: no node reports memory, disk or PID pressure.

    A condition that is Unknown comes from a kubelet that fell silent: nobody knows, so there is no verdict for it.
    """
    expected = "no memory, disk or PID pressure"
    yield from blind(expected, snapshot.nodes)
    for node in snapshot.nodes.items if not snapshot.nodes.unseen else ():
        states = {kind: node.condition(kind) for kind in PRESSURES}
        under = [_condition(node, kind) for kind, status in states.items() if status == "True"]
        unknown = [_condition(node, kind) for kind, status in states.items() if status != "False"]
        subject = f"node {node.metadata.name}"
        if under:
            yield Finding(subject, expected, "; ".join(under), False)
        elif unknown:
            remedy = f"see why the kubelet of {node.metadata.name} reports nothing (`journalctl -u kubelet` there)"
            yield missing(subject, expected, f"no word from its kubelet: {'; '.join(unknown)}", Cause.STALE, remedy)
        else:
            yield Finding(subject, expected, "no pressure", True)


def version_skew(snapshot: Snapshot, limits: Limits) -> Iterator[Finding]:
    """version-skew: no kubelet is newer than the API server, and none too many minor versions older."""
    limit = limits["kubelet_minor_skew"]
    expected = f"not newer than the API server ({snapshot.version}) and {limit.text()} older"
    yield from blind(expected, snapshot.nodes)
    server = _minor(snapshot.version)
    for node in snapshot.nodes.items if not snapshot.nodes.unseen else ():
        subject, version = f"kubelet on {node.metadata.name}", node.status.node_info.kubelet_version
        kubelet = _minor(version)
        if server is None or kubelet is None:
            observed = f'version "{version}" beside the API server\'s "{snapshot.version}" cannot be compared'
            yield missing(subject, expected, observed, Cause.INVALID)
            continue
        behind = server[1] - kubelet[1]
        ok = server[0] == kubelet[0] and behind >= 0 and limit.allows(behind)
        observed = f"version {version}"
        if behind:
            observed += f" is {count(abs(behind), 'minor version')} {'older' if behind > 0 else 'newer'}"
        yield Finding(subject, expected, observed, ok)


def _minor(version: str) -> tuple[int, int] | None:
    match = re.match(r"v?([0-9]{1,4})\.([0-9]{1,4})(?![0-9])", version)
    return (int(match[1]), int(match[2])) if match else None


def namespaces(snapshot: Snapshot, declared: Declared, _limits: Limits) -> Iterator[Finding]:
    """namespaces: every declared environment has its namespace."""
    if snapshot.namespaces.unseen:
        yield from blind("to exist", snapshot.namespaces)
        return
    there = {namespace.metadata.name for namespace in snapshot.namespaces.items}
    for name in declared.environments:
        found = name in there
        yield Finding(f"namespace {name}", "to exist", "it exists" if found else "it does not exist", found)


# --- etcd


def etcd_members(nodes: Nodes, _limits: Limits) -> Iterator[Finding]:
    """etcd-members: an odd number of voting members, and every member knows the same ones."""
    expected = "an odd number of voting members, the same seen from every member"
    yield from _etcd_blind(nodes, expected)
    views = _etcd_views(nodes)
    known = Counter(_voters(view) for _, view in views)
    common = known.most_common()[0][0] if known else frozenset()
    for node, view in views:
        voters = _voters(view)
        learners = [_name(member) for member in view.members if member.learner]
        observed = f"{count(len(voters), 'voting member')} ({some(sorted(name for _, name in voters))})"
        if learners:
            observed += f", learners: {some(learners)}"
        if voters != common:
            observed += f", where others see {len(common)} ({some(sorted(name for _, name in common))})"
        yield Finding(f"etcd as seen on {node}", expected, observed, len(voters) % 2 == 1 and voters == common)


def etcd_health(nodes: Nodes, _limits: Limits) -> Iterator[Finding]:
    """etcd-health: every listed member answers as healthy wherever it is asked from, and all follow one leader."""
    expected = "healthy from every control-plane node"
    yield from _etcd_blind(nodes, expected)
    views = _etcd_views(nodes)
    asked: defaultdict[str, list[tuple[str, EtcdMember]]] = defaultdict(list)
    for node, view in views:
        for member in view.members:
            asked[member.id].append((node, member))
    for member_id, answers in asked.items():
        ill = [
            f"asked from {node}: " + ("has not started yet" if not member.name else member.detail or "not healthy")
            for node, member in answers
            if not member.healthy or not member.name
        ]
        name = next((member.name for _, member in answers if member.name), f"{member_id} (not started)")
        observed = "; ".join(ill) if ill else f"healthy, asked from {some([node for node, _ in answers])}"
        yield Finding(f"etcd member {name}", expected, observed, not ill)
    if views:
        leaders = {node: _leader(view) for node, view in views}
        agreed = len(set(leaders.values())) == 1 and "" not in leaders.values()
        observed = (
            f"all follow {next(iter(leaders.values()))}"
            if agreed
            else "; ".join(f"{node} follows {leader or 'none'}" for node, leader in leaders.items())
        )
        yield Finding("etcd leader", "one that all members follow", observed, agreed)


def etcd_alarms(nodes: Nodes, _limits: Limits) -> Iterator[Finding]:
    """etcd-alarms: no member has raised an alarm."""
    expected = "no alarm"
    yield from _etcd_blind(nodes, expected)
    for node, view in _etcd_views(nodes):
        names = {member.id: _name(member) for member in view.members}
        alarms = []
        for alarm in view.alarms:
            member, _, kind = alarm.partition(": ")
            alarms.append(f"{names.get(member, member)}: {kind}" if kind else alarm)
        observed = f"alarm {some(alarms)}" if alarms else "no alarm"
        yield Finding(f"etcd as seen on {node}", expected, observed, not alarms)


def _etcd_blind(nodes: Nodes, expected: str) -> Iterator[Finding]:
    """What of etcd could not be seen; and where all was seen and no etcd is anywhere, that as a violation."""
    if nodes.unseen:
        yield Finding.unseen("etcd", expected, nodes.unseen)
        return
    members = [node for node in nodes.nodes if node.control_plane]
    hidden = {node.name: reason for node in members if (reason := node.unseen or node.etcd_unseen)}
    for name, reason in hidden.items():
        yield Finding.unseen(f"etcd on {name}", expected, reason)
    if nodes.nodes and not hidden and not _etcd_views(nodes):
        where = f"no control-plane node among {count(len(nodes.nodes), 'node')}"
        observed = f"runs on none of {some([node.name for node in members])}" if members else where
        yield Finding("etcd", expected, observed, False)


def _etcd_views(nodes: Nodes) -> list[tuple[str, EtcdView]]:
    return [
        (node.name, node.etcd)
        for node in nodes.nodes
        if node.etcd is not None and node.unseen is None and node.etcd_unseen is None
    ]


def _voters(view: EtcdView) -> frozenset[tuple[str, str]]:
    """Ids and names of the voting members. A member that has not started yet has no name, but it has its vote."""
    return frozenset((member.id, _name(member)) for member in view.members if not member.learner)


def _name(member: EtcdMember) -> str:
    return member.name or f"{member.id} (not started)"


def _leader(view: EtcdView) -> str:
    """Name or id of the leader this member follows, "" for none."""
    if view.leader_id == "0":
        return ""
    return next((_name(member) for member in view.members if member.id == view.leader_id), view.leader_id)


# --- certificates


def certificates(nodes: Nodes, limits: Limits) -> Iterator[Finding]:
    """certificates: each one on each node stays valid long enough, counted from the node's own clock."""
    limit = limits["cert_days_left"]
    expected = f"{limit.text()} left"
    if nodes.unseen:
        yield Finding.unseen("certificates", expected, nodes.unseen)
    for node in nodes.nodes:
        reason = node.unseen or node.certificates_unseen
        if reason is not None:
            yield Finding.unseen(f"certificates on {node.name}", expected, reason)
        elif not node.certificates:
            yield missing(f"certificates on {node.name}", expected, "none was found on the node", Cause.ABSENT)
        else:
            now = _node_time(nodes.seen_at, node)
            for certificate in node.certificates:
                left = (certificate.not_after - now) / timedelta(days=1)
                subject = f"{node.name} {certificate.path}"
                yield Finding(subject, expected, _validity(certificate, left), limit.allows(left))


def _node_time(seen_at: datetime, node: NodeView) -> datetime:
    # The node's own clock decides when the node stops trusting a certificate.
    return seen_at + timedelta(seconds=node.clock_offset_s)


def _validity(certificate: Certificate, left: float) -> str:
    until = f"{certificate.not_after:%Y-%m-%d %H:%M} UTC ({certificate.subject})"
    return f"expired {-left:.1f} days ago, on {until}" if left < 0 else f"valid {left:.1f} days more, until {until}"


# --- the loss of one control-plane node


def write_gap(outage: ControlPlaneOutage, limits: Limits) -> Iterator[Finding]:
    """write-gap: from the fault on, writes to the API stop only briefly.

    The gap is the longest time between two acknowledgements (the instants at which answers came) that ends after the
    injection began; it overstates the true one by at most the writer's interval. It counts to the end of the
    observation, so that the node's return is part of it.
    """
    limit = limits["api_write_gap"]
    subject = "api endpoint"
    unproved = _unproved(outage)
    if unproved is not None:
        yield Finding.unseen(subject, limit.text(), unproved)
        return
    yield from _cut_short(outage)
    silence = outage.longest_silence
    if silence is None:
        detail = "no write was acknowledged before the fault, so no gap shows"
        yield missing(subject, limit.text(), detail, Cause.INVALID)
        return
    after = [w.answered for w in outage.writes if w.acknowledged and w.answered > outage.injected_at]
    start, end = silence
    gap = end - start
    error = f"± {outage.interval_s:.2g} s, {outage.node} cut off by {outage.fault}"
    if not after:
        observed = f"writes stopped for at least {gap:.2f} s and had not resumed when watching ended ({error})"
        yield Finding(subject, limit.text(), observed, False)
        return
    observed = f"writes stopped for {gap:.2f} s, from {start:.2f} s to {end:.2f} s ({error})"
    # Writes that come back only with the node itself say nothing of how long they would have stayed away without it.
    half_way = (outage.injected_at + outage.undone_at) / 2
    if limit.allows(gap) and not any(half_way <= at <= outage.undone_at for at in after):
        lasted = outage.undone_at - outage.injected_at
        observed = f"the fault was undone after {lasted:.1f} s, before writes had resumed under it ({error})"
        yield missing(subject, limit.text(), observed, Cause.INVALID)
        return
    yield Finding(subject, limit.text(), observed, limit.allows(gap))


def acknowledged_writes(outage: ControlPlaneOutage, limits: Limits) -> Iterator[Finding]:
    """acknowledged-writes: every write that was acknowledged is there afterwards."""
    limit = limits["lost_writes"]
    subject, expected = "api endpoint", f"{limit.text()} lost"
    unproved = _unproved(outage)
    if unproved is not None:
        yield Finding.unseen(subject, expected, unproved)
        return
    yield from _cut_short(outage)
    acknowledged = {write.number for write in outage.writes if write.acknowledged}
    if not acknowledged:
        yield missing(subject, expected, "no write was acknowledged, so none could be lost", Cause.EMPTY)
        return
    lost = sorted(acknowledged - set(outage.read_back))
    observed = f"{len(lost)} of {count(len(acknowledged), 'acknowledged write')} lost"
    if lost:
        observed += f" (numbers {some(lost)})"
    yield Finding(subject, expected, observed, limit.allows(len(lost)))


def pods_untouched(outage: ControlPlaneOutage, _limits: Limits) -> Iterator[Finding]:
    """pods-untouched: every pod that ran before is the same pod with the same containers afterwards.

    That holds on the node that was cut off too, since its containers run on; only its static pods are left out: the API
    server and etcd there are what the fault takes away.
    """
    expected = "the same pod and containers as before the fault"
    unproved = _unproved(outage)
    if unproved is not None:
        yield Finding.unseen("running pods", expected, unproved)
        return
    yield from _cut_short(outage)
    after = {(pod.namespace, pod.name): pod for pod in outage.pods_after}
    for pod in outage.pods_before:
        if pod.ready and not _static_on(pod, outage.node):
            problems = _changes(pod, after.get((pod.namespace, pod.name)))
            subject = f"pod {pod.namespace}/{pod.name} on {pod.node}"
            yield Finding(subject, expected, "; ".join(problems) or "unchanged", not problems)


def _static_on(pod: PodIdentity, node: str) -> bool:
    # The kubelet names the mirror of a static pod after the node.
    return pod.node == node and pod.namespace == STATIC_PODS and pod.name.endswith(f"-{node}")


def _changes(before: PodIdentity, after: PodIdentity | None) -> Sequence[str]:
    if after is None:
        return ["it is gone"]
    if after.uid != before.uid:
        return [f"it was replaced by another pod of that name on {after.node}"]
    return [
        f"container {name} was {was} and is {after.containers.get(name, 'gone')}"
        for name, was in sorted(before.containers.items())
        if after.containers.get(name) != was
    ]


def _cut_short(outage: ControlPlaneOutage) -> Iterator[Finding]:
    """A fault that was undone before its time can show a violation, but no pass: the rest of it is not known."""
    if outage.cut_short is not None:
        yield Finding.unseen(outage.fault, "to stand to its end", outage.cut_short)


def _unproved(outage: ControlPlaneOutage) -> Unseen | None:
    """Why the observation says nothing: the fault was not injected, or was not seen to have happened."""
    if outage.unseen is not None:
        return outage.unseen
    if not outage.proof:
        detail = f"{outage.fault} on {outage.node} was injected, but nothing showed that it took effect"
        remedy = "see the fault's events in this run's facts, and whether the node really was cut off"
        return Unseen(Cause.ABSENT, "the fault", detail, remedy)
    return None
