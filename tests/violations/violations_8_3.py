"""Requirement 8.3 violated: shards without a replica or on one node, slots of nobody, memory that forgets."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from fixtures.waiting import NotYet
from tests.violations import redis_members as redis
from tests.violations.lab import Lab
from tests.violations.redis_members import cli, everywhere
from tests.violations.violation import violates
from tests.violations.violations_1_1 import during_the_fault

HIT_RATIO: Final = ("8.3", "hit-ratio")
LOST: Final = 1000  # slots; so many that every load asks for some of them

# --- masters and replicas


@violates("8.3", "topology", r"master redis-\d: no replica, a replica that follows it and may take over")
def two_replicas_for_one_master(lab: Lab) -> Iterator[None]:
    """A replica was given to the wrong master, which has two now, and another has none."""
    first, *others = redis.masters(lab)
    replica = redis.replica_of(lab, first)
    other = next(each for each in others if each.node != replica.node)
    try:
        cli(lab, replica.name, f"cluster replicate {other.id}")
        lab.until(lambda: redis.known(lab)[replica.name].master == other.id, f"{replica.name} to follow {other.name}")
        yield
    finally:
        cli(lab, replica.name, f"cluster replicate {first.id}")
        redis.healed(lab)


@violates("8.3", "topology", r"master redis-\d: redis-\d has no connection to it")
def password_of_a_replica_outdated(lab: Lab) -> Iterator[None]:
    """The password was changed, and one replica still shows its master the old one: its data is of yesterday."""
    master = redis.masters(lab)[1]
    replica = redis.replica_of(lab, master)
    try:
        cli(lab, replica.name, "config set masterauth outdated")
        cli(lab, master.name, "client kill type replica")
        down = "master_link_status:down"
        lab.until(lambda: down in cli(lab, replica.name, "info replication"), f"{replica.name} to be refused")
        yield
    finally:
        cli(lab, replica.name, 'config set masterauth "$REDISCLI_AUTH"')
        redis.healed(lab)


@violates("8.3", "topology", r"master redis-\d: redis-\d may not stand for election")
def replica_barred_from_election(lab: Lab) -> Iterator[None]:
    """A replica was barred from election for a maintenance, and that was never taken back."""
    replica = redis.replica_of(lab, redis.masters(lab)[2])
    try:
        cli(lab, replica.name, "config set cluster-replica-no-failover yes")
        yield
    finally:
        cli(lab, replica.name, "config set cluster-replica-no-failover no")


@violates("8.3", "topology", r"member redis-\d: redis-\d does not know it; redis-\d does not know it")
def replica_forgotten_by_the_others(lab: Lab) -> Iterator[None]:
    """Somebody who cleaned up made all members forget one that is well: it copies on, and will never be elected."""
    replica = redis.replica_of(lab, redis.masters(lab)[0])
    others = [name for name in redis.MEMBERS if name != replica.name]
    try:
        for name in others:
            cli(lab, name, f"cluster forget {replica.id}")
        yield
    finally:
        for name in others:
            cli(lab, name, f"cluster meet {replica.address} 6379")
        redis.healed(lab)


# --- slots


@violates("8.3", "slots", r"slots as seen by redis-\d: 15384 slots covered, not \d+-\d+", blinds=frozenset({HIT_RATIO}))
def range_unassigned(lab: Lab) -> Iterator[None]:
    """A resharding that was broken off left its source without a range of slots that nobody else has either."""
    master = redis.masters(lab)[0]
    start = int(master.slots[0].partition("-")[0])
    slots = f"{start} {start + LOST - 1}"
    try:
        cli(lab, master.name, f"cluster delslotsrange {slots}")
        yield
    finally:
        cli(lab, master.name, f"cluster addslotsrange {slots}")
        redis.healed(lab)


@violates("8.3", "slots", r"slots as seen by redis-5: 15384 slots covered, not \d+-\d+", blinds=frozenset({HIT_RATIO}))
def range_unassigned_everywhere(lab: Lab) -> Iterator[None]:
    """A range of slots was taken from its master in every member's eyes."""
    master = redis.masters(lab)[1]
    start = int(master.slots[0].partition("-")[0])
    slots = f"{start} {start + LOST - 1}"
    try:
        everywhere(lab, f"cluster delslotsrange {slots}")
        yield
    finally:
        cli(lab, master.name, f"cluster addslotsrange {slots} || true")
        redis.healed(lab)


# --- nodes


@violates("8.3", "spread", r"replica redis-\d: on w\d, its master redis-\d on w\d, another node than its master's")
def shard_on_one_node(lab: Lab) -> Iterator[None]:
    """Two replicas were exchanged by somebody who looked at addresses only: one is on its master's node now."""
    master = redis.masters(lab)[0]
    own = redis.replica_of(lab, master)
    beside = next(m for m in redis.known(lab).values() if m.node == master.node and m.role == "replica")
    other = beside.master
    try:
        cli(lab, beside.name, f"cluster replicate {master.id}")
        cli(lab, own.name, f"cluster replicate {other}")
        for each in (beside, own):
            lab.until(partial(redis.follows, lab, each.name), f"{each.name} to have its data")
        yield
    finally:
        cli(lab, own.name, f"cluster replicate {master.id}")
        cli(lab, beside.name, f"cluster replicate {other}")
        redis.healed(lab)


@violates("8.3", "spread", r"master redis-\d: on w\d, as is redis-\d, a node of its own among masters")
def two_masters_on_one_node(lab: Lab) -> Iterator[None]:
    """After a failover two masters share a node, and what should part them hangs."""
    replica = redis.replica_of(lab, redis.masters(lab)[0])
    with redis.keepers_stopped(lab):
        cli(lab, replica.name, "cluster failover")
        lab.until(lambda: bool(redis.known(lab)[replica.name].slots), f"{replica.name} to be a master")
        lab.until(lambda: len(redis.masters(lab)) == len(redis.MEMBERS) // 2, "the old master to follow it")
        yield
    redis.healed(lab)  # by the keepers themselves


# --- persistence


@violates("8.3", "persistence", r"member redis-\d: append-only persistence is off \(appendonly no\)")
def append_only_switched_off(lab: Lab) -> Iterator[None]:
    """Somebody switched persistence off at run time because the disk was slow; no manifest shows it."""
    member = redis.masters(lab)[0].name
    try:
        cli(lab, member, "config set appendonly no")
        yield
    finally:
        cli(lab, member, "config set appendonly yes")
        lab.until(
            lambda: "aof_rewrite_in_progress:0" in cli(lab, member, "info persistence"), f"{member} to have its file"
        )


@violates("8.3", "persistence", r"member redis-\d: the last rewrite of the append-only file: err")
def rewrite_of_the_file_fails(lab: Lab) -> Iterator[None]:
    """A restored folder has the wrong mode: the append-only file cannot be written anew and grows."""
    member, folder = "redis-5", "/data/appendonlydir"

    def rewritten(status: str) -> None:
        cli(lab, member, "bgrewriteaof || true")
        wanted = f"aof_last_bgrewrite_status:{status}"

        def seen() -> bool:
            said = cli(lab, member, "info persistence")
            if wanted not in said or "aof_rewrite_in_progress:0" not in said:
                raise NotYet("it is not written anew yet")
            return True

        lab.until(seen, f"{member} to report {status}")

    try:
        redis.shell(lab, member, f"chmod 500 {folder}")
        rewritten("err")
        yield
    finally:
        redis.shell(lab, member, f"chmod 700 {folder}")
        rewritten("ok")


# --- hits


@violates("8.3", "hit-ratio", r"the verifier's own load: \d+\.\d % of \d+ reads .* thrown out for want of memory")
def memory_too_small(lab: Lab) -> Iterator[None]:
    """Somebody wrote 3mb for 3gb: the cache throws out what it has just been given."""
    before = cli(lab, "redis-0", "config get maxmemory").split()[-1]
    try:
        everywhere(lab, "config set maxmemory 3mb")
        yield
    finally:
        everywhere(lab, f"config set maxmemory {before}")


@violates("8.3", "hit-ratio", r"the applications' reads: 0\.0 % of \d+ reads found their key")
def application_asks_for_what_is_never_stored(lab: Lab) -> Iterator[None]:
    """A release builds its keys another way than the one that stores them: every read misses."""
    member = redis.masters(lab)[0].name
    key = next(key for key in map(str, range(100)) if not _moved(lab, member, key))
    loop = f"{redis.CLI} -r -1 -i 0.002 get {key} >/dev/null 2>&1 & echo $! >/run/redis/reader"
    try:
        redis.shell(lab, member, f"sh -c '{loop}' </dev/null >/dev/null 2>&1")
        yield
    finally:
        redis.shell(lab, member, "kill $(cat /run/redis/reader); rm /run/redis/reader")


def _moved(lab: Lab, member: str, key: str) -> bool:
    return "MOVED" in redis.shell(lab, member, f"{redis.CLI} get {key} 2>&1 || true")


# --- the loss of a master


@violates("8.3", "master-loss", r"shard of redis-\d \(\d+ slots\): writes stopped for (3[1-9]|[4-9]\d)\.\d+ s")
def nobody_takes_over(lab: Lab) -> Iterator[None]:
    """No replica may stand for election: the shard is away until its master is back."""
    try:
        everywhere(lab, "config set cluster-replica-no-failover yes")
        yield
    finally:
        lab.settle()
        everywhere(lab, "config set cluster-replica-no-failover no")
        redis.healed(lab)


@violates("8.3", "sessions", r"shard of redis-1: 3 of \d+ acknowledged sessions lost \(numbers \d+, \d+, \d+; ack")
def sessions_vanish(lab: Lab) -> Iterator[None]:
    """A script that tidies up while a master is away removes sessions of people who are logged in."""
    some = f"{redis.CLI} --scan --pattern '*:session:*' | head -3"

    def tidy() -> None:
        redis.shell(lab, "redis-1", f"for key in $({some}); do {redis.CLI} unlink $key; done | grep -c 1 | grep -qx 3")

    with during_the_fault(lab, tidy):
        yield
