"""One node: its disk, its process 1, its cable, and the services that run in it."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

from bootstrap.lab import network
from bootstrap.lab.cgroups import Cgroup, node_group, node_services
from bootstrap.lab.commands import SYSTEM_PATH, run, start
from bootstrap.lab.errors import LabError
from bootstrap.lab.layout import (
    BIN,
    BRIDGE_ADDRESS,
    CLUSTER_DNS,
    CLUSTER_DOMAIN,
    HERE,
    NAME,
    NODES,
    SSH,
    SSH_KEY,
    Node,
)
from bootstrap.lab.templates import render, write
from bootstrap.lab.waiting import wait_until

SERVICES = ("containerd", "kubelet", "sshd")
SNAPSHOTS = "etcd-snapshots"
"""A service of control-plane nodes only, also by the name of its program in BIN."""
REAPER = "pause"
"""Name of process 1 once the node is built; it only collects ended processes."""
BOOT_TIMEOUT_S = 20.0
CONTAINERD_TIMEOUT_S = 60.0
SSH_TIMEOUT_S = 20.0
PORT_TIMEOUT_S = 1.0


def init_group(node: Node) -> Cgroup:
    return Cgroup(f"{node_group(node.name).name}/init")


def process_1(node: Node) -> int | None:
    """Pid of the node's process 1 on this machine, None where the node is not running."""
    return init_group(node).processes().get(REAPER)


def prepare(node: Node, pause_image: str) -> None:
    """Lay down the node's disk: its own /etc and what its services read. Needs the SSH keys (`ssh_keys`)."""
    etc = node.folder / "etc"
    for path in (node.root, etc, node.folder / "etc-work", node.kubernetes, node.log):
        path.mkdir(parents=True, exist_ok=True)
    for name in ("ssh", "kubernetes", "cni", "containerd"):
        # Opaque: whatever the machine has there, the node does not see it.
        (etc / name).mkdir(exist_ok=True)
        os.setxattr(etc / name, "trusted.overlay.opaque", b"y")
    (etc / "cni/net.d").mkdir(parents=True, exist_ok=True)
    hosts = "".join(f"{other.address} {other.name}\n" for other in NODES)
    write(etc / "hostname", f"{node.name}\n")
    write(etc / "hosts", f"127.0.0.1 localhost\n::1 localhost\n{BRIDGE_ADDRESS} endpoint\n{hosts}")
    write(etc / "resolv.conf", f"nameserver {BRIDGE_ADDRESS}\n")
    write(etc / "machine-id", f"{secrets.token_hex(16)}\n", 0o444)
    write(etc / "shadow", "root:*:19000:0:99999:7:::\n", 0o640)  # no password, and not locked for keys
    write(etc / "containerd/config.toml", render("config/containerd.toml", pause=pause_image))
    write(etc / "ssh/sshd_config", render("config/sshd_config", address=node.address))
    write(etc / "ssh/ssh_host_ed25519_key", (SSH / f"host-{node.name}").read_text(), 0o600)
    write(etc / "default/kubelet", "KUBELET_EXTRA_ARGS=\n")
    write(node.root / "root/.ssh/authorized_keys", SSH_KEY.with_suffix(".pub").read_text(), 0o600)
    (node.root / "root").chmod(0o700)
    (node.root / "root/.ssh").chmod(0o700)
    static_pods = "staticPodPath: /etc/kubernetes/manifests"
    taints = "registerWithTaints: [{key: node-role.kubernetes.io/control-plane, effect: NoSchedule}]"
    write(
        node.root / "var/lib/kubelet/config.yaml",
        render(
            "config/kubelet.yaml",
            address=node.address,
            cluster_dns=CLUSTER_DNS,
            cluster_domain=CLUSTER_DOMAIN,
            cgroup=f"{NAME}/{node.name}",
            static_pods=f"{static_pods}\n{taints}" if node.control_plane else "# a worker runs no static pods",
        ),
    )


def ssh_keys() -> None:
    """The operator's key pair, a host key a node, and the known_hosts that goes with them; kept where they exist."""
    SSH.mkdir(parents=True, exist_ok=True, mode=0o700)
    wanted = {SSH_KEY: "verify@finbot-lab", **{SSH / f"host-{node.name}": node.name for node in NODES}}
    for path, comment in wanted.items():
        if not path.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path)
    lines = []
    for node in NODES:
        kind, key, *_ = (SSH / f"host-{node.name}.pub").read_text().split()
        lines.append(f"{node.address},{node.name} {kind} {key}\n")
    write(SSH / "known_hosts", "".join(lines))


def boot(node: Node) -> None:
    """Start the node's process 1 and plug its cable in."""
    group = init_group(node)
    group.create()
    node_services(node.name).create()
    start(
        (
            *("unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork"),
            *(HERE / "node-init.sh", node.name, node.folder, BIN, f"/usr/local/bin/{REAPER}"),
        ),
        group,
        node.folder / "boot.log",
    )

    def up() -> tuple[int | None, str]:
        return process_1(node), ", ".join(group.processes()) or "no process"

    pid = wait_until(
        up, BOOT_TIMEOUT_S, f"process 1 of {node.name}", interval_s=0.05, hint=f"See {node.folder / 'boot.log'}."
    )
    network.connect(node, pid)


def enter(node: Node, *argv: str | Path, stdin: str | None = None, check: bool = True, timeout_s: float = 120) -> str:
    """Run a program inside the node and return its output."""
    pid = process_1(node)
    if pid is None:
        raise LabError(f"Node {node.name} is not running; `verify lab up` starts it again.")
    return run(
        *("nsenter", "-t", str(pid), "-m", "-n", "-p", "-u", "-i", "--", "env", "-i", f"PATH={SYSTEM_PATH}"),
        *("LANG=C.UTF-8", "HOME=/root", *argv),
        stdin=stdin,
        check=check,
        timeout_s=timeout_s,
    )


def services(node: Node) -> dict[str, int]:
    """The node's services that run: name to pid on this machine."""
    found = node_services(node.name).processes()
    return {name: found[name] for name in wanted_services(node) if name in found}


def wanted_services(node: Node) -> tuple[str, ...]:
    """Names of the services that belong on the node."""
    return (*SERVICES, SNAPSHOTS) if node.control_plane else SERVICES


def start_service(node: Node, service: str) -> None:
    """Start a service of the node; nothing where it runs."""
    enter(node, "node-service", "start", service)


def containers(node: Node) -> int:
    """How many containers run in the node, sandboxes included."""
    top = Cgroup(f"{node_group(node.name).name}/kubepods").path("memory")
    return sum(1 for procs in top.rglob("cgroup.procs") if procs.read_text().strip())


def wait_for_containerd(node: Node) -> None:
    def answers() -> tuple[bool | None, str]:
        said = enter(node, "ctr", "--connect-timeout", "1s", "version", check=False)
        return (True if "Server:" in said else None), said.strip().splitlines()[-1] if said.strip() else "no answer"

    log = node.log / "containerd.log"
    wait_until(answers, CONTAINERD_TIMEOUT_S, f"containerd of {node.name}", interval_s=0.2, hint=f"See {log}.")


def answers_ssh(node: Node) -> bool:
    """Whether the node's sshd greets on port 22."""
    try:
        with socket.create_connection((node.address, 22), timeout=PORT_TIMEOUT_S) as connection:
            connection.settimeout(PORT_TIMEOUT_S)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def wait_for_ssh(node: Node) -> None:
    def greets() -> tuple[bool | None, str]:
        return (True if answers_ssh(node) else None), f"no greeting from {node.address}:22"

    wait_until(greets, SSH_TIMEOUT_S, f"sshd of {node.name}", interval_s=0.1, hint=f"See {node.log / 'sshd.log'}.")
