"""Requirement 5.1: what losing PostgreSQL's primary, or its node, costs those who write."""

from __future__ import annotations

from collections.abc import Iterator

from policies.facts.base import Cause, Unseen
from policies.facts.postgres_failover import PostgresFailover
from policies.finding import Finding
from policies.limits import Limit, Limits
from policies.rules.common import count, missing, some


def write_gap(postgres_failover: PostgresFailover, limits: Limits) -> Iterator[Finding]:
    """write-gap: from the kill on, writes through the read-write Service stop only briefly."""
    yield from _gap(postgres_failover, limits["write_gap"])


def node_loss_write_gap(postgres_node_loss: PostgresFailover, limits: Limits) -> Iterator[Finding]:
    """node-loss-write-gap: the same from the loss of the primary's node on, with its own limit."""
    yield from _gap(postgres_node_loss, limits["node_loss_write_gap"])


def _gap(failover: PostgresFailover, limit: Limit) -> Iterator[Finding]:
    """The longest time between two acknowledged rows that ends after the injection began.

    It overstates the true one by at most the writer's interval. It counts to the end of the observation, so that the
    old primary's return is part of it.
    """
    subject, expected = failover.service, f"{limit.text()} without writes"
    unproved = _unproved(failover)
    if unproved is not None:
        yield Finding.unseen(subject, expected, unproved)
        return
    yield from _cut_short(failover)
    silence = failover.longest_silence
    if silence is None:
        yield missing(subject, expected, "no row was acknowledged before the fault, so no gap shows", Cause.INVALID)
        return
    start, end = silence
    gap = end - start
    told = f"± {failover.interval_s:.2g} s; {_what_happened(failover)}; {_timers(failover)}"
    if not any(write.acknowledged and write.answered > failover.injected_at for write in failover.writes):
        observed = f"writes stopped for at least {gap:.2f} s and had not resumed when watching ended ({told})"
        yield Finding(subject, expected, observed, False)
        return
    observed = f"writes stopped for {gap:.2f} s, from {start:.2f} s to {end:.2f} s ({told})"
    # Writes that come back only when the fault is undone say nothing of how long they would have stayed away.
    if limit.allows(gap) and start < failover.undone_at <= end:
        lasted = failover.undone_at - failover.injected_at
        observed = f"the fault was undone after {lasted:.1f} s, before writes had resumed under it ({told})"
        yield missing(subject, expected, observed, Cause.INVALID)
        return
    yield Finding(subject, expected, observed, limit.allows(gap))


def acknowledged_writes(
    postgres_failover: PostgresFailover, postgres_node_loss: PostgresFailover, limits: Limits
) -> Iterator[Finding]:
    """acknowledged-writes: every row whose commit was acknowledged is there afterwards, whatever took the primary."""
    limit = limits["lost_writes"]
    expected = f"{limit.text()} lost"
    for failover in (postgres_failover, postgres_node_loss):
        subject = f"{failover.cluster} after {failover.fault}"
        unproved = _unproved(failover)
        if unproved is not None:
            yield Finding.unseen(subject, expected, unproved)
            continue
        yield from _cut_short(failover)
        acknowledged = {write.number for write in failover.writes if write.acknowledged}
        if not acknowledged:
            yield missing(subject, expected, "no row was acknowledged, so none could be lost", Cause.EMPTY)
            continue
        lost = sorted(acknowledged - set(failover.read_back))
        observed = f"{len(lost)} of {count(len(acknowledged), 'acknowledged row')} lost"
        if lost:
            observed += f" (numbers {some(lost)})"
        observed += f" ({_what_happened(failover)})"
        yield Finding(subject, expected, observed, limit.allows(len(lost)))


def old_primary_rejoins(
    postgres_failover: PostgresFailover, postgres_node_loss: PostgresFailover, _limits: Limits
) -> Iterator[Finding]:
    """old-primary-rejoins: once it is back, the instance that was the primary streams from the new one."""
    expected = "to come back as a replica that streams"
    for failover in (postgres_failover, postgres_node_loss):
        subject = f"{failover.old_primary} after {failover.fault}"
        unproved = _unproved(failover)
        if unproved is not None:
            yield Finding.unseen(subject, expected, unproved)
            continue
        yield from _cut_short(failover)
        if failover.new_primary == failover.old_primary:
            detail = f"nobody took over: it is the primary again ({_what_happened(failover)})"
            yield missing(subject, expected, detail, Cause.INVALID, "see the operator's log for why nobody took over")
        elif failover.rejoined_at is None:
            observed = f"not within {failover.watched_for_s:.0f} s: {failover.rejoin_trouble}"
            yield Finding(subject, expected, observed, False)
        else:
            after = failover.rejoined_at - failover.injected_at
            error = f"- {min(after, failover.rejoin_error_s):.1f} s"
            since = f"{failover.rejoined_at - failover.undone_at:.1f} s after the fault was undone"
            took = f"the check took {failover.wall_s:.0f} s"
            observed = f"it streams {after:.1f} s after the fault began ({error}), {since}; {took}"
            yield Finding(subject, expected, observed, True)


def _what_happened(failover: PostgresFailover) -> str:
    """``pod-killed of finbot-db-1 on w1, finbot-db-2 took over, timeline 3 to 4``."""
    said = f"{failover.fault} of {failover.old_primary} on {failover.node}"
    if not failover.new_primary:
        return f"{said}, nobody was seen to take over"
    if failover.new_primary == failover.old_primary:
        return f"{said}, nobody took over"
    return (
        f"{said}, {failover.new_primary} took over, "
        f"timeline {failover.timeline_before} to {failover.timeline_after or 'unknown'}"
    )


def _timers(failover: PostgresFailover) -> str:
    """``the system's own timers: failoverDelay 0 s``."""
    timers = ", ".join(f"{timer.name} {timer.seconds:g} s" for timer in failover.timers)
    return f"the system's own timers: {timers or 'not seen'}"


def _cut_short(failover: PostgresFailover) -> Iterator[Finding]:
    """A fault that was undone before its time can show a violation, but no pass: the rest of it is not known."""
    if failover.cut_short is not None:
        yield Finding.unseen(failover.fault, "to stand to its end", failover.cut_short)


def _unproved(failover: PostgresFailover) -> Unseen | None:
    """Why the observation says nothing: the fault was not injected, or was not seen to have happened."""
    if failover.unseen is not None:
        return failover.unseen
    if failover.proof:
        return None
    detail = f"{failover.fault} of {failover.old_primary} was injected, but nothing showed that it took effect"
    return Unseen(Cause.ABSENT, "the fault", detail, "see the fault's events in this run's facts")
