"""Kubernetes objects as the API sends them, cut down to the fields that a rule may need.

The structs decode the API's own JSON (msgspec skips every other field), so what is stored as evidence is an allow-list
by construction: no annotation, no environment variable and no Secret can enter. Field names are the API's, in snake
case. Source: Kubernetes API reference, v1.
"""

from __future__ import annotations

from msgspec import Struct, field

from policies.facts.base import Fact, Listing


class Wire(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Base of everything decoded from the API."""


class OwnerReference(Wire, frozen=True):
    kind: str = ""
    name: str = ""


class Meta(Wire, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] | None = None
    owner_references: tuple[OwnerReference, ...] | None = None
    deletion_timestamp: str = ""
    """Set where it is being deleted."""


class Condition(Wire, frozen=True):
    type: str = ""
    status: str = ""
    reason: str = ""


# --- nodes


class Taint(Wire, frozen=True):
    key: str = ""
    effect: str = ""


class NodeSpec(Wire, frozen=True):
    pod_cidr: str = field(default="", name="podCIDR")
    pod_cidrs: tuple[str, ...] | None = field(default=None, name="podCIDRs")
    unschedulable: bool = False
    taints: tuple[Taint, ...] | None = None


class NodeAddress(Wire, frozen=True):
    type: str = ""
    address: str = ""


class NodeSystemInfo(Wire, frozen=True):
    kubelet_version: str = ""


class NodeStatus(Wire, frozen=True):
    conditions: tuple[Condition, ...] | None = None
    addresses: tuple[NodeAddress, ...] | None = None
    node_info: NodeSystemInfo = NodeSystemInfo()


class Node(Wire, frozen=True):
    metadata: Meta
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def ready(self) -> bool:
        """True when the Ready condition is "True"; "Unknown" (no heartbeat) is not ready."""
        return self.condition("Ready") == "True"

    @property
    def control_plane(self) -> bool:
        """True for a node that carries kubeadm's control-plane role label."""
        return "node-role.kubernetes.io/control-plane" in (self.metadata.labels or {})

    @property
    def internal_ip(self) -> str:
        """The node's InternalIP, or "" where it reports none."""
        return next((a.address for a in self.status.addresses or () if a.type == "InternalIP"), "")

    def condition(self, kind: str) -> str:
        """Status of one condition: "True", "False", "Unknown", or "" where the node reports no such condition."""
        return next((c.status for c in self.status.conditions or () if c.type == kind), "")


# --- pods


class ResourceRequirements(Wire, frozen=True):
    requests: dict[str, str] | None = None
    limits: dict[str, str] | None = None


class Container(Wire, frozen=True):
    name: str = ""
    image: str = ""
    resources: ResourceRequirements = ResourceRequirements()
    restart_policy: str = ""


class SchedulingGate(Wire, frozen=True):
    name: str = ""


class PodSpec(Wire, frozen=True):
    node_name: str = ""
    service_account_name: str = ""
    automount_service_account_token: bool | None = None
    host_network: bool = False
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] | None = None
    scheduling_gates: tuple[SchedulingGate, ...] | None = None


class ContainerStatus(Wire, frozen=True):
    name: str = ""
    ready: bool = False
    restart_count: int = 0
    container_id: str = field(default="", name="containerID")


class PodStatus(Wire, frozen=True):
    phase: str = ""
    pod_ip: str = field(default="", name="podIP")
    conditions: tuple[Condition, ...] | None = None
    container_statuses: tuple[ContainerStatus, ...] | None = None


class Pod(Wire, frozen=True):
    metadata: Meta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ready(self) -> bool:
        """True when the pod's Ready condition is "True"."""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions or ())

    @property
    def static(self) -> bool:
        """True for the mirror of a static pod: its owner is the node itself."""
        return any(o.kind == "Node" for o in self.metadata.owner_references or ())


# --- namespaces and their fences


class Namespace(Wire, frozen=True):
    metadata: Meta


class ResourceQuotaSpec(Wire, frozen=True):
    hard: dict[str, str] | None = None


class ResourceQuotaStatus(Wire, frozen=True):
    hard: dict[str, str] | None = None
    used: dict[str, str] | None = None


class ResourceQuota(Wire, frozen=True):
    metadata: Meta
    spec: ResourceQuotaSpec = ResourceQuotaSpec()
    status: ResourceQuotaStatus = ResourceQuotaStatus()


class LimitRangeItem(Wire, frozen=True):
    type: str = ""
    default: dict[str, str] | None = None
    default_request: dict[str, str] | None = None


class LimitRangeSpec(Wire, frozen=True):
    limits: tuple[LimitRangeItem, ...] | None = None


class LimitRange(Wire, frozen=True):
    metadata: Meta
    spec: LimitRangeSpec = LimitRangeSpec()


# --- RBAC


class ServiceAccount(Wire, frozen=True):
    metadata: Meta
    automount_service_account_token: bool | None = None


class PolicyRule(Wire, frozen=True):
    verbs: tuple[str, ...] = ()
    api_groups: tuple[str, ...] | None = None
    resources: tuple[str, ...] | None = None
    resource_names: tuple[str, ...] | None = None
    non_resource_urls: tuple[str, ...] | None = field(default=None, name="nonResourceURLs")


class Role(Wire, frozen=True):
    """A Role; ``metadata.namespace`` is where it holds."""

    metadata: Meta
    rules: tuple[PolicyRule, ...] | None = None


class LabelSelectorRequirement(Wire, frozen=True):
    key: str = ""
    operator: str = ""
    values: tuple[str, ...] | None = None


class LabelSelector(Wire, frozen=True):
    match_labels: dict[str, str] | None = None
    match_expressions: tuple[LabelSelectorRequirement, ...] | None = None


class AggregationRule(Wire, frozen=True):
    cluster_role_selectors: tuple[LabelSelector, ...] | None = None


class ClusterRole(Wire, frozen=True):
    metadata: Meta
    rules: tuple[PolicyRule, ...] | None = None
    aggregation_rule: AggregationRule | None = None


class RoleRef(Wire, frozen=True):
    kind: str = ""
    name: str = ""


class Subject(Wire, frozen=True):
    kind: str = ""
    name: str = ""
    namespace: str = ""


class RoleBinding(Wire, frozen=True):
    """A RoleBinding, or (without a namespace) a ClusterRoleBinding."""

    metadata: Meta
    role_ref: RoleRef = RoleRef()
    subjects: tuple[Subject, ...] | None = None


# --- workloads


class DaemonSetStatus(Wire, frozen=True):
    desired_number_scheduled: int = 0
    number_ready: int = 0


class DaemonSet(Wire, frozen=True):
    metadata: Meta
    status: DaemonSetStatus = DaemonSetStatus()


# --- all of it at once


class Snapshot(Fact, frozen=True):
    """Every cluster-wide list that inspect rules read, taken once at the start of a run.

    A list that was refused or failed carries ``unseen``; a rule that needs it must say so and never treat it as empty.
    """

    server: str
    """The API endpoint asked, e.g. ``https://10.231.0.1:6443``."""
    version: str
    """The API server's gitVersion, e.g. ``v1.36.3``."""
    requests: int
    """List requests made (pages counted)."""
    nodes: Listing[Node]
    pods: Listing[Pod]
    namespaces: Listing[Namespace]
    resource_quotas: Listing[ResourceQuota]
    limit_ranges: Listing[LimitRange]
    service_accounts: Listing[ServiceAccount]
    roles: Listing[Role]
    cluster_roles: Listing[ClusterRole]
    role_bindings: Listing[RoleBinding]
    cluster_role_bindings: Listing[RoleBinding]
    daemon_sets: Listing[DaemonSet]
