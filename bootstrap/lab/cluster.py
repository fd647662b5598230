"""The cluster on the nodes: made, looked at, repaired, taken away."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from bootstrap.lab import api, build, endpoint, images, layers, machine, network, node, packages, pki, preflight, store
from bootstrap.lab.cgroups import LAB, node_group
from bootstrap.lab.commands import SYSTEM_PATH, run
from bootstrap.lab.errors import LabError
from bootstrap.lab.layout import (
    API_PORT,
    BIN,
    BRIDGE_ADDRESS,
    CLUSTER_DNS,
    CLUSTER_DOMAIN,
    CNI_BIN,
    COMPLETE,
    CONTROL_PLANE,
    ENDPOINT,
    FIRST,
    HERE,
    IMAGE_REPOSITORY,
    KUBECONFIG,
    KUBERNETES_VERSION,
    NAME,
    NODES,
    POD_NETWORK,
    SERVICE_NETWORK,
    STATE,
    Node,
    cache,
)
from bootstrap.lab.progress import Progress
from bootstrap.lab.templates import render, write
from bootstrap.lab.waiting import wait_until

NODE_BINARIES = (
    *("containerd", "containerd-shim-runc-v2", "ctr"),
    *("kubelet", "kubeadm", "kubectl", "etcdctl", "coredns", "pause", "weed"),
)
CNI_PLUGINS = ("bridge", "host-local", "loopback", "portmap", "flannel")
MANIFESTS = ("00-access.yaml", "10-kube-proxy.yaml", "20-flannel.yaml", "30-kube-router.yaml", "40-coredns.yaml")

API_TIMEOUT_S = 180.0
"""Three etcd members find each other and three API servers start, on two cores."""
NODES_TIMEOUT_S = 120.0
WORKLOADS_TIMEOUT_S = 420.0

Presence = Literal["absent", "unfinished", "made"]


@contextmanager
def alone() -> Iterator[None]:
    """Hold the lab's lock: one command at a time changes it."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lab.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise LabError(
                f"Another lab command is at work (process {lock.read().strip() or 'unknown'}); wait until it has ended."
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def presence() -> Presence:
    """What is there of the lab, running or not."""
    if COMPLETE.exists():
        return "made"
    return "unfinished" if STATE.exists() or LAB.exists() or network.link_exists("finbot0") else "absent"


def each(nodes: Iterable[Node], work: Callable[[Node], None]) -> None:
    """Do the same on several nodes at once. The first error ends it."""
    nodes = tuple(nodes)
    with ThreadPoolExecutor(max_workers=len(nodes) or 1) as pool:
        for done in [pool.submit(work, each_node) for each_node in nodes]:
            done.result()


def up(progress: Progress) -> None:
    """Bring the lab up from whatever is there."""
    preflight.must_be_root()
    with alone():
        there = presence()
        if there == "unfinished":
            with progress.step("remains of an unfinished start cleaned away"):
                _remove()
            there = "absent"
        if there == "made":
            _repair(progress)
        else:
            _make(progress)


def down(progress: Progress) -> None:
    """Take all of the lab off the machine. The cache of built things stays."""
    preflight.must_be_root()
    with alone():
        if presence() == "absent":
            progress.done("There is no lab on this machine.")
            return
        with progress.step("processes, mounts, links, control groups and disks removed"):
            _remove()
        progress.done("The lab is gone; what was built stays cached in " + str(cache()))


def _remove() -> None:
    if LAB.exists():
        LAB.end()
        LAB.remove()
    if shutil.which("ip"):
        network.remove_links(NODES)
    machine.restore()
    if STATE.exists():
        shutil.rmtree(STATE)
    api.forget_credentials()


# --- made ---------------------------------------------------------------------------------------------------------


def _make(progress: Progress) -> None:
    missing = packages.missing()
    preflight.check(building=not build.is_built())
    if missing:
        with progress.step(f"Debian packages: {', '.join(missing)}"):
            packages.install(progress.say)
    with progress.step("binaries from pinned sources"), images.debian_beside(build.planned(None), progress.say):
        artifacts = build.build(None, progress.say)
    with progress.step("images"):
        loaded = images.build_images(artifacts, None, progress.say)
    with progress.step("disks, keys, bridge"):
        STATE.mkdir(parents=True, exist_ok=True, mode=0o711)
        machine.tune()
        _install_binaries(artifacts)
        node.ssh_keys()
        _control_plane_settings(loaded["etcd"].tag)
        for each_node in NODES:
            node.prepare(each_node, loaded["pause"].ref)
        network.create_bridge()
    with progress.step("images unpacked, shared by all nodes"):
        unpacked = store.unpacked([image.archive for image in loaded.values()], artifacts)
        each(NODES, lambda each_node: store.share(unpacked, each_node))
    with progress.step("six nodes: namespaces, containerd, sshd"):
        each(NODES, _boot)
    with progress.step("certificates, kubeconfigs and static pods by kubeadm"):
        _kubeadm()
        _credentials()
        endpoint.prepare()
        endpoint.ensure()
    with progress.step("kubelets; three etcd members, API servers, controller managers, schedulers"):
        each(NODES, lambda each_node: node.start_service(each_node, "kubelet"))
        for address in (*(each_node.address for each_node in CONTROL_PLANE), BRIDGE_ADDRESS):
            _wait_for_api(address)
        each(CONTROL_PLANE, lambda each_node: node.start_service(each_node, node.SNAPSHOTS))
    with progress.step("access, kube-proxy, Flannel, network policies, CoreDNS"):
        _apply_manifests(loaded)
        _wait_for_nodes(label=True)
    progress.done("Kubernetes is Ready; what runs on it follows")
    layers.write_image_values({name: image.ref for name, image in loaded.items()})
    write(COMPLETE, recipe())
    _apply_layers(progress)
    with progress.step("every workload ready"):
        _wait_for_workloads({})
    progress.done(f"The lab is up: export KUBECONFIG={KUBECONFIG}")


def _install_binaries(artifacts: build.Artifacts) -> None:
    for folder, names in ((BIN, NODE_BINARIES), (CNI_BIN, CNI_PLUGINS)):
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            source = artifacts.binary("flannel-cni" if folder == CNI_BIN and name == "flannel" else name)
            _link(source, folder / name)
    _install_scripts()


def _install_scripts() -> None:
    for name in ("node-service", node.SNAPSHOTS):
        _link(HERE / f"{name}.sh", BIN / name, copy=True)


def _link(source: Path, target: Path, *, copy: bool = False) -> None:
    target.unlink(missing_ok=True)
    if not copy:
        try:
            os.link(source, target)
        except OSError:  # another disk
            copy = True
    if copy:
        shutil.copy2(source, target)
    target.chmod(0o755)


def _control_plane_settings(etcd_tag: str) -> None:
    """What kubeadm and the API servers read, on each control-plane node."""
    encryption = render("config/encryption.yaml", key=base64.b64encode(secrets.token_bytes(32)).decode())
    for each_node in CONTROL_PLANE:
        folder = each_node.kubernetes
        write(
            folder / "kubeadm.yaml",
            render(
                "config/kubeadm.yaml",
                name=each_node.name,
                address=each_node.address,
                addresses=", ".join(other.address for other in CONTROL_PLANE),
                bridge=BRIDGE_ADDRESS,
                port=API_PORT,
                cluster=NAME,
                cluster_domain=CLUSTER_DOMAIN,
                endpoint=f"{BRIDGE_ADDRESS}:{API_PORT}",
                etcd_cluster=",".join(f"{other.name}=https://{other.address}:2380" for other in CONTROL_PLANE),
                etcd_version=etcd_tag,
                kubernetes_version=KUBERNETES_VERSION,
                repository=IMAGE_REPOSITORY,
                pod_network=POD_NETWORK,
                service_network=SERVICE_NETWORK,
            ),
        )
        write(folder / "encryption/config.yaml", encryption, 0o600)
        write(folder / "audit/policy.yaml", render("config/audit-policy.yaml"))
        shutil.copytree(HERE / "config/patches", folder / "patches", dirs_exist_ok=True)


def _boot(each_node: Node) -> None:
    node.boot(each_node)
    node.start_service(each_node, "sshd")
    node.start_service(each_node, "containerd")
    node.wait_for_containerd(each_node)


SHARED_KEYS = (
    *(f"{name}.{kind}" for name in ("ca", "front-proxy-ca", "etcd/ca") for kind in ("crt", "key")),
    *("sa.key", "sa.pub"),
)


def _kubeadm() -> None:
    """kubeadm's own phases, in each control-plane node; the second and third share the first one's authorities."""
    _phases(FIRST, "certs all")
    for other in CONTROL_PLANE[1:]:
        for name in SHARED_KEYS:
            target = other.kubernetes / "pki" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(FIRST.kubernetes / "pki" / name, target)
    each(CONTROL_PLANE[1:], lambda each_node: _phases(each_node, "certs all"))
    each(
        CONTROL_PLANE,
        lambda each_node: _phases(
            each_node,
            *("kubeconfig admin", "kubeconfig super-admin", "kubeconfig controller-manager", "kubeconfig scheduler"),
            *("etcd local", "control-plane all"),
        ),
    )


def _phases(each_node: Node, *phases: str) -> None:
    script = " && ".join(f"kubeadm init phase {phase} --config /etc/kubernetes/kubeadm.yaml" for phase in phases)
    node.enter(each_node, "sh", "-c", script)


def _credentials() -> None:
    """The kubelets' certificates, and the operator's kubeconfig."""
    authority = pki.Authority(FIRST.kubernetes / "pki/ca.crt", FIRST.kubernetes / "pki/ca.key")
    for each_node in NODES:
        folder = each_node.root / "var/lib/kubelet/pki"
        if not each_node.control_plane:
            write(each_node.kubernetes / "pki/ca.crt", authority.certificate.read_text())
        client = pki.issue(authority, f"system:node:{each_node.name}", ("system:nodes",))
        write(folder / "kubelet-client-current.pem", client.certificate + client.key, 0o600)
        pki.write_kubeconfig(
            each_node.kubernetes / "kubelet.conf",
            authority,
            f"system:node:{each_node.name}",
            "/var/lib/kubelet/pki/kubelet-client-current.pem",
        )
        serving = pki.issue(authority, each_node.name, serving=(each_node.name, each_node.address))
        write(folder / "kubelet.crt", serving.certificate)
        write(folder / "kubelet.key", serving.key, 0o600)
    operator = pki.issue(authority, "finbot-lab-operator", ("kubeadm:cluster-admins",))
    write(api.OPERATOR, operator.certificate + operator.key, 0o600)
    pki.write_kubeconfig(KUBECONFIG, authority, "finbot-lab-operator", operator)


def _wait_for_api(address: str) -> None:
    wait_until(
        lambda: api.is_ready(address),
        API_TIMEOUT_S,
        f"the API server at {address}",
        interval_s=0.3,
        hint=f"See {FIRST.root}/var/log/pods and {FIRST.log}/kubelet.log; `verify lab down` and `up` make it anew.",
    )


def _apply_manifests(loaded: dict[str, images.Image]) -> None:
    values = {name.replace("-", "_"): image.ref for name, image in loaded.items()}
    text = "\n---\n".join(
        render(
            f"manifests/{name}",
            **values,
            bridge=BRIDGE_ADDRESS,
            port=API_PORT,
            endpoint=ENDPOINT,
            pod_network=POD_NETWORK,
            service_network=SERVICE_NETWORK,
            cluster_dns=CLUSTER_DNS,
            cluster_domain=CLUSTER_DOMAIN,
        )
        for name in MANIFESTS
    )
    # Until the first binding exists, only kubeadm's super-admin may bind.
    for config in (FIRST.kubernetes / "super-admin.conf", KUBECONFIG):
        manifest = render("manifests/00-access.yaml") if config != KUBECONFIG else text
        kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest, kubeconfig=config)


def kubectl(*arguments: str, stdin: str | None = None, kubeconfig: Path = KUBECONFIG) -> str:
    """The lab's own kubectl, with the operator's credential."""
    return run(
        BIN / "kubectl",
        *("--kubeconfig", str(kubeconfig), *arguments),
        stdin=stdin,
        env={"PATH": SYSTEM_PATH, "HOME": str(STATE)},
    )


def _wait_for_nodes(*, label: bool, heard_since: Mapping[str, datetime] | None = None) -> None:
    """Wait until all nodes are Ready. `heard_since`: what is known of a node from before that time does not count."""
    labelled: set[str] = set() if label else {each_node.name for each_node in NODES}

    def ready() -> tuple[bool | None, str]:
        try:
            registered = {item["metadata"]["name"] for item in api.get("/api/v1/nodes")["items"]}
            for each_node in NODES:
                if each_node.name in registered - labelled:
                    _label(each_node)
                    labelled.add(each_node.name)
            late = api.nodes_not_ready({each_node.name for each_node in NODES})
            if heard_since:
                heard = api.heartbeats()
                late += [f"{name} (not heard of yet)" for name, since in heard_since.items() if heard[name] < since]
        except api.UnansweredError as error:
            return None, str(error)
        return (None, ", ".join(late)) if late else (True, "")

    wait_until(
        ready,
        NODES_TIMEOUT_S,
        "six Ready nodes",
        interval_s=0.5,
        hint=f"Look at kubelet.log and containerd.log in {STATE}/nodes/NODE/root/var/log/node.",
    )


def _label(each_node: Node) -> None:
    """Roles, which a kubelet may not give itself."""
    key = f"node-role.kubernetes.io/{each_node.role}"
    api.request("PATCH", f"/api/v1/nodes/{each_node.name}", {"metadata": {"labels": {key: ""}}})


def _apply_layers(progress: Progress) -> None:
    with progress.step("layers: namespaces, quotas, access, observability, OpenReports, storage, PostgreSQL"):
        layers.apply(progress.say)


def _wait_for_workloads(started_since: Mapping[str, datetime]) -> None:
    def ready() -> tuple[bool | None, str]:
        try:
            late = api.workloads_not_ready(started_since)
        except api.UnansweredError as error:
            return None, str(error)
        return (None, ", ".join(late)) if late else (True, "")

    wait_until(
        ready,
        WORKLOADS_TIMEOUT_S,
        "all workloads to be ready",
        interval_s=0.5,
        hint=f"`{BIN}/kubectl --kubeconfig {KUBECONFIG} get pods -A` shows which pods are late and why.",
    )


# --- repaired -----------------------------------------------------------------------------------------------------


def _repair(progress: Progress) -> None:
    """Bring back what does not run; nothing else is touched."""
    # With its cable a node loses the pod network on top of it; starting it again is simpler than mending that.
    began = datetime.now(UTC).replace(microsecond=0)  # container times have whole seconds
    _install_scripts()  # a lab from before one of them was there
    if not (BIN / "weed").exists():
        _link(build.build(["weed"], progress.say).binary("weed"), BIN / "weed")
    dead = [n for n in NODES if node.process_1(n) is None or not network.plugged_in(n)]
    if dead:
        machine.tune()
        with progress.step(f"nodes started again on their disks: {', '.join(n.name for n in dead)}"):
            network.create_bridge()
            each(dead, _revive)
    mended = network.raise_links(NODES)
    if mended:
        progress.say(f"cables put back on the bridge: {', '.join(mended)}")
    for each_node in NODES:
        for service in node.wanted_services(each_node):
            if service not in node.services(each_node):
                with progress.step(f"{each_node.name}: {service} started again"):
                    node.start_service(each_node, service)
    started = endpoint.ensure()
    if started:
        progress.say(f"started again: {', '.join(started)}")
    quiet = [n.name for n in NODES if not node.answers_ssh(n)]
    if quiet:
        each([n for n in NODES if n.name in quiet], node.wait_for_ssh)
    for address in (*(each_node.address for each_node in CONTROL_PLANE), BRIDGE_ADDRESS):
        _wait_for_api(address)
    revived = {n.name: began for n in dead}
    _wait_for_nodes(label=False, heard_since=revived)
    if not layers.applied():
        if COMPLETE.read_text() != recipe():
            raise LabError("This lab was made from another version of its recipe; `verify lab down` and `up` renew it.")
        _apply_layers(progress)
    _wait_for_workloads(revived)
    if COMPLETE.read_text() != recipe():
        progress.say("This lab was made from another version of its recipe; `verify lab down` and `up` renew it.")
    progress.done(f"The lab is up: export KUBECONFIG={KUBECONFIG}")


def _revive(each_node: Node) -> None:
    """Start a node whose process 1 ended, as a machine starts after a power cut: same disk, empty /run."""
    group = node_group(each_node.name)
    if group.exists():
        group.end()
        group.remove()
    _boot(each_node)
    node.start_service(each_node, "kubelet")


def recipe() -> str:
    """Digest of what a lab is made from: pins, settings, manifests, scripts.

    Changed layers are applied to a running lab, a changed recipe is only told.
    """
    digest = hashlib.sha256(repr(images.RECIPES).encode())
    for path in (HERE / "components.toml", *HERE.glob("*.sh"), *HERE.glob("config/**/*"), *HERE.glob("manifests/*")):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
