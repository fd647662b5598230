"""Names, addresses and folders of the lab: everything that other modules, targets and people refer to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

NAME = "finbot-lab"
"""Cluster, kubeconfig context, and top of the lab's cgroups."""

HERE = Path(__file__).resolve().parent
BOOTSTRAP = HERE.parent

STATE = Path("/var/lib/finbot-lab")
"""All that a running lab keeps; ``verify lab down`` removes it."""

BRIDGE = "finbot0"
BRIDGE_ADDRESS = "10.231.0.1"
NODE_NETWORK = "10.231.0.0/24"
POD_NETWORK = "10.244.0.0/16"
SERVICE_NETWORK = "10.96.0.0/16"
CLUSTER_DNS = "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"
API_PORT = 6443
ENDPOINT = f"https://{BRIDGE_ADDRESS}:{API_PORT}"

KUBERNETES_VERSION = "v1.36.3"
ETCD_VERSION = "3.6.16"
IMAGE_REPOSITORY = "lab.local"


@dataclass(frozen=True)
class Node:
    """One machine of the lab. ``number`` is the last octet of its address on the bridge."""

    name: str
    number: int
    role: Literal["control-plane", "worker"]

    @property
    def address(self) -> str:
        return f"10.231.0.{self.number}"

    @property
    def control_plane(self) -> bool:
        return self.role == "control-plane"

    @property
    def folder(self) -> Path:
        """The node's disk, as the machine sees it."""
        return STATE / "nodes" / self.name

    @property
    def root(self) -> Path:
        """The node's root folder; /etc, /usr, /run, /proc, /sys and /dev are mounted over it inside the node."""
        return self.folder / "root"

    @property
    def kubernetes(self) -> Path:
        """The node's /etc/kubernetes."""
        return self.folder / "kubernetes"

    @property
    def log(self) -> Path:
        """Logs of the node's own services; the node's /var/log/node."""
        return self.root / "var/log/node"

    @property
    def link(self) -> str:
        """The bridge's end of the node's cable."""
        return f"finbot-{self.name}"


NODES = (
    *(Node(f"cp{n}", 10 + n, "control-plane") for n in (1, 2, 3)),
    *(Node(f"w{n}", 20 + n, "worker") for n in (1, 2, 3)),
)
CONTROL_PLANE = tuple(node for node in NODES if node.control_plane)
FIRST = NODES[0]
BY_NAME = {node.name: node for node in NODES}

KUBECONFIG = STATE / "kubeconfig"
BIN = STATE / "bin"
"""The pinned binaries of the running lab; inside a node it is /usr/local/bin."""
CNI_BIN = STATE / "cni-bin"
SSH = STATE / "ssh"
SSH_KEY = SSH / "id_ed25519"
KNOWN_HOSTS = SSH / "known_hosts"
HOST = STATE / "host"
"""What runs on the machine itself: the API endpoint and the company resolver."""
COMPLETE = STATE / "complete"
"""Written when the cluster was first Ready; a state folder without it is the rest of an unfinished start."""
LAYERS_APPLIED = STATE / "layers-applied"


def cache() -> Path:
    """Where built things outlive the lab and the checkout."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / NAME
