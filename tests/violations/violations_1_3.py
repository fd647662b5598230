"""Requirement 1.3 violated: the pod network."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from fixtures.waiting import NotYet
from tests.violations.lab import STRATEGIC, Lab, Machine
from tests.violations.violation import violates

FLANNEL: Final = "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-flannel"
COREDNS: Final = "/api/v1/namespaces/kube-system/configmaps/coredns"


# --- the CNI


@violates("1.3", "cni-ready", r"node w3: no such pod is on it")
def daemon_set_leaves_a_node_out(lab: Lab) -> Iterator[None]:
    """The CNI's DaemonSet was given an affinity that leaves one node out."""

    def on_w3() -> bool:
        return any(
            pod.metadata.name.startswith("kube-flannel-") and pod.spec.node_name == "w3" and pod.ready
            for pod in lab.snapshot().pods.items
        )

    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["w3"]}]}]
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    spec = lab.get(FLANNEL)["spec"]
    before = {"updateStrategy": spec["updateStrategy"], "template": {"spec": {"affinity": None}}}
    assert "affinity" not in spec["template"]["spec"]
    # Its own strategy would replace the pods on all nodes for the new template.
    change = {
        "updateStrategy": {"type": "OnDelete", "rollingUpdate": None},
        "template": {"spec": {"affinity": affinity}},
    }
    try:
        with lab.patched(FLANNEL, {"spec": change}, {"spec": before}):
            lab.until(lambda: not on_w3(), "the CNI's pod to leave w3")
            yield
    finally:
        lab.until(on_w3, "the CNI's pod to be back on w3")


@violates("1.3", "cni-ready", r"node w2: the node reports NetworkUnavailable")
def node_reports_no_network(lab: Lab) -> Iterator[None]:
    """A node reports that its network is not configured."""
    conditions = lab.get("/api/v1/nodes/w2")["status"]["conditions"]
    before = next(c for c in conditions if c["type"] == "NetworkUnavailable")
    after = before | {"status": "True", "reason": "NoRouteCreated", "message": "no route"}
    path = "/api/v1/nodes/w2/status"
    change, back = ({"status": {"conditions": [condition]}} for condition in (after, before))
    with lab.patched(path, change, back, STRATEGIC):
        yield


# --- addresses


@contextmanager
def node_edited_in_etcd(lab: Lab, node: str, before: str, after: str) -> Iterator[None]:
    """A Node object changed where the API lets nobody change it: in etcd. Texts must be of one length."""
    assert len(before) == len(after)
    key = base64.b64encode(f"/registry/minions/{node}".encode()).decode()

    def replace(old: str, new: str) -> Callable[[], bool]:
        def attempt() -> bool:
            (found,) = lab.etcd("/v3/kv/range", {"key": key})["kvs"]
            value = base64.b64decode(found["value"])
            changed = base64.b64encode(value.replace(old.encode(), new.encode())).decode()
            unchanged = {"key": key, "target": "MOD", "mod_revision": found["mod_revision"]}
            put = {"compare": [unchanged], "success": [{"requestPut": {"key": key, "value": changed}}]}
            return bool(lab.etcd("/v3/kv/txn", put).get("succeeded"))

        return attempt

    def shows(cidr: str) -> Callable[[], bool]:
        return lambda: lab.get(f"/api/v1/nodes/{node}")["spec"]["podCIDR"] == cidr

    try:
        lab.until(replace(before, after), f"{node} to be changed in etcd")
        lab.until(shows(after), f"{node} to have the pod range {after}")
        yield
    finally:
        lab.until(replace(after, before), f"{node} to be changed back in etcd")
        lab.until(shows(before), f"{node} to have the pod range {before}")


@violates("1.3", "pod-cidrs", r"node w3: \S+ overlaps the range of w1")
def range_given_twice(lab: Lab) -> Iterator[None]:
    """Two nodes have the same pod range, as after a restore of one Node object from an old backup."""
    first, third = (lab.get(f"/api/v1/nodes/{node}")["spec"]["podCIDR"] for node in ("w1", "w3"))
    with node_edited_in_etcd(lab, "w3", third, first):
        yield


@violates("1.3", "pod-cidrs", r"node w2: 10\.96\.\S+ overlaps the range of Services")
def range_within_services(lab: Lab) -> Iterator[None]:
    """A node's pod range lies within the range of Service addresses."""
    before = lab.get("/api/v1/nodes/w2")["spec"]["podCIDR"]
    with node_edited_in_etcd(lab, "w2", before, f"10.96.{'9' * (len(before) - len('10.96.') - len('.0/24'))}.0/24"):
        yield


@contextmanager
def mtu_of(machine: Machine, link: str, mtu: int) -> Iterator[None]:
    """An interface with another MTU meanwhile."""
    before = machine.sh(f"cat /sys/class/net/{link}/mtu")
    try:
        machine.sh(f"ip link set {link} mtu {mtu}")
        yield
    finally:
        machine.sh(f"ip link set {link} mtu {before}")


@violates("1.3", "mtu", r"node w1: flannel\.1 has MTU 1450.* on eth0 with 1400")
def uplink_made_narrower(lab: Lab) -> Iterator[None]:
    """A node moved behind a tunnel that takes smaller packets; the overlay was not told."""
    with mtu_of(lab.machine("w1"), "eth0", 1400):
        yield


@violates("1.3", "mtu", r"node \w+: veth\w+ has MTU 1500 on eth0 with 1500")
def pod_without_room(lab: Lab) -> Iterator[None]:
    """A pod's interface was made with the uplink's MTU."""
    pods = lab.snapshot().pods.items
    node = next(p.spec.node_name for p in pods if p.status.phase == "Running" and not p.spec.host_network)
    machine = lab.machine(node)
    link = machine.sh("ls /sys/class/net | grep ^veth | head -n 1")
    with mtu_of(machine, link, 1500):
        yield


# --- traffic and names


@violates("1.3", "pod-traffic", r"\w+ to w1: [1-9]\d* % lost")
def packets_lost(lab: Lab) -> Iterator[None]:
    """One packet in five towards the pods of a node is lost, as on a bad cable."""
    machine = lab.machine("w1")
    rule = "-i flannel.1 -p icmp -m statistic --mode nth --every 5 --packet 0 -j DROP"
    machine.sh(f"iptables -w 10 -t mangle -I FORWARD {rule}")
    try:
        yield
    finally:
        machine.sh(f"iptables -w 10 -t mangle -D FORWARD {rule}")


def rolled_out(lab: Lab, deployment: str) -> bool:
    """Whether all replicas of a Deployment are of its present template and available."""
    found = lab.get(deployment)
    status, generation, replicas = found["status"], found["metadata"]["generation"], found["spec"]["replicas"]
    states = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    if status.get("observedGeneration") != generation or states != [replicas] * 3:
        raise NotYet(f"{states} of {replicas}")
    return True


@violates("1.3", "dns-names", r"partner\.example\.internal\. from \w+: 0 of \d+ answers right")
def external_name_lost(lab: Lab) -> Iterator[None]:
    """A line in CoreDNS's configuration makes an external name not exist."""
    deployment = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"
    corefile = lab.get(COREDNS)["data"]["Corefile"]
    wrong = "    template ANY ANY partner.example.internal {\n        rcode NXDOMAIN\n    }\n    forward "
    assert "    forward " in corefile

    def roll(value: str | None) -> None:
        # New pods, rather than a minute's wait for the file to be read again.
        annotations = {"seeded-violation": value}
        lab.patch(deployment, {"spec": {"template": {"metadata": {"annotations": annotations}}}})
        lab.until(lambda: rolled_out(lab, deployment), "CoreDNS to be rolled out")

    try:
        lab.patch(COREDNS, {"data": {"Corefile": corefile.replace("    forward ", wrong)}})
        roll("yes")
        yield
    finally:
        lab.patch(COREDNS, {"data": {"Corefile": corefile}})
        roll(None)
        lab.settle()


@violates("1.3", "dns-latency", r"names from \w+: p95 \d{3}(\.\d)? ms")
def names_through_a_thin_pipe(lab: Lab) -> Iterator[None]:
    """CoreDNS's pods are reached through a link so thin that questions queue up."""
    pods = [p for p in lab.snapshot().pods.items if p.metadata.name.startswith("coredns-") and p.ready]
    throttled: list[tuple[Machine, str]] = []
    try:
        for pod in pods:
            machine = lab.machine(pod.spec.node_name)
            # The route to a pod goes by the bridge; the bridge knows behind which of its ports the pod's address lives.
            link = machine.sh(
                f"""
                mac=$(ip -j neigh show {pod.status.pod_ip} dev cni0 | grep -o '"lladdr":"[^"]*"' | cut -d'"' -f4)
                bridge fdb show br cni0 | awk -v mac="$mac" '$1 == mac && !/permanent/ {{ print $3; exit }}'
                """
            )
            throttled.append((machine, link))
            machine.sh(f"tc qdisc add dev {link} root tbf rate 16kbit burst 1600 latency 900ms")
        yield
    finally:
        for machine, link in throttled:
            machine.sh(f"tc qdisc del dev {link} root")
