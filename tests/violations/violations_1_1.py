"""Requirement 1.1 violated: the control plane."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from bootstrap.lab import layers
from bootstrap.lab.layout import HOST
from fixtures.unobservable import Unobservable
from tests.violations.lab import Lab, Object
from tests.violations.violation import violates

ROLE: Final = "node-role.kubernetes.io/control-plane"
PKI: Final = "/etc/kubernetes/pki"
MANIFESTS: Final = "/etc/kubernetes/manifests"
ETCDCTL: Final = (
    f"etcdctl --endpoints https://127.0.0.1:2379 --cacert {PKI}/etcd/ca.crt "
    f"--cert {PKI}/etcd/server.crt --key {PKI}/etcd/server.key"
)
TEN_DAYS: Final = r"valid (9\.9|10\.0) days more"

# --- nodes and components


@violates("1.1", "control-plane-nodes", r"2 control-plane nodes Ready \(cp1, cp2\)")
def role_label_lost(lab: Lab) -> Iterator[None]:
    """A control-plane node lost its role label, so that everybody takes it for a worker."""
    change = {"metadata": {"labels": {ROLE: None}}}
    with lab.patched("/api/v1/nodes/cp3", change, {"metadata": {"labels": {ROLE: ""}}}):
        yield


@violates("1.1", "control-plane-nodes", r"not Ready: cp2 \(Ready is False: KubeletNotReady\)")
def node_without_network_configuration(lab: Lab) -> Iterator[None]:
    """A clean-up took the CNI's configuration off a control-plane node: its kubelet reports NotReady."""
    machine = lab.machine("cp2")
    machine.sh("mkdir -p /root/cni && mv /etc/cni/net.d/* /root/cni/")
    try:
        lab.node_is("cp2", "Ready", "False")
        # The node controller marks the pods of such a node not ready; its kubelet, which knows better, puts that right.
        lab.until(lambda: all(ready for ready in static_pods(lab, "cp2").values()), "the static pods to be ready again")
        yield
    finally:
        machine.sh("mv /root/cni/* /etc/cni/net.d/; rmdir /root/cni")
        lab.node_is("cp2", "Ready", "True")
        lab.settle()


def static_pods(lab: Lab, node: str) -> dict[str, bool]:
    """The static pods that the API knows on a node, and whether they are ready."""
    return {p.metadata.name: p.ready for p in lab.snapshot().pods.items if p.static and p.spec.node_name == node}


@violates("1.1", "control-plane-components", r"kube-scheduler: ready on 2 nodes \(cp1, cp3\)")
def scheduler_manifest_moved_away(lab: Lab) -> Iterator[None]:
    """Somebody moved a scheduler's manifest away for a test, and forgot it."""
    machine, pod = lab.machine("cp2"), "kube-scheduler-cp2"
    machine.sh(f"mv {MANIFESTS}/kube-scheduler.yaml /root/")
    try:
        lab.until(lambda: pod not in static_pods(lab, "cp2"), f"{pod} to end")
        yield
    finally:
        machine.sh(f"mv /root/kube-scheduler.yaml {MANIFESTS}/")
        lab.until(lambda: static_pods(lab, "cp2").get(pod), f"{pod} to be ready")


@violates("1.1", "control-plane-components", r"not ready: kube-controller-manager-cp3")
def controller_manager_crashes(lab: Lab) -> Iterator[None]:
    """A mistyped flag keeps one controller manager from starting."""
    manifest, pod = f"{MANIFESTS}/kube-controller-manager.yaml", "kube-controller-manager-cp3"
    machine = lab.machine("cp3")
    try:
        with machine.changed(manifest):
            machine.sh(f"sed 's/^    - --leader-elect=true$/&,/' {manifest} > /root/new && mv /root/new {manifest}")
            lab.until(lambda: static_pods(lab, "cp3").get(pod) is False, f"{pod} to be not ready")
            yield
    finally:
        lab.until(lambda: static_pods(lab, "cp3").get(pod), f"{pod} to be ready")


# --- etcd


def remove_member(lab: Lab, peer_url: str) -> None:
    """Take the member with this peer address out of the cluster, if it is in."""
    for member in lab.etcd("/v3/cluster/member/list", {})["members"]:
        if peer_url in member["peerURLs"]:
            lab.etcd("/v3/cluster/member/remove", {"ID": member["ID"]})


@violates("1.1", "etcd-members", r"4 voting members \(cp1, cp2, cp3, fourth\)")
def fourth_voter(lab: Lab) -> Iterator[None]:
    """A fourth etcd member was added during a migration, and never removed: a majority is now three."""
    machine = lab.machine("cp1")
    peer, client = (f"https://{machine.address}:{port}" for port in (2480, 2479))
    files = f"--{{}}cert-file={PKI}/etcd/server.crt --{{}}key-file={PKI}/etcd/server.key --{{}}client-cert-auth"
    keys = " ".join(
        f"{files.format(p, p, p)} --{p}trusted-ca-file={PKI}/etcd/ca.crt".replace(f"{p}server", "server")
        for p in ("", "peer-")
    )
    try:
        machine.sh(
            f"""
            cp "/proc/$(pgrep -x etcd)/exe" /root/etcd-fourth
            {ETCDCTL} member add fourth --peer-urls={peer} | grep ^ETCD_INITIAL_CLUSTER= > /root/etcd-fourth.env
            . /root/etcd-fourth.env
            setsid /root/etcd-fourth --name=fourth --data-dir=/root/etcd-fourth.data \
              --initial-cluster="$ETCD_INITIAL_CLUSTER" --initial-cluster-state=existing \
              --initial-advertise-peer-urls={peer} --listen-peer-urls={peer} \
              --advertise-client-urls={client} --listen-client-urls={client} {keys} \
              </dev/null >/root/etcd-fourth.log 2>&1 &
            echo $! > /root/etcd-fourth.pid
            """
        )
        curl = f"curl -sS -m 2 --cacert {PKI}/etcd/ca.crt --cert {PKI}/etcd/server.crt --key {PKI}/etcd/server.key"
        healthy = f'{curl} {client}/health | grep -q \'"health":"true"\' && echo yes'
        lab.until(lambda: machine.sh(healthy) == "yes", "the fourth member to be healthy")
        yield
    finally:
        remove_member(lab, peer)
        machine.sh(
            "if [ -e /root/etcd-fourth.pid ]; then kill -9 $(cat /root/etcd-fourth.pid) || true; fi\n"
            "rm -rf /root/etcd-fourth*"
        )


@violates("1.1", "etcd-health", r"etcd member [0-9a-f]+ \(not started\): .*has not started yet")
def learner_that_never_started(lab: Lab) -> Iterator[None]:
    """A new member was announced as a learner, and its machine never came up."""
    peer = "https://10.231.0.99:2380"
    lab.machine("cp1").sh(f"{ETCDCTL} member add ghost --learner --peer-urls={peer}")
    try:
        yield
    finally:
        remove_member(lab, peer)


@violates("1.1", "etcd-alarms", r"alarm cp2: NOSPACE")
def space_used_up(lab: Lab) -> Iterator[None]:
    """A member reports that its space is used up; the whole cluster takes no more writes."""
    members = lab.etcd("/v3/cluster/member/list", {})["members"]
    alarm = {"memberID": next(m["ID"] for m in members if m["name"] == "cp2"), "alarm": "NOSPACE"}
    lab.etcd("/v3/maintenance/alarm", {"action": "ACTIVATE", **alarm})
    try:
        yield
    finally:
        lab.etcd("/v3/maintenance/alarm", {"action": "DEACTIVATE", **alarm})
        lab.settle()


# --- kubelets and certificates


@violates("1.1", "node-pressure", r"node w2: MemoryPressure is True: KubeletHasInsufficientMemory")
def memory_pressure(lab: Lab) -> Iterator[None]:
    """A node has less memory left than its kubelet wants; the grace period has not ended, so nothing is evicted yet."""
    flags = "--eviction-soft=memory.available<900Gi --eviction-soft-grace-period=memory.available=24h"
    with lab.kubelet("w2", flags):
        lab.node_is("w2", "MemoryPressure", "True")
        yield
    lab.node_is("w2", "MemoryPressure", "False")


@contextmanager
def other_kubelet(lab: Lab, node: str, version: str) -> Iterator[None]:
    """A kubelet that really is of another version, as far as anybody can tell: its own word for it."""
    machine, now = lab.machine(node), lab.snapshot().version
    assert len(now) == len(version), "the version's bytes in the binary are replaced in place"

    def reports(wanted: str) -> Callable[[], bool]:
        return lambda: lab.get(f"/api/v1/nodes/{node}")["status"]["nodeInfo"]["kubeletVersion"] == wanted

    try:
        machine.sh(
            f"""
            sed 's/{re.escape(now)}/{version}/g' /usr/local/bin/kubelet > /root/kubelet
            chmod 755 /root/kubelet
            mount --bind /root/kubelet /usr/local/bin/kubelet
            node-service restart kubelet
            """
        )
        lab.until(reports(version), f"the kubelet of {node} to report {version}")
        yield
    finally:
        machine.sh("umount -l /usr/local/bin/kubelet || true\nnode-service restart kubelet\nrm -f /root/kubelet")
        lab.until(reports(now), f"the kubelet of {node} to report {now}")
        lab.settle()


@violates("1.1", "version-skew", r"kubelet on w1: version v1\.\d+\.\d+ is 3 minor versions older")
def kubelet_too_old(lab: Lab) -> Iterator[None]:
    """A worker was left out of three upgrades."""
    major, minor, patch = lab.snapshot().version.split(".")
    with other_kubelet(lab, "w1", f"{major}.{int(minor) - 3}.{patch}"):
        yield


@violates("1.1", "version-skew", r"kubelet on w3: version v1\.\d+\.\d+ is 1 minor version newer")
def kubelet_upgraded_first(lab: Lab) -> Iterator[None]:
    """A worker was upgraded before the control plane."""
    major, minor, patch = lab.snapshot().version.split(".")
    with other_kubelet(lab, "w3", f"{major}.{int(minor) + 1}.{patch}"):
        yield


@violates("1.1", "certificates", rf"cp2 {PKI}/front-proxy-client.crt: {TEN_DAYS}")
def certificate_about_to_expire(lab: Lab) -> Iterator[None]:
    """A client certificate was issued for ten days only, and nothing renews it."""
    machine = lab.machine("cp2")
    with machine.changed(f"{PKI}/front-proxy-client.crt"):
        machine.sh(
            f"""
            cd {PKI}
            openssl req -new -key front-proxy-client.key -subj /CN=front-proxy-client -out /root/csr
            printf 'extendedKeyUsage=clientAuth\\n' > /root/ext
            openssl x509 -req -in /root/csr -CA front-proxy-ca.crt -CAkey front-proxy-ca.key -set_serial 4242 \
              -days 10 -extfile /root/ext -out /root/crt 2>/dev/null
            cat /root/crt > front-proxy-client.crt
            rm /root/csr /root/ext /root/crt
            """
        )
        yield


@violates("1.1", "certificates", rf"cp3 /etc/kubernetes/admin.conf: {TEN_DAYS}")
def kubeconfig_about_to_expire(lab: Lab) -> Iterator[None]:
    """The administrator's certificate inside a kubeconfig runs out in ten days."""
    machine = lab.machine("cp3")
    with machine.changed("/etc/kubernetes/admin.conf"):
        machine.sh(
            f"""
            cd /etc/kubernetes
            awk '$1 == "client-key-data:" {{ print $2 }}' admin.conf | base64 -d > /root/key
            openssl req -new -key /root/key -subj /O=kubeadm:cluster-admins/CN=kubernetes-admin -out /root/csr
            openssl x509 -req -in /root/csr -CA {PKI}/ca.crt -CAkey {PKI}/ca.key -set_serial 4242 -days 10 \
              -out /root/crt 2>/dev/null
            sed -i "s|client-certificate-data: .*|client-certificate-data: $(base64 -w 0 /root/crt)|" admin.conf
            rm /root/key /root/csr /root/crt
            """
        )
        yield


@violates(
    "1.1",
    "namespaces",
    r"namespace staging: it does not exist",
    blinds=frozenset({("1.4", "quota-present"), ("1.4", "limit-range-present")}),
)
def environment_deleted(lab: Lab) -> Iterator[None]:
    """Somebody deleted an environment."""
    path = "/api/v1/namespaces/staging"
    try:
        lab.delete(path)
        lab.until(lambda: lab.gone(path), "namespace staging to be gone")
        yield
    finally:
        lab.until(lambda: lab.gone(path), "namespace staging to be gone")
        layers.apply(lambda _line: None)


# --- while a node is lost


@contextmanager
def during_the_fault(lab: Lab, act: Callable[[], None]) -> Iterator[None]:
    """Do something, once, as soon as the journal of the run under test holds a fault."""
    stop = threading.Event()
    done: list[str] = []

    def harm() -> bool:
        act()
        return True

    def watch() -> None:
        journal = f"/api/v1/namespaces/{lab.target.identities.namespace}/configmaps/verify-journal"
        while not stop.wait(0.2):
            # Answers that do not come are what a fault does.
            with suppress(Unobservable):
                if lab.get(journal).get("data"):
                    lab.until(harm, "to do harm during the fault", 20)
                    done.append("done")
                    return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert done, "the run under test injected no fault, or nothing could be done during it"


def load_balancer(command: str) -> None:
    """Tell HAProxy something over its own socket."""
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(str(HOST / "haproxy.sock"))
        admin.sendall(f"{command}\n".encode())
        said = admin.recv(4096).decode().strip()
    assert not said, said


@violates("1.1", "write-gap", r"api endpoint: writes stopped for (at least )?(3[1-9]|[4-9]\d)\.\d+ s")
def load_balancer_knows_one_server(lab: Lab) -> Iterator[None]:
    """The load balancer was left with a single API server, the one on the node that leads etcd."""
    leader = lab.etcd("/v3/maintenance/status", {})["leader"]
    others = [m["name"] for m in lab.etcd("/v3/cluster/member/list", {})["members"] if m["ID"] != leader]
    try:
        for name in others:
            load_balancer(f"disable server api-servers/{name}")
        yield
    finally:
        for name in others:
            load_balancer(f"enable server api-servers/{name}")
        lab.settle()


@violates("1.1", "acknowledged-writes", r"api endpoint: 3 of \d+ acknowledged writes lost \(numbers 11, 12, 13\)")
def writes_vanish(lab: Lab) -> Iterator[None]:
    """Writes that were acknowledged vanish during the fault, as from a store that lies about having stored them."""

    def vanish() -> None:
        ours = lab.items("/api/v1/namespaces", "app.kubernetes.io/managed-by=finbot-verify")
        (namespace,) = (n["metadata"]["name"] for n in ours if n["metadata"]["name"].endswith("-writes"))
        for number in (11, 12, 13):
            lab.delete(f"/api/v1/namespaces/{namespace}/configmaps/write-{number}")

    with during_the_fault(lab, vanish):
        yield


def pod_of(lab: Lab, namespace: str, app: str) -> Object:
    """One running pod of a workload, by the label that the lab's workloads carry."""
    pods = lab.items(f"/api/v1/namespaces/{namespace}/pods", app)
    return next(pod for pod in pods if pod["status"]["phase"] == "Running")


@violates("1.1", "pods-untouched", r"pod kube-system/coredns-\S+ on \w+: it is gone")
def pod_replaced(lab: Lab) -> Iterator[None]:
    """A pod on another node is deleted and replaced while the control-plane node is away."""
    meta = pod_of(lab, "kube-system", "k8s-app=kube-dns")["metadata"]
    with during_the_fault(lab, lambda: lab.delete(f"/api/v1/namespaces/kube-system/pods/{meta['name']}")):
        yield
    lab.settle()


@violates("1.1", "pods-untouched", r"pod kube-system/coredns-\S+ on \w+: container coredns was .* restarts=\d+")
def container_restarted(lab: Lab) -> Iterator[None]:
    """A container on another node dies and is restarted in place while the control-plane node is away."""
    node = pod_of(lab, "kube-system", "k8s-app=kube-dns")["spec"]["nodeName"]

    def kill() -> None:
        lab.machine(node).sh("pkill -KILL -x coredns")

    with during_the_fault(lab, kill):
        yield
    lab.settle()
