"""What only the node itself knows, read over SSH: certificates, etcd, the kubelet, links, the clock."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from policies.facts.base import Fact, Unseen


class Certificate(Struct, frozen=True):
    """One X.509 certificate on disk (PEM files, and those inside kubeconfig files)."""

    path: str
    subject: str
    not_after: datetime


class EtcdMember(Struct, frozen=True):
    """A member as the cluster lists it, and whether its client address answered /health."""

    id: str
    name: str
    """Empty until the member has started once."""
    learner: bool
    healthy: bool
    detail: str = ""
    """What /health said where it was not well."""


class EtcdView(Struct, frozen=True):
    """etcd as the member on this node sees it."""

    member_id: str
    leader_id: str
    """The member this one follows; "0" or "" while there is none."""
    members: tuple[EtcdMember, ...]
    alarms: tuple[str, ...]
    """``<member id>: NOSPACE`` and the like."""


class KubeletView(Struct, frozen=True):
    """The running kubelet's effective authentication (its config file under its command line)."""

    anonymous: bool
    authorization_mode: str
    read_only_port: int = 0


class Link(Struct, frozen=True):
    """A network interface. ``kind`` is the kernel's (veth, bridge, vxlan, or "" for hardware)."""

    name: str
    kind: str
    mtu: int


class NodeView(Struct, frozen=True):
    """One node. ``unseen`` is set where SSH or a command failed; the other fields then mean nothing.

    ``etcd_unseen`` and ``kubelet_unseen`` are set where only that part could not be read.
    """

    name: str
    address: str
    control_plane: bool
    unseen: Unseen | None = None
    clock_offset_s: float = 0.0
    """This node's clock minus the verifying machine's, in seconds, within half the round trip."""
    certificates: tuple[Certificate, ...] = ()
    certificates_unseen: Unseen | None = None
    etcd: EtcdView | None = None
    """None on nodes that carry no etcd."""
    etcd_unseen: Unseen | None = None
    kubelet: KubeletView | None = None
    kubelet_unseen: Unseen | None = None
    uplink: str = ""
    """Interface that carries the node's InternalIP."""
    links: tuple[Link, ...] = ()


class Nodes(Fact, frozen=True):
    """All nodes of the snapshot, each looked at over SSH."""

    nodes: tuple[NodeView, ...]
    unseen: Unseen | None = None
    """Set where there was no list of nodes to visit."""
