"""1.3 Pod networking."""

import pytest

from policies import rules
from policies.facts.declared import Declared
from policies.facts.kubernetes import Snapshot
from policies.facts.network import PodNetwork
from policies.facts.nodes import Nodes


@pytest.mark.requirement("1.3", "cni-ready")
def test_the_cni_is_ready_on_every_node(snapshot: Snapshot, declared: Declared, judge: rules.Judge) -> None:
    """The CNI that the target names runs, ready, on every node."""
    judge(rules.network.cni_ready, snapshot, declared)


@pytest.mark.requirement("1.3", "pod-traffic")
def test_every_pair_of_nodes_exchanges_pod_traffic(pod_network: PodNetwork, judge: rules.Judge) -> None:
    """Pods on every pair of nodes reach each other in both directions, without losing a packet."""
    judge(rules.network.pod_traffic, pod_network)


@pytest.mark.requirement("1.3", "dns-names")
def test_names_resolve_from_every_node(pod_network: PodNetwork, judge: rules.Judge) -> None:
    """Service, headless and external names resolve from every node to the right addresses."""
    judge(rules.network.dns_names, pod_network)


@pytest.mark.requirement("1.3", "dns-latency")
def test_names_resolve_quickly(pod_network: PodNetwork, judge: rules.Judge) -> None:
    """Names resolve from every node within the limit."""
    judge(rules.network.dns_latency, pod_network)


@pytest.mark.requirement("1.3", "pod-cidrs")
def test_pod_ranges_do_not_overlap(snapshot: Snapshot, declared: Declared, judge: rules.Judge) -> None:
    """Every node has a pod range that overlaps with nothing else."""
    judge(rules.network.pod_cidrs, snapshot, declared)


@pytest.mark.requirement("1.3", "mtu")
def test_the_mtu_leaves_room_for_the_overlay(nodes: Nodes, declared: Declared, judge: rules.Judge) -> None:
    """What a pod may send fits through its node's interface, the overlay's header included."""
    judge(rules.network.mtu, nodes, declared)
