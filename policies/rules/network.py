"""Requirement 1.3: pods reach each other on every pair of nodes, and names resolve everywhere."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import permutations
from typing import Final, TypeAlias

from policies.facts.base import Cause
from policies.facts.declared import Declared
from policies.facts.kubernetes import Node, Pod, Snapshot
from policies.facts.network import PairLoss, PodNetwork, Resolution
from policies.facts.nodes import Link, Nodes, NodeView
from policies.finding import Finding
from policies.limits import Limits
from policies.rules.common import blind, missing, some, unseen

Network: TypeAlias = IPv4Network | IPv6Network

NAMES: Final = {"service": "Service names", "headless": "headless names", "external": "external names"}
SERVED: Final = NAMES | {"service-ip": "Service addresses"}


# --- the CNI and its addresses


def cni_ready(snapshot: Snapshot, declared: Declared, _limits: Limits) -> Iterator[Finding]:
    """cni-ready: the CNI's DaemonSet exists and has a ready pod on every node, and no node lacks its network."""
    namespace, name = declared.cni_namespace, declared.cni_daemonset
    wanted = f"a ready pod of DaemonSet {namespace}/{name}"
    lists = (snapshot.daemon_sets, snapshot.pods, snapshot.nodes)
    yield from blind(wanted, *lists)
    if snapshot.daemon_sets.unseen is None:
        known = {(item.metadata.namespace, item.metadata.name) for item in snapshot.daemon_sets.items}
        there = (namespace, name) in known
        observed = "it exists" if there else "there is no such DaemonSet"
        yield Finding(f"DaemonSet {namespace}/{name}", "to exist", observed, there)
    if snapshot.pods.unseen or snapshot.nodes.unseen:
        return
    pods: defaultdict[str, list[Pod]] = defaultdict(list)
    for pod in snapshot.pods.items:
        owners = pod.metadata.owner_references or ()
        if pod.metadata.namespace == namespace and any(o.kind == "DaemonSet" and o.name == name for o in owners):
            pods[pod.spec.node_name].append(pod)
    for node in snapshot.nodes.items:
        yield _cni_on(node, pods[node.metadata.name], wanted)


def _cni_on(node: Node, pods: Sequence[Pod], wanted: str) -> Finding:
    subject = f"node {node.metadata.name}"
    if node.condition("NetworkUnavailable") == "True":
        return Finding(subject, wanted, "the node reports NetworkUnavailable", False)
    if any(pod.ready for pod in pods):
        return Finding(subject, wanted, "ready", True)
    states = [f"{pod.metadata.name} is {pod.status.phase or 'in no phase'} and not ready" for pod in pods]
    return Finding(subject, wanted, some(states) or "no such pod is on it", False)


def pod_cidrs(snapshot: Snapshot, declared: Declared, _limits: Limits) -> Iterator[Finding]:
    """pod-cidrs: every node has a pod range, overlapping no other, no node's address and not the Services'."""
    expected = "a pod range of its own"
    if snapshot.nodes.unseen:
        yield from blind(expected, snapshot.nodes)
        return
    nodes = snapshot.nodes.items
    if nodes and not any(_ranges(node) for node in nodes):
        detail = "no node states a pod range: the CNI hands out addresses by itself, and its pools are not seen here"
        yield missing("pod ranges", expected, detail, Cause.ABSENT)
        return
    taken = [("the range of Services", declared.service_cidr)]
    taken += [(f"the address of {node.metadata.name}", node.internal_ip) for node in nodes]
    clashes = _overlaps(
        [(node.metadata.name, network) for node in nodes for text in _ranges(node) if (network := _network(text))],
        [(owner, network) for owner, text in taken if (network := _network(text))],
    )
    for node in nodes:
        name, texts = node.metadata.name, _ranges(node)
        invalid = [text for text in texts if _network(text) is None]
        overlapping = clashes.get(name)
        subject = f"node {name}"
        if not texts:
            yield Finding(subject, expected, "it has no pod range", False)
        elif overlapping:
            yield Finding(subject, expected, f"{some(texts)} overlaps {some(overlapping)}", False)
        elif invalid:
            yield missing(subject, expected, f"{some(invalid)} is not a range of addresses", Cause.INVALID)
        else:
            yield Finding(subject, expected, some(texts), True)


def _ranges(node: Node) -> tuple[str, ...]:
    return node.spec.pod_cidrs or ((node.spec.pod_cidr,) if node.spec.pod_cidr else ())


def _network(text: str) -> Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _overlaps(ranges: Sequence[tuple[str, Network]], taken: Sequence[tuple[str, Network]]) -> dict[str, list[str]]:
    """Node to what overlaps its range, e.g. ``the range of w2 (10.244.4.0/24)``. What is ``taken`` may overlap itself.

    Networks overlap only by one holding the other. So, in the order of their first addresses, the wider first, each
    lies in those that are still open on the stack, and in no other: 200 nodes are many pairs, but few of these.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    all_of_them = [(True, owner, network) for owner, network in ranges]
    all_of_them += [(False, owner, network) for owner, network in taken]
    around: list[tuple[bool, str, Network]] = []
    for item in sorted(all_of_them, key=lambda i: (i[2].version, int(i[2].network_address), i[2].prefixlen)):
        while around and not _holds(around[-1][2], item[2]):
            around.pop()
        for outer in around:
            for (is_range, owner, _), other in ((item, outer), (outer, item)):
                if is_range:
                    found[owner].append(f"{'the range of ' if other[0] else ''}{other[1]} ({other[2]})")
        around.append(item)
    return found


def _holds(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and inner.network_address in outer


def mtu(nodes: Nodes, declared: Declared, limits: Limits) -> Iterator[Finding]:
    """mtu: what pods may send fits, with the overlay's header, through the node's own interface."""
    limit = limits["overlay_overhead"]
    tunnelled = declared.overlay != "none"
    expected = f"{limit.text()} below the node's interface" if tunnelled else "not above the node's interface"
    if nodes.unseen:
        yield Finding.unseen("MTU", expected, nodes.unseen)
    for node in nodes.nodes:
        subject = f"node {node.name}"
        uplink = next((link for link in node.links if link.name == node.uplink), None)
        if node.unseen:
            yield Finding.unseen(subject, expected, node.unseen)
            continue
        if uplink is None:
            detail = f'its interface "{node.uplink}" is not among its links'
            yield missing(subject, expected, detail, Cause.INVALID)
            continue
        tunnels = [link for link in node.links if link.kind == declared.overlay]
        if tunnelled and not tunnels:
            yield Finding(subject, expected, f"it has no {declared.overlay} interface, so no overlay", False)
            continue
        judged = [*tunnels, *_pod_links(node)]
        if not judged:
            yield missing(subject, expected, "no interface towards a pod is on it", Cause.ABSENT)
            continue
        room = {link: uplink.mtu - link.mtu for link in judged}
        wrong = [link for link in judged if not (limit.allows(room[link]) if tunnelled else room[link] >= 0)]
        shown = [f"{link.name} has MTU {link.mtu}" for link in wrong or _distinct(judged)]
        yield Finding(subject, expected, f"{some(shown)} on {uplink.name} with {uplink.mtu}", not wrong)


def _pod_links(node: NodeView) -> list[Link]:
    """The host's ends of the pods' pairs, and the CNI's bridge between them (other bridges belong to others).

    A bridge takes the MTU of what is plugged in; without a pod it has one that nothing is sent by.
    """
    pods = [link for link in node.links if link.kind == "veth" and link.name != node.uplink]
    bridges = [link for link in node.links if link.kind == "bridge" and link.name.startswith("cni")]
    return bridges + pods if pods else []


def _distinct(links: Sequence[Link]) -> list[Link]:
    """One link for each kind and MTU: the pods of a node all look the same."""
    return list({(link.kind, link.mtu): link for link in reversed(links)}.values())[::-1]


# --- traffic and names


def pod_traffic(network: PodNetwork, limits: Limits) -> Iterator[Finding]:
    """pod-traffic: no packet is lost between pods of any two nodes, in either direction."""
    enough, loss = limits["probes_per_pair"], limits["packet_loss"]
    expected = f"{loss.text()} lost of {enough.text()}"
    yield from unseen(expected, network.unseen)
    pairs = {(pair.source, pair.destination): pair for pair in network.pairs}
    for source, destination in permutations(network.nodes, 2):
        subject = f"{source} to {destination}"
        pair = pairs.get((source, destination))
        if pair is None or pair.sent <= 0:
            yield missing(subject, expected, "not measured", _cause(network))
            continue
        lost = _lost(pair)
        observed = f"{lost:.3g} % lost ({pair.received} of {pair.sent} packets answered)"
        if loss.allows(lost) and not enough.allows(pair.sent):
            yield missing(subject, expected, f"only {pair.sent} packets were sent", Cause.INVALID)
        else:
            yield Finding(subject, expected, observed, loss.allows(lost))


def _lost(pair: PairLoss) -> float:
    return 100 * max(0, pair.sent - pair.received) / pair.sent


def _cause(network: PodNetwork) -> Cause:
    """Why a measurement is missing: for the reason that the fixture gives for what it missed."""
    return network.unseen[0].cause if network.unseen else Cause.INVALID


def dns_names(network: PodNetwork, _limits: Limits) -> Iterator[Finding]:
    """dns-names: each name resolves on each node, each time, to what the API says; and Service addresses answer."""
    expected = "right answers only"
    yield from unseen(expected, network.unseen)
    asked = {(r.node, r.kind, r.name): r for r in network.resolutions}
    names = dict.fromkeys((r.kind, r.name) for r in network.resolutions)
    for kind, title in SERVED.items():
        if network.nodes and kind not in {k for k, _ in names}:
            remedy = f"name one in the target ({'network.external_names' if kind == 'external' else 'network'})"
            yield missing(title, expected, "none was asked for", Cause.EMPTY, remedy)
    for node in network.nodes:
        for kind, name in names:
            subject = f"{name} from {node}"
            resolution = asked.get((node, kind, name))
            if resolution is None or not resolution.asked:
                yield missing(subject, expected, "not asked", _cause(network))
            else:
                right = resolution.answered >= resolution.asked and not _wrong(resolution)
                yield Finding(subject, expected, _answers(resolution), right)


def _wrong(resolution: Resolution) -> bool:
    return bool(resolution.expected) and set(resolution.addresses) != set(resolution.expected)


def _answers(resolution: Resolution) -> str:
    what = "connections made" if resolution.kind == "service-ip" else "answers right"
    text = f"{resolution.answered} of {resolution.asked} {what}"
    if resolution.addresses:
        text += f": {some(sorted(resolution.addresses))}"
    if _wrong(resolution):
        text += f", where the API says {some(sorted(resolution.expected))}"
    return text + (f" ({resolution.detail})" if resolution.detail else "")


def dns_latency(network: PodNetwork, limits: Limits) -> Iterator[Finding]:
    """dns-latency: the 95th percentile over all questions of each node; one without an answer is slower than any.

    Whether an answer is the right one is judged by dns-names alone.
    """
    limit = limits["dns_p95"]
    yield from unseen(limit.text(), network.unseen)
    asked: defaultdict[str, list[Resolution]] = defaultdict(list)
    for resolution in network.resolutions:
        if resolution.kind in NAMES:
            asked[resolution.node].append(resolution)
    for node in network.nodes:
        times = sorted(time for resolution in asked[node] for time in resolution.times_ms)
        questions = max(sum(resolution.asked for resolution in asked[node]), len(times))
        subject = f"names from {node}"
        if not questions:
            yield missing(subject, limit.text(), "no name was asked for", _cause(network))
            continue
        rank = math.ceil(0.95 * questions)  # nearest rank: an answer that was really given, not one between two
        unanswered = questions - len(times)
        without = f", {unanswered} without an answer" if unanswered else ""
        if rank > len(times):
            observed = f"more than one question in twenty without an answer ({unanswered} of {questions})"
            yield Finding(subject, limit.text(), observed, False)
        else:
            observed = f"p95 {times[rank - 1]:.1f} ms over {questions} questions{without}"
            yield Finding(subject, limit.text(), observed, limit.allows(times[rank - 1]))
