"""Requirement 8.3: the Redis cluster has its masters, replicas and slots, survives a master's loss, and is worth it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from policies.facts.base import Cause, Unseen
from policies.facts.control_plane import longest_silence
from policies.facts.redis import (
    MASTER,
    REPLICA,
    Member,
    MemberView,
    Peer,
    Reads,
    RedisCluster,
    RedisFailover,
    RedisReads,
    SessionWrite,
    Shard,
)
from policies.finding import Finding
from policies.limits import Limits
from policies.rules.common import count, missing, some, unseen

SLOTS: Final = 16384
"""Redis' own number: a key's slot is CRC16 of it modulo this."""
PERCENT: Final = 100


# --- the cluster


def topology(cluster: RedisCluster, limits: Limits) -> Iterator[Finding]:
    """topology: enough masters with slots, each with a replica that follows it and may take over, all known to all.

    A replica counts where its connection to its master stands and it is allowed to stand for election.
    """
    masters, replicas = limits["masters"], limits["replicas"]
    where = f"{cluster.namespace}/{cluster.statefulset}"
    for member in cluster.members:
        if member.unseen is not None:
            subject, expected = f"member {member.name}", "to run and to answer"
            silent = Finding.unseen(subject, expected, member.unseen)
            yield silent if member.ready else Finding(subject, expected, silent.observed, False)
    views = dict(_by_id(cluster))
    leading = [member.name for member, view in views.values() if _leads(view)]
    following: defaultdict[str, list[str]] = defaultdict(list)
    troubled: defaultdict[str, list[str]] = defaultdict(list)
    for member, view in views.values():
        me = view.myself
        if view.role == REPLICA and me is not None:
            trouble = _trouble(view)
            if trouble:
                troubled[me.master].append(f"{member.name} {trouble}")
            else:
                following[me.master].append(member.name)
    if not views:
        return
    observed = f"{count(len(leading), 'master')} with slots" + (f" ({some(leading)})" if leading else "")
    yield _told(cluster, Finding(where, masters.text(), observed, masters.allows(len(leading))))
    good = [name for id_ in following for name in following[id_] if id_ in views and _leads(views[id_][1])]
    observed = f"{count(len(good), 'replica')} in order" + (f" ({some(sorted(good))})" if good else "")
    yield _told(cluster, Finding(where, replicas.text(), observed, replicas.allows(len(good))))
    for id_, (member, view) in views.items():
        if _leads(view):
            has, ill = following[id_], troubled[id_]
            observed = some(sorted(has)) if has else "; ".join(ill) or "no replica"
            expected = "a replica that follows it and may take over"
            yield _told(cluster, Finding(f"master {member.name}", expected, observed, bool(has)))
    yield from _known(cluster)


def _told(cluster: RedisCluster, finding: Finding) -> Finding:
    """A finding of too few, where a member gave no answer, is none: that one may be what is missing."""
    hidden = [member.name for member in cluster.members if member.view is None and member.ready]
    if finding.ok is False and hidden:
        observed = f"{finding.observed}, and {some(hidden)} gave no answer"
        return missing(finding.subject, finding.expected, observed, Cause.UNREACHABLE)
    return finding


def _trouble(view: MemberView) -> str:
    """Why a replica is none to count on; empty where it is."""
    if not view.link_up:
        return "has no connection to it"
    return "" if view.may_be_promoted else "may not stand for election (cluster-replica-no-failover yes)"


def _known(cluster: RedisCluster) -> Iterator[Finding]:
    """Each member is known to every other that answered, as what it is, and failed in nobody's eyes."""
    for member, view in cluster.seen():
        odd = []
        for other, eyes in cluster.seen():
            peer = next((peer for peer in eyes.peers if peer.id == view.id), None)
            if peer is None:
                odd.append(f"{other.name} does not know it")
            elif peer.failed:
                odd.append(f"{other.name} sees it as {some(peer.flags)}")
            elif peer.role != view.role:
                odd.append(f"{other.name} takes it for a {peer.role}, which it is not")
        expected = "known to every member as what it is"
        yield Finding(f"member {member.name}", expected, "; ".join(odd) or f"a {view.role} to all", not odd)


def slots(cluster: RedisCluster, limits: Limits) -> Iterator[Finding]:
    """slots: in the eyes of each member every hash slot belongs to a master that has not failed."""
    limit = limits["covered_slots"]
    expected = limit.text()
    yield from unseen(expected, cluster.unseen())
    for member, view in cluster.seen():
        covered = _covered(view.peers)
        observed = f"{len(covered)} slots covered"
        lost = _ranges(set(range(SLOTS)) - covered)
        if lost:
            observed += f", not {some(lost)}"
        yield Finding(f"slots as seen by {member.name}", expected, observed, limit.allows(len(covered)))


def _covered(peers: Iterable[Peer]) -> set[int]:
    return {
        slot
        for peer in peers
        if peer.role == MASTER and not peer.failed
        for first, last in peer.slots
        for slot in range(first, last + 1)
    }


def _ranges(numbers: set[int]) -> list[str]:
    """``0-99``, ``7``."""
    starts = [n for n in sorted(numbers) if n - 1 not in numbers]
    ranges = [(a, next(n for n in range(a, SLOTS) if n + 1 not in numbers)) for a in starts]
    return [f"{a}-{b}" if a != b else str(a) for a, b in ranges]


def spread(cluster: RedisCluster, _limits: Limits) -> Iterator[Finding]:
    """spread: no two masters with slots are on one node, and no replica is on the node of its master."""
    apart = "a node of its own among masters"
    yield from unseen(apart, cluster.unseen())
    views = dict(_by_id(cluster))
    masters = [member for member, view in views.values() if _leads(view)]
    on = Counter(member.node for member in masters)
    for member in masters:
        others = [other.name for other in masters if other.node == member.node and other.name != member.name]
        observed = f"on {member.node}" + (f", as is {some(others)}" if others else "")
        yield Finding(f"master {member.name}", apart, observed, on[member.node] == 1)
    for member, view in views.values():
        me = view.myself
        if view.role != REPLICA or me is None:
            continue
        subject, expected = f"replica {member.name}", "another node than its master's"
        if me.master not in views:
            name = next((peer.name for peer in view.peers if peer.id == me.master), "nobody")
            observed = f"on {member.node}; it follows {name}, whose node is not known"
            yield missing(subject, expected, observed, Cause.UNREACHABLE)
            continue
        master = views[me.master][0]
        observed = f"on {member.node}, its master {master.name} on {master.node}"
        yield Finding(subject, expected, observed, member.node != master.node)


def persistence(cluster: RedisCluster, _limits: Limits) -> Iterator[Finding]:
    """persistence: every member writes its append-only file now, onto a volume that outlives its pod."""
    expected = "an append-only file, written without error to a volume that outlives the pod"
    yield from unseen(expected, cluster.unseen())
    for member, view in cluster.seen():
        ill = []
        if not view.append_only:
            ill.append("append-only persistence is off (appendonly no)")
        else:
            if view.append_status != "ok":
                ill.append(f"the last write to the append-only file: {view.append_status or 'nothing said'}")
            if view.rewrite_status != "ok":
                ill.append(f"the last rewrite of the append-only file: {view.rewrite_status or 'nothing said'}")
        if not member.volume:
            ill.append(f"no persistent volume is mounted at {view.folder}")
        observed = "; ".join(ill) or f"written to {member.volume}"
        yield Finding(f"member {member.name}", expected, observed, not ill)


def _by_id(cluster: RedisCluster) -> Iterator[tuple[str, tuple[Member, MemberView]]]:
    for member, view in cluster.seen():
        yield view.id, (member, view)


def _leads(view: MemberView) -> bool:
    me = view.myself
    return view.role == MASTER and me is not None and bool(me.slots)


# --- what is answered from it


def hit_ratio(reads: RedisReads, limits: Limits) -> Iterator[Finding]:
    """hit-ratio: of all reads of a load, by the members' own counters, enough find their key.

    The load is the applications' where they read enough while it was watched, else the verifier's own.
    """
    limit = limits["hit_ratio"]
    yield from unseen(limit.text(), reads.unseen)
    if reads.unseen:
        return
    if reads.applications.all >= reads.enough:
        observed = f"{_ratio(reads.applications)} found their key in {reads.watched_s:.0f} s"
        yield Finding("the applications' reads", limit.text(), observed, limit.allows(_percent(reads.applications)))
        return
    few = f"applications made {count(reads.applications.all, 'read')} in {reads.watched_s:.0f} s before it"
    subject = "the verifier's own load"
    if reads.own.all < reads.enough:
        observed = f"{count(reads.own.all, 'read')} in {reads.load_s:.0f} s, too few of {reads.enough}; {few}"
        yield missing(subject, limit.text(), observed, Cause.EMPTY, "run this while the applications are under load")
        return
    if reads.counted.all < reads.own.all:
        observed = f"the members counted {reads.counted.all} of its {reads.own.all} reads; was one restarted meanwhile?"
        yield missing(subject, limit.text(), observed, Cause.INVALID)
        return
    observed = (
        f"{_ratio(reads.counted)} found their key in {reads.load_s:.0f} s, {reads.objects} objects of "
        f"{reads.object_bytes} bytes asked for by Zipf's law and put there when missing; {few}"
    )
    if reads.evicted or reads.refused:
        observed += f"; {count(reads.evicted, 'key')} thrown out for want of memory, {reads.refused} not taken"
    yield Finding(subject, limit.text(), observed, limit.allows(_percent(reads.counted)))


def _percent(reads: Reads) -> float:
    return PERCENT * reads.hits / reads.all


def _ratio(reads: Reads) -> str:
    return f"{_percent(reads):.1f} % of {count(reads.all, 'read')}"


# --- the loss of a master


def master_loss(failover: RedisFailover, limits: Limits) -> Iterator[Finding]:
    """master-loss: from the fault on, sessions of every shard can be written again soon, and the member comes back.

    The gap of a shard is the longest time between two acknowledgements that ends after the injection began; it
    overstates the true one by at most twice the writer's interval.
    """
    limit = limits["repaired_within"]
    unproved = _unproved(failover)
    if unproved is not None:
        yield Finding.unseen(f"shard of {failover.member}", limit.text(), unproved)
        return
    yield from _cut_short(failover)
    for shard in failover.shards:
        subject = f"shard of {shard.master} ({count(shard.slots, 'slot')})"
        silence = _longest_silence(failover, shard)
        if silence is None:
            detail = "no session was acknowledged before the fault, so no gap shows"
            yield missing(subject, limit.text(), detail, Cause.INVALID)
            continue
        gap, ended = silence
        allowed = limit.allows(gap)
        observed = _gap(failover, shard, gap, resumed=ended or allowed)
        yield Finding(subject, limit.text(), observed, allowed)
    expected = "a member in order again"
    observed = "it is back" if failover.back else "it had not come back when watching ended"
    yield Finding(f"member {failover.member}", expected, observed, failover.back)


def _gap(failover: RedisFailover, shard: Shard, gap: float, *, resumed: bool) -> str:
    error = f"± {2 * failover.interval_s:.2g} s"
    if not resumed:
        return f"writes stopped for at least {gap:.2f} s and had not resumed when watching ended ({error})"
    if shard.master != failover.member:
        return f"longest pause between writes {gap:.2f} s ({error})"
    timers = ", ".join(f"{name} {seconds:g} s" for name, seconds in sorted(failover.timers.items()))
    taken = shard.master_after or "nobody known"
    how = "it came back itself" if taken == shard.master else f"{taken} took over"
    return f"writes stopped for {gap:.2f} s ({error}; {timers}), then {how}"


def _longest_silence(failover: RedisFailover, shard: Shard) -> tuple[float, bool] | None:
    """Its length, and whether an acknowledgement ended it; None where none came before the fault."""
    writes = failover.writes_of(shard.master)
    silence = longest_silence(writes, failover.injected_at, failover.ended_at)
    if silence is None:
        return None
    start, end = silence
    return end - start, any(write.acknowledged and write.answered > start for write in writes)


def sessions(failover: RedisFailover, _limits: Limits) -> Iterator[Finding]:
    """sessions: every session that was acknowledged is there afterwards, also on the killed member itself."""
    expected = "every acknowledged session to be there"
    unproved = _unproved(failover)
    if unproved is not None:
        yield Finding.unseen("sessions", expected, unproved)
        return
    yield from _cut_short(failover)
    there = set(failover.read_back)
    for shard in failover.shards:
        written = [write for write in failover.writes_of(shard.master) if write.acknowledged]
        subject = f"sessions in the shard of {shard.master}"
        if not written:
            yield missing(subject, expected, "none was acknowledged, so none could be lost", Cause.EMPTY)
            continue
        lost = [write for write in written if write.number not in there]
        observed = f"{len(lost)} of {count(len(written), 'acknowledged session')} lost" + _when(failover, lost)
        yield Finding(subject, expected, observed, not lost)
    if failover.back:
        own = {write.number for write in failover.writes_of(failover.member) if write.acknowledged} & there
        absent = sorted(own - set(failover.held))
        observed = f"it holds {len(own) - len(absent)} of {count(len(own), 'session')} of its shard"
        subject = f"member {failover.member}, started again"
        if own:
            yield Finding(subject, "every session of its shard", observed, not absent)


def _when(failover: RedisFailover, lost: Sequence[SessionWrite]) -> str:
    if not lost:
        return ""
    first, last = min(lost, key=lambda write: write.answered), max(lost, key=lambda write: write.answered)
    span = f"{first.answered - failover.injected_at:+.2f} s to {last.answered - failover.injected_at:+.2f} s"
    return f" (numbers {some([write.number for write in lost])}; acknowledged {span} from the kill)"


def _cut_short(failover: RedisFailover) -> Iterator[Finding]:
    """A fault that was undone before its time can show a violation, but no pass: the rest of it is not known."""
    if failover.cut_short is not None:
        yield Finding.unseen(failover.fault, "to stand to its end", failover.cut_short)


def _unproved(failover: RedisFailover) -> Unseen | None:
    """Why the observation says nothing: the fault was not seen to have happened."""
    if failover.proof:
        return None
    detail = f"{failover.fault} of {failover.member} was injected, but nothing showed that it took effect"
    return Unseen(Cause.ABSENT, "the fault", detail, "see the fault's events in this run's facts")
