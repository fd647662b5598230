"""A PostgreSQL cluster of CloudNativePG: its instances by their own word, its replicas under load, its Services.

What an instance says of itself is SQL at the pod's own address, so that nothing stands between it and the answer.
Sources: PostgreSQL's ``pg_stat_replication``, ``pg_stat_wal_receiver``, ``pg_replication_slots`` and ``pg_settings``;
CloudNativePG's API reference, ``postgresql.cnpg.io/v1``.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from policies.facts.base import Fact, Unseen


class Standby(Struct, frozen=True):
    """One that receives WAL from an instance, as that instance has it in ``pg_stat_replication``."""

    name: str
    """``application_name``; of CloudNativePG's replicas the name of the instance."""
    state: str
    """``streaming``, or what comes before it: ``startup``, ``catchup``, ``backup``."""
    sync_state: str
    """``quorum`` or ``sync`` where it may confirm commits, ``potential`` or ``async`` otherwise."""


class Receiver(Struct, frozen=True):
    """How an instance receives WAL, as it has it in ``pg_stat_wal_receiver``."""

    status: str
    sender_host: str
    slot: str
    timeline: int


class Slot(Struct, frozen=True):
    """A replication slot. ``retained_bytes`` is the WAL that it keeps from being removed; None where it keeps none."""

    name: str
    kind: Literal["physical", "logical"]
    active: bool
    """Whether somebody received from it at any time while it was watched."""
    retained_bytes: int | None
    wal_status: str


class InstanceView(Struct, frozen=True):
    """What an instance answers at its own address."""

    in_recovery: bool
    replay_paused: bool
    standby_names: str
    """``synchronous_standby_names`` in force; empty means that no commit waits for a standby."""
    synchronous_commit: str
    overrides: tuple[str, ...]
    """Who has another ``synchronous_commit``, as ``role finbot: off``."""
    standbys: tuple[Standby, ...]
    receiver: Receiver | None
    slots: tuple[Slot, ...]


class Instance(Struct, frozen=True):
    """An instance: what Kubernetes says of its pod, and what PostgreSQL in it says."""

    name: str
    node: str
    address: str
    role: str
    """CloudNativePG's label on the pod: ``primary`` or ``replica``; Services select by it."""
    ready: bool
    view: InstanceView | None = None
    unseen: Unseen | None = None
    """Why it has no view; unreachable where nobody answers there."""

    @property
    def answers(self) -> InstanceView | None:
        """The view, where it was seen."""
        return self.view if self.unseen is None else None


class Postgres(Fact, frozen=True):
    """The cluster at one moment. What its custom resource says is told beside what was seen, and never judged alone."""

    namespace: str
    cluster: str
    declared: int
    """``spec.instances``."""
    phase: str
    ready_instances: int
    """``status.readyInstances``: what the custom resource says."""
    current_primary: str
    instances: tuple[Instance, ...]
    slots_watched_s: float
    """How long a slot that nobody received from was watched before it was called inactive."""


class ReplicaLag(Struct, frozen=True):
    """How far one replica was behind."""

    replica: str
    seconds: tuple[float, ...] = ()
    """For each beat: from its commit's acknowledgement to when the replica showed it, at most ``poll_s`` too much; for
    one that it never showed, to the end of watching."""
    never: int = 0
    """Beats that it never showed."""
    bytes: tuple[int, ...] = ()
    """For each sample: WAL that the primary had written and the replica had not replayed."""
    streamed: int = 0
    """Samples in which the primary had it in ``pg_stat_replication``."""
    unseen: Unseen | None = None


class ReplicationLag(Fact, frozen=True):
    """Every replica while a bounded load was written through the read-write Service, all on one clock."""

    namespace: str
    cluster: str
    service: str
    primary: str
    beats: int
    """Transactions of the load; each is a beat that a replica must show."""
    beat_every_s: float
    rows_per_beat: int
    row_bytes: int
    poll_s: float
    """How often each replica was asked for the newest beat, and how often the primary for positions."""
    committed: int
    """Beats that were committed."""
    lasted_s: float
    wal_bytes: int
    """WAL that was written meanwhile."""
    slowest_commit_s: float
    replicas: tuple[ReplicaLag, ...]
    unseen: Unseen | None = None
    """Why the load was not written in full."""


class Route(Struct, frozen=True):
    """Connections through one Service that ended at one address."""

    address: str
    in_recovery: bool
    connections: int


class ServiceRoutes(Struct, frozen=True):
    """Where new connections through one Service ended."""

    service: str
    tried: int
    routes: tuple[Route, ...]
    failures: dict[str, int]
    """Connections without an answer, by what they failed with."""


class DatabaseServices(Fact, frozen=True):
    """Where connections through the cluster's Services end, each a new one."""

    read_only: ServiceRoutes
    read_write: ServiceRoutes
