"""A Redis cluster: what each member says of itself and of the others, whether reads find their keys, a master lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from policies.facts.base import Fact, Unseen
from policies.facts.control_plane import Event

MASTER: Final = "master"
REPLICA: Final = "replica"


class Peer(Struct, frozen=True):
    """A member of the cluster as one member sees it: a line of its CLUSTER NODES."""

    id: str
    name: str
    """The pod at that address; the address itself where no pod has it."""
    role: str
    """``master`` or ``replica``."""
    master: str = ""
    """Id of the master that a replica follows."""
    slots: tuple[tuple[int, int], ...] = ()
    """First and last of each range of hash slots."""
    flags: tuple[str, ...] = ()
    """What is wrong with it in that member's eyes: ``fail``, ``fail?``, ``handshake``, ``noaddr``."""

    @property
    def failed(self) -> bool:
        """Whether the majority has agreed that it is gone, or it never got in."""
        return bool({"fail", "noaddr", "handshake"} & set(self.flags))


class MemberView(Struct, frozen=True):
    """What a member answered when it was asked itself."""

    id: str
    role: str
    """``master`` or ``replica``, by its INFO."""
    peers: tuple[Peer, ...]
    """Everyone it knows, itself among them."""
    link_up: bool = False
    """Of a replica: whether its connection to the master stands and its data is that of the master."""
    may_be_promoted: bool = True
    """Of a replica: whether it is allowed to stand for election (``cluster-replica-no-failover no``)."""
    append_only: bool = False
    """``appendonly`` as in force now."""
    append_status: str = ""
    """How the last write to the append-only file went: ``ok`` or ``err``."""
    rewrite_status: str = ""
    """How the last rewrite of that file went."""
    folder: str = ""
    """Where its data lies."""
    node_timeout_s: float = 0.0

    @property
    def myself(self) -> Peer | None:
        """Its own line."""
        return next((peer for peer in self.peers if peer.id == self.id), None)


class Member(Struct, frozen=True):
    """One pod of the StatefulSet."""

    name: str
    node: str
    ready: bool
    volume: str = ""
    """The PersistentVolumeClaim that is mounted where its data lies; empty where there is none."""
    view: MemberView | None = None
    unseen: Unseen | None = None
    """Why it gave no answer; set where ``view`` is not."""


class RedisCluster(Fact, frozen=True):
    """All members of the cluster, each asked itself, over TLS, from a pod beside them."""

    namespace: str
    statefulset: str
    declared: int
    """Members that the StatefulSet should have."""
    members: tuple[Member, ...]

    def seen(self) -> Iterator[tuple[Member, MemberView]]:
        """The members that answered."""
        for member in self.members:
            if member.view is not None:
                yield member, member.view

    def unseen(self) -> Iterator[Unseen]:
        """Why the others did not."""
        for member in self.members:
            if member.view is None and member.unseen is not None:
                yield member.unseen


class Reads(Struct, frozen=True):
    """Reads of keys, by whether the key was there."""

    hits: int
    misses: int

    @property
    def all(self) -> int:
        """How many there were."""
        return self.hits + self.misses


class RedisReads(Fact, frozen=True):
    """What the members' own counters (``keyspace_hits``, ``keyspace_misses``) gained over a time.

    First they are only watched: what they gain then is the applications' traffic. Where that is too little to say
    anything, the verifier makes a load of its own, as an application with the cache beside its database would: objects
    are asked for by Zipf's law, and one that is not there is put there. It begins with none of them there.
    """

    watched_s: float
    applications: Reads
    """While it was only watched."""
    enough: int
    """Fewer reads than this say nothing."""
    load_s: float = 0.0
    """How long the verifier's load ran; 0 where none was needed."""
    own: Reads = Reads(0, 0)
    """The load's own reads, by the answers it got."""
    counted: Reads = Reads(0, 0)
    """What the counters gained meanwhile, whoever read."""
    objects: int = 0
    object_bytes: int = 0
    evicted: int = 0
    """Keys that members threw out for want of memory while the load ran."""
    refused: int = 0
    """Objects of the load that could not be stored."""
    unseen: tuple[Unseen, ...] = ()


class SessionWrite(Struct, frozen=True):
    """One session stored: sent and answered in seconds since the observation started.

    Acknowledged: Redis has answered OK, which it does before the replica has the write.
    """

    number: int
    shard: str
    """The member that was the shard's master at the start."""
    sent: float
    answered: float
    acknowledged: bool


class Shard(Struct, frozen=True):
    """A master with its replicas, and the hash slots that are theirs."""

    master: str
    """Before the fault; it names the shard."""
    slots: int
    master_after: str = ""
    """While the fault stood, after writes had come back."""
    master_at_the_end: str = ""


class RedisFailover(Fact, frozen=True):
    """One master killed while sessions were written to every shard every ``interval_s``, and kept down for a while.

    Its pod may not come back before writes have, else a quick restart would be all that is seen. Times are seconds on
    the writing pod's clock since the writer started; ``seen_at`` is its end, UTC.
    """

    member: str
    """The master that was killed."""
    node: str
    fault: str
    proof: str
    """How the fault was proved to have happened; empty where it was not proved."""
    injected_at: float
    undone_at: float
    ended_at: float
    interval_s: float
    """How finely it is seen: each shard gets a write in this time, and who is its master is asked as often."""
    timers: dict[str, float]
    """The system's own times in seconds, by the name of the setting."""
    shards: tuple[Shard, ...]
    writes: tuple[SessionWrite, ...]
    read_back: tuple[int, ...]
    """Numbers of the acknowledged sessions that were there afterwards, with the value that was written."""
    held: tuple[int, ...]
    """Those of its own shard that the killed member itself, started again, holds at the end."""
    back: bool = False
    """Whether the killed member was seen as a member in order again."""
    events: tuple[Event, ...] = ()
    cut_short: Unseen | None = None
    """Set where the fault was undone before its time: what is seen can then be a violation, and never a pass."""

    def writes_of(self, shard: str) -> tuple[SessionWrite, ...]:
        """The sessions of one shard."""
        return tuple(write for write in self.writes if write.shard == shard)
