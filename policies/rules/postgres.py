"""Requirement 5.3, and who is there of 5.1: PostgreSQL's instances, streaming, lag, Services and slots."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from policies.facts.base import Cause
from policies.facts.postgres import (
    DatabaseServices,
    Instance,
    InstanceView,
    Postgres,
    ReplicationLag,
    ServiceRoutes,
    Slot,
)
from policies.finding import Finding
from policies.limits import Limits
from policies.rules.common import count, missing, some

MIB: Final = 1024 * 1024
WAITS_FOR_A_STANDBY: Final = ("on", "remote_apply", "remote_write")  # values of synchronous_commit
CONFIRMS: Final = ("sync", "quorum")  # values of sync_state
MEMBER_SLOT: Final = "_cnpg_"  # CloudNativePG's own slots, one for each other member, kept on every instance


# --- instances


def instances(postgres: Postgres, limits: Limits) -> Iterator[Finding]:
    """instances: enough instances are ready and answer, each on another node.

    An instance whose pod is ready and where nobody answers is as good as none, as long as others do answer.
    """
    limit = limits["instances"]
    expected = f"{limit.text()}, ready and answering, each on a node of its own"
    up = [instance for instance in postgres.instances if instance.ready and instance.answers]
    hidden = [each for each in postgres.instances if each.ready and not each.answers and not _silence(postgres, each)]
    for instance in hidden:
        yield _hidden(instance, expected)
    nodes = {instance.node for instance in up}
    observed = f"{count(len(up), 'instance')} up on {count(len(nodes), 'node')}"
    if up:
        observed += f" ({some([f'{instance.name} on {instance.node}' for instance in up])})"
    down = [_why_down(postgres, each) for each in postgres.instances if each not in up and each not in hidden]
    if down:
        observed += f", not up: {some(down)}"
    observed += f"; the custom resource says {postgres.ready_instances} of {postgres.declared} ready"
    possible = len(nodes | {instance.node for instance in hidden})
    if limit.allows(len(nodes)) or not limit.allows(possible):
        yield Finding(postgres.cluster, expected, observed, limit.allows(len(nodes)))


def _silence(postgres: Postgres, instance: Instance) -> str:
    """How it was found that nobody is there: others answered the same client, and at this one's address nobody did.

    Empty where somebody answers, or where that is not known.
    """
    unseen = instance.unseen
    if unseen is None or unseen.cause != Cause.UNREACHABLE or not any(other.answers for other in postgres.instances):
        return ""
    return unseen.detail


def _why_down(postgres: Postgres, instance: Instance) -> str:
    if not instance.ready:
        return f"{instance.name} (its pod is not ready)"
    return f"{instance.name} (its pod is ready, and nobody answers: {_silence(postgres, instance)})"


def streaming(postgres: Postgres, _limits: Limits) -> Iterator[Finding]:
    """streaming: every replica streams from the one primary, seen from both sides, and one confirms each commit."""
    expected = "to stream from the primary, as both of them say"
    primaries = [instance for instance in postgres.instances if instance.answers and not instance.answers.in_recovery]
    hidden = [each for each in postgres.instances if not each.answers and not _silence(postgres, each)]
    subject = f"primary of {postgres.cluster}"
    if len(primaries) > 1:
        yield Finding(subject, "one instance", f"{some([each.name for each in primaries])} all take writes", False)
    elif not primaries and hidden:
        unknown = some([instance.name for instance in hidden])
        yield missing(subject, "one instance", f"none was seen, and {unknown} could not be asked", Cause.UNREACHABLE)
    elif not primaries and postgres.instances:
        observed = f"none of {count(len(postgres.instances), 'instance')} takes writes"
        yield Finding(subject, "one instance", observed, False)
    for instance in postgres.instances:
        if instance in hidden:
            yield _hidden(instance, expected)
        elif instance not in primaries:
            yield _streams(postgres, instance, primaries, expected)
    for instance in primaries:
        if instance.answers:
            yield from _confirmed(instance.name, instance.answers)


def _streams(postgres: Postgres, instance: Instance, primaries: Sequence[Instance], expected: str) -> Finding:
    """One that is no primary: its own word, and the primary's of it."""
    view, troubles = instance.answers, list[str]()
    if view is None:
        troubles.append(f"nobody answers there: {_silence(postgres, instance)}")
    elif view.receiver is None:
        troubles.append("it has no WAL receiver")
    elif view.receiver.status != "streaming":
        troubles.append(f"its WAL receiver is {view.receiver.status or 'in no state'}")
    theirs = [s for p in primaries if p.answers for s in p.answers.standbys if s.name == instance.name]
    names = some([primary.name for primary in primaries])
    if primaries and not theirs:
        troubles.append(f"{names} has no such standby")
    elif primaries and all(standby.state != "streaming" for standby in theirs):
        troubles.append(f"{names} has it as {some([standby.state or 'in no state' for standby in theirs])}")
    if not primaries and not troubles:
        return missing(instance.name, expected, "it says so, and no primary was seen", Cause.UNREACHABLE)
    observed = "; ".join(troubles) or f"both it and {names} say so"
    if view is not None and view.replay_paused:
        observed += ", and its replay is paused"  # that it shows nothing new is what 5.3 measures
    return Finding(instance.name, expected, observed, not troubles)


def _confirmed(primary: str, view: InstanceView) -> Iterator[Finding]:
    """Whether a commit that this primary acknowledges is on a standby, too."""
    expected = "a streaming standby to confirm each before it is acknowledged"
    names = f'synchronous_standby_names is "{view.standby_names}"'
    confirming = [s.name for s in view.standbys if s.sync_state in CONFIRMS and s.state == "streaming"]
    waits = view.synchronous_commit in WAITS_FOR_A_STANDBY
    if waits:
        observed = f"{names}, and {some(confirming) or 'no standby'} can confirm"
    else:
        observed = f"synchronous_commit is {view.synchronous_commit}, where {names}"
    yield Finding(f"commits on {primary}", expected, observed, bool(waits and view.standby_names and confirming))
    for override in view.overrides:
        who, _, value = override.rpartition(": ")
        if value not in WAITS_FOR_A_STANDBY:
            yield Finding(f"commits of {who}", expected, f"synchronous_commit is {value} for {who}", False)


# --- lag


def lag_time(replication_lag: ReplicationLag, limits: Limits) -> Iterator[Finding]:
    """lag-time: under load every replica shows each commit in time; the slowest one counts."""
    limit = limits["lag_time"]
    expected = f"{limit.text()} behind under load"
    yield from _load_unseen(replication_lag, expected)
    for lag in replication_lag.replicas:
        if lag.unseen is not None:
            yield Finding.unseen(lag.replica, expected, lag.unseen)
            continue
        if not lag.seconds:
            yield missing(lag.replica, expected, "no commit was looked for there", Cause.EMPTY)
            continue
        worst, commits = max(lag.seconds), count(len(lag.seconds), "commit")
        if lag.never:
            observed = f"{lag.never} of {commits} not to be seen there, the oldest for {worst:.2f} s"
        else:
            observed = f"at most {worst:.3f} s behind in {commits}"
        half, most = (1000 * _percentile(lag.seconds, percent) for percent in (50, 99))
        observed += f" (p50 {half:.0f} ms, p99 {most:.0f} ms, asked every {1000 * replication_lag.poll_s:.0f} ms)"
        yield Finding(lag.replica, expected, f"{observed} {_load(replication_lag)}", limit.allows(worst))


def lag_bytes(replication_lag: ReplicationLag, limits: Limits) -> Iterator[Finding]:
    """lag-bytes: under load no replica has more WAL to replay than allowed; the worst sample counts."""
    limit = limits["lag_bytes"]
    expected = f"{limit.text()} behind under load"
    yield from _load_unseen(replication_lag, expected)
    for lag in replication_lag.replicas:
        if lag.unseen is not None:
            yield Finding.unseen(lag.replica, expected, lag.unseen)
            continue
        if not lag.bytes:
            yield missing(lag.replica, expected, "its position was not seen", Cause.EMPTY)
            continue
        worst = max(lag.bytes) / MIB
        observed = f"at most {worst:.2f} MiB behind in {count(len(lag.bytes), 'sample')}"
        gone = len(lag.bytes) - lag.streamed
        if gone:
            observed += f", {gone} of them without it in the primary's pg_stat_replication"
        half, most = (_percentile(lag.bytes, percent) / MIB for percent in (50, 99))
        observed += f" (p50 {half:.2f} MiB, p99 {most:.2f} MiB)"
        yield Finding(lag.replica, expected, f"{observed} {_load(replication_lag)}", limit.allows(worst))


def _load_unseen(lag: ReplicationLag, expected: str) -> Iterator[Finding]:
    """Where the load was not written in full, what was seen can be a violation, and never a pass."""
    if lag.unseen is not None:
        yield Finding.unseen("the load", expected, lag.unseen)
    elif not lag.replicas:
        yield missing(lag.cluster, expected, "it has no replica", Cause.EMPTY)


def _load(lag: ReplicationLag) -> str:
    """``while 30 MiB of WAL were written in 15.1 s``."""
    return f"while {lag.wal_bytes / MIB:.1f} MiB of WAL were written in {lag.lasted_s:.1f} s"


def _percentile(values: Sequence[float], percent: int) -> float:
    """By nearest rank; of a list that is not empty."""
    return sorted(values)[math.ceil(percent * len(values) / 100) - 1]


# --- Services


def read_only_service(postgres: Postgres, database_services: DatabaseServices, _limits: Limits) -> Iterator[Finding]:
    """read-only-service: each new connection through it ends at a replica, and every replica is reached."""
    yield from _reaches(postgres, database_services.read_only, "replica")


def read_write_service(postgres: Postgres, database_services: DatabaseServices, _limits: Limits) -> Iterator[Finding]:
    """read-write-service: each new connection through it ends at the primary."""
    yield from _reaches(postgres, database_services.read_write, "primary")


def _reaches(postgres: Postgres, seen: ServiceRoutes, kind: str) -> Iterator[Finding]:
    """Whether a Service leads to instances of one kind only, and to all of them that answer at their own addresses."""
    expected = f"every connection to end at a {kind}"
    names = {instance.address: instance.name for instance in postgres.instances}
    must = [one for one in postgres.instances if one.ready and one.answers and _kind(one.answers.in_recovery) == kind]
    wrong = [route for route in seen.routes if _kind(route.in_recovery) != kind]
    ends = [
        f"{route.connections} at {names.get(route.address, route.address)}"
        + (f", a {_kind(route.in_recovery)}" if route in wrong else "")
        for route in (*wrong, *(route for route in seen.routes if route not in wrong))
    ]
    ends += [f"{number} unanswered ({what})" for what, number in seen.failures.items()]
    observed = f"{count(seen.tried, 'connection')}: {'; '.join(ends)}"
    if not seen.routes and not must:
        yield missing(seen.service, expected, f"{observed}; and no {kind} answers anywhere", Cause.UNREACHABLE)
        return
    right = bool(seen.routes) and not wrong and not seen.failures
    yield Finding(seen.service, expected, observed, right)
    reached = {route.address for route in seen.routes}
    for instance in must if right else ():
        if instance.address not in reached:
            detail = f"no connection ended there, of {seen.tried}, though it answers at its own address"
            remedy = f"compare the endpoints of Service {seen.service} with the instances' addresses"
            yield missing(f"{seen.service} to {instance.name}", expected, detail, Cause.EMPTY, remedy)


def _kind(in_recovery: bool) -> str:
    return "replica" if in_recovery else "primary"


# --- slots


def slots(postgres: Postgres, _limits: Limits) -> Iterator[Finding]:
    """slots: on no instance is there a replication slot that nobody receives from.

    CloudNativePG keeps a slot for each other member on every instance, so that a promoted one has them, and copies of
    the primary's on the replicas. These are in use as long as the member is there, or the primary's own is received
    from, and only the primary is told of what is wrong with its own.
    """
    expected = "no slot that nobody receives from"
    members = {MEMBER_SLOT + re.sub(r"[^a-z0-9_]", "_", instance.name) for instance in postgres.instances}
    primaries = [view for each in postgres.instances if (view := each.answers) is not None and not view.in_recovery]
    originals = {slot.name for view in primaries for slot in view.slots}
    for instance in postgres.instances:
        view, subject = instance.answers, f"slots of {instance.name}"
        if view is None:
            yield msgspec.structs.replace(_hidden(instance, expected), subject=subject)
            continue
        idle = [slot for slot in view.slots if not slot.active and slot.name not in members]
        if view.in_recovery:
            idle = [slot for slot in idle if slot.name not in originals]
        if idle and view.in_recovery and not primaries:
            detail = f"of {some([slot.name for slot in idle])} the primary's own were not seen"
            yield missing(subject, expected, detail, Cause.UNREACHABLE)
            continue
        for slot in idle:
            yield Finding(f"slot {slot.name} on {instance.name}", expected, _abandoned(slot, postgres), False)
        if not idle:
            received = sum(slot.active for slot in view.slots)
            observed = f"{count(len(view.slots), 'slot')}, {received} received from"
            kept = len(view.slots) - received
            observed += f", {kept} kept for members or as copies" if kept else ""
            yield Finding(subject, expected, observed, True)


def _abandoned(slot: Slot, postgres: Postgres) -> str:
    """``physical, received from by nobody for 6 s, keeps 12.3 MiB of WAL``."""
    observed = f"{slot.kind}, received from by nobody within {postgres.slots_watched_s:.0f} s"
    if slot.retained_bytes is None:
        return f"{observed}, keeps no WAL" + (f" any more ({slot.wal_status})" if slot.wal_status else "")
    return f"{observed}, keeps {slot.retained_bytes / MIB:.1f} MiB of WAL"


def _hidden(instance: Instance, expected: str) -> Finding:
    """An instance of which nobody knows."""
    if instance.unseen is None:
        return missing(instance.name, expected, "it was not asked", Cause.EMPTY)
    return Finding.unseen(instance.name, expected, instance.unseen)
