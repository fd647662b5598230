"""Requirements 5.2 and 5.5: backups that are young, kept, encrypted and restore; WAL that leads to any instant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from policies.facts.base import Cause
from policies.facts.cron import longest_gap
from policies.facts.database_backups import (
    Archiver,
    BackupPlan,
    Backups,
    BaseBackup,
    Recovery,
    Schedule,
    Stored,
    Table,
)
from policies.finding import Finding
from policies.limits import Limit, Limits
from policies.rules.common import blind, count, missing, some

POLICY_DAYS: Final = {"d": 1, "w": 7, "m": 31}  # as Barman counts a month
DAY: Final = timedelta(days=1)
YOUNG_DAYS: Final = 2
"""The first backup is taken up to a day after the schedule was made, and one more day passes until it may be missed."""

# --- 5.2


def schedule(plan: BackupPlan, limits: Limits) -> Iterator[Finding]:
    """schedule: some ScheduledBackup of the cluster is not suspended, and never pauses longer than allowed."""
    limit = limits["backup_interval"]
    expected = f"a backup {limit.text()} after the one before"
    if plan.schedules.unseen:
        yield from blind(expected, plan.schedules)
        return
    if not plan.archives:
        yield Finding(plan.cluster, expected, "the Cluster names no object store (spec.backup)", False)
        return
    if not plan.schedules.items:
        yield Finding(plan.cluster, expected, "no ScheduledBackup is for it", False)
        return
    judged = [_scheduled(each, limit, plan.seen_at) for each in plan.schedules.items]
    best = [words for ok, words in judged if ok]
    yield Finding(plan.cluster, expected, "; ".join(best or [words for _, words in judged]), bool(best))


def _scheduled(each: Schedule, limit: Limit, since: datetime) -> tuple[bool, str]:
    """Whether one schedule suffices, and how it is."""
    name = f"{each.name} ({each.schedule})"
    if each.suspended:
        return False, f"{name} is suspended"
    try:
        hours = longest_gap(each.schedule, since).total_seconds() / 3600
    except ValueError as error:
        return False, f"{name} is never run: {error}"
    return limit.allows(hours), f"{name} runs every {hours:.4g} h at the latest"


def newest(backups: Backups, limits: Limits) -> Iterator[Finding]:
    """newest: the newest backup that is whole in the store is young, and whatever a Backup calls complete is there."""
    limit = limits["backup_age"]
    expected = limit.text()
    if backups.unseen is not None:
        yield Finding.unseen(backups.store, expected, backups.unseen)
        return
    yield Finding(backups.cluster, expected, *_newest(backups, limit))
    there = {b.id: "" if backups.awaited(b) else backups.trouble(b) for b in backups.backups}
    for declared in backups.declared:
        trouble = there.get(declared.id, f"{declared.id} is not in {backups.store}")
        if trouble:
            subject, whole = f"Backup {declared.name}", f"to be whole in {backups.store}, as it is said to be completed"
            yield Finding(subject, whole, trouble, False)
    said = {declared.id for declared in backups.declared}
    for backup in backups.backups:
        # One without a backup.info and a Backup that calls it complete may be being taken right now.
        trouble = there[backup.id] if backup.status == "DONE" and backup.id not in said else ""
        if trouble:
            yield Finding(f"backup {backup.id}", "to be whole, as its backup.info says it is done", trouble, False)


def _newest(backups: Backups, limit: Limit) -> tuple[str, bool]:
    whole = backups.whole
    if not whole or whole[-1].ended is None:
        broken = f", {count(len(backups.backups), 'backup')} there cannot be restored" if backups.backups else ""
        return f"no whole backup is in {backups.store}{broken}", False
    hours = (backups.asked_at - whole[-1].ended).total_seconds() / 3600
    return f"the newest whole backup, {whole[-1].id}, ended {hours:.1f} h ago", limit.allows(hours)


def retention(backups: Backups, limits: Limits) -> Iterator[Finding]:
    """retention: the policy keeps backups long enough, nothing in the bucket ends them earlier, and they are there.

    A deployment that is younger than that cannot show it: then its oldest backup is as old as its schedule.
    """
    limit = limits["kept"]
    expected = f"kept {limit.text()}"
    match = re.fullmatch(r"([1-9][0-9]*)([dwm])", backups.policy)
    policy = f"{backups.cluster} retentionPolicy"
    if backups.unseen is not None:
        yield Finding.unseen(backups.store, expected, backups.unseen)
        return
    if match is None:
        # Barman deletes nothing then.
        observed = f'"{backups.policy}" is no policy' if backups.policy else "none is set, so nothing is ever deleted"
        yield Finding(policy, expected, observed, not backups.policy)
    else:
        days = int(match[1]) * POLICY_DAYS[match[2]]
        yield Finding(policy, expected, f"it keeps {count(days, 'day')}", limit.allows(days))
    bucket = f"lifecycle of {backups.store}"
    if backups.expiries_unseen is not None:
        yield Finding.unseen(bucket, expected, backups.expiries_unseen)
    else:
        first = min(backups.expiries, key=lambda rule: rule.days, default=None)
        seen = (
            "no rule deletes objects"
            if first is None
            else f"rule {first.id} deletes them after {count(first.days, 'day')}"
        )
        yield Finding(bucket, expected, seen, first is None or limit.allows(first.days))
    yield _oldest(backups, limit, expected)


def _oldest(backups: Backups, limit: Limit, expected: str) -> Finding:
    """Whether the oldest backup is as old as it may be wanted, or as old as the schedule with a run in between."""
    whole = backups.whole
    subject = f"oldest backup in {backups.store}"
    if not whole or whole[0].ended is None:
        return Finding(subject, expected, "no whole backup is there", False)
    days = (backups.asked_at - whole[0].ended) / DAY
    seen = f"{count(len(whole), 'whole backup')}, the oldest, {whole[0].id}, is {days:.1f} days old"
    if limit.allows(days):
        return Finding(subject, expected, seen, True)
    if backups.scheduled_since is None:
        return missing(subject, expected, f"{seen}; since when backups are scheduled is not known", Cause.EMPTY)
    scheduled = (backups.asked_at - backups.scheduled_since) / DAY
    seen += f"; they are scheduled since {scheduled:.1f} days"
    return Finding(subject, expected, seen, days >= scheduled - YOUNG_DAYS)


def encrypted(backups: Backups, _limits: Limits) -> Iterator[Finding]:
    """encrypted: each object of the newest backup and WAL says so, and on the store's own disk none is plain.

    Where the target does not say where that disk is, the store's word is all there is, and the finding says so.
    """
    expected = "encrypted at rest"
    if backups.unseen is not None:
        yield Finding.unseen(backups.store, expected, backups.unseen)
        return
    newest_backup = max(backups.backups, key=lambda backup: backup.id, default=None)
    objects = [*_objects(newest_backup), *([backups.newest_wal] if backups.newest_wal else [])]
    if not objects:
        yield missing(backups.store, expected, "nothing is stored there", Cause.EMPTY)
        return
    default = f"; the bucket's own setting is {backups.bucket_encryption or 'none'}"
    plain = [stored.name for stored in objects if not stored.encryption]
    kinds = sorted({stored.encryption for stored in objects if stored.encryption})
    seen = (
        f"{some(plain)} of {count(len(objects), 'object')} stored without encryption"
        if plain
        else (f"{count(len(objects), 'object')} of the newest backup and WAL, each {some(kinds)}")
    )
    only = (
        ""
        if backups.raw is not None or backups.raw_unseen is not None
        else ("; by the store's word alone, for the target names no disk of it (postgres.object_store)")
    )
    yield Finding(backups.store, expected, seen + default + only, not plain)
    if backups.raw_unseen is not None:
        yield Finding.unseen("bytes on the store's disk", expected, backups.raw_unseen)
    if backups.raw is not None:
        raw = backups.raw
        subject, where = f"bytes in {raw.where}", f"{count(raw.files, 'file')} of {raw.bytes / 2**20:.1f} MiB"
        if raw.found:
            yield Finding(subject, expected, f"text of the newest backup lies in plain in {some(raw.found)}", False)
        elif not raw.control:
            detail = f"the search of {where} does not even find what does lie there"
            yield missing(subject, expected, detail, Cause.INVALID)
        else:
            yield Finding(subject, expected, f"no text of the newest backup is found in {where}", True)


def _objects(backup: BaseBackup | None) -> tuple[Stored, ...]:
    return backup.files if backup is not None else ()


def restores(recovery: Recovery, _limits: Limits) -> Iterator[Finding]:
    """restores: a cluster recovered from the store holds, table by table, what the source held at that position."""
    expected = f"as {recovery.cluster} was at {recovery.position}"
    subject = f"recovery of {recovery.cluster}"
    if recovery.recovery_unseen is not None:
        yield Finding.unseen(subject, expected, recovery.recovery_unseen)
        return
    if recovery.failed:
        yield Finding(subject, f"a database {expected}", _failed(recovery), False)
        return
    source, restored = _by_name(recovery.source), _by_name(recovery.restored)
    if not source:
        yield missing(subject, expected, "the source has no table to compare", Cause.EMPTY)
        return
    for database in sorted({table.database for table in source.values()}):
        tables = {name: table for name, table in source.items() if table.database == database}
        wrong = list(_differences(tables, {n: t for n, t in restored.items() if t.database == database}))
        rows = sum(table.rows for table in tables.values())
        same = f"{count(len(tables), 'table')} with {count(rows, 'row')} are the same, {recovery.took_s:.0f} s later"
        yield Finding(f"restored database {database}", expected, "; ".join(wrong) or same, not wrong)


def _failed(recovery: Recovery) -> str:
    return f"none answered within {recovery.took_s:.0f} s: {recovery.failed}"


def _by_name(tables: tuple[Table, ...]) -> dict[str, Table]:
    return {f"{table.database}.{table.name}": table for table in tables}


def _differences(source: dict[str, Table], restored: dict[str, Table]) -> Iterator[str]:
    for name in sorted(set(source) | set(restored)):
        had, has = source.get(name), restored.get(name)
        if had is None:
            yield f"table {name} was not in the source"
        elif has is None:
            yield f"table {name} is missing"
        elif had.rows != has.rows:
            yield f"table {name} has {count(has.rows, 'row')}, the source had {had.rows}"
        elif had.checksum != has.checksum:
            yield f"table {name} has as many rows ({had.rows}), and other contents"


# --- 5.5


def archiving(backups: Backups, _limits: Limits) -> Iterator[Finding]:
    """archiving: the server archives, what it calls archived lies in the store, and no segment is missing there."""
    whole = "to archive, into the store"
    archiver = backups.archiver
    subject = f"archiver of {backups.cluster}"
    if archiver is None:
        yield _no_archiver(backups, subject, whole)
    elif archiver.mode not in {"on", "always"}:
        yield Finding(subject, whole, f"archive_mode is {archiver.mode}", False)
    elif not archiver.last_archived:
        yield Finding(subject, whole, "it has archived nothing" + _since(archiver), False)
    elif backups.unseen is not None:
        yield Finding.unseen(subject, whole, backups.unseen)
    else:
        yield _last_is_there(backups, archiver.last_archived, subject, whole)
    yield from _chain(backups)


def _no_archiver(backups: Backups, subject: str, expected: str) -> Finding:
    if backups.archiver_unseen is not None:
        return Finding.unseen(subject, expected, backups.archiver_unseen)
    return missing(subject, expected, "it was not asked", Cause.EMPTY)


def _since(archiver: Archiver) -> str:
    return f" since {archiver.since:%Y-%m-%d %H:%M} UTC" if archiver.since is not None else ""


def _last_is_there(backups: Backups, last: str, subject: str, expected: str) -> Finding:
    """Whether the segment that the server calls archived lies in the store; one with an ending is no segment."""
    segment = last.partition(".")[0]
    if re.fullmatch(r"[0-9A-F]{24}", segment) is None:
        return Finding(subject, expected, f"the last thing archived, {last}, is no segment", True)
    there = not backups.missing(segment, segment)
    observed = f"{segment}, the last that it calls archived, {'is' if there else 'is not'} in {backups.store}"
    return Finding(subject, expected, observed, there)


def _chain(backups: Backups) -> Iterator[Finding]:
    """Whether WAL lies in the store without a gap, from the oldest backup that is kept on."""
    subject, expected = f"WAL in {backups.store}", "every segment from the oldest backup on"
    if backups.unseen is not None:
        yield Finding.unseen(subject, expected, backups.unseen)
        return
    done = [b.begin_wal for b in backups.backups if b.status == "DONE" and b.begin_wal]
    if not done or not backups.runs:
        what = "no backup that is done" if backups.runs else "no segment"
        yield Finding(subject, expected, f"{what} is there", False)
        return
    first, last = min(done), backups.last
    gap = backups.missing(first, last)
    total = max(backups.number(last) - backups.number(first) + 1, 0)
    observed = f"{count(total, 'segment')} without a gap, from {first} to {last}"
    if gap:
        observed = f"{len(gap)} of {count(total, 'segment')} from {first} to {last} missing, at first number {gap[0]:X}"
    yield Finding(
        subject, expected, observed if total else f"the newest is {last}, before {first}", bool(total) and not gap
    )


def archive_age(backups: Backups, limits: Limits) -> Iterator[Finding]:
    """archive-age: the newest segment in the store was put there a short time ago, or nothing was written since."""
    limit = limits["archive_age"]
    subject, expected = f"newest WAL of {backups.cluster}", f"archived {limit.text()} ago"
    if backups.unseen is not None:
        yield Finding.unseen(subject, expected, backups.unseen)
        return
    stored = backups.newest_wal
    if stored is None or stored.modified is None:
        yield Finding(subject, expected, f"none is in {backups.store}", False)
        return
    age_s = (backups.asked_at - stored.modified).total_seconds()
    idle = ", after a row was written to see whether it is" if backups.stirred else ""
    yield Finding(subject, expected, f"{stored.name} was archived {age_s:.0f} s ago{idle}", limit.allows(age_s))


def archive_failures(backups: Backups, _limits: Limits) -> Iterator[Finding]:
    """archive-failures: the archiver's last attempt was a success."""
    subject, expected = f"archiver of {backups.cluster}", "no failed attempt since the last success"
    archiver = backups.archiver
    if archiver is None:
        yield _no_archiver(backups, subject, expected)
        return
    last = archiver.last_archived_at
    if archiver.last_failed_at is not None and (last is None or archiver.last_failed_at > last):
        ago = (archiver.asked_at - archiver.last_failed_at).total_seconds()
        observed = f"it failed to archive {archiver.last_failed} {ago:.0f} s ago, "
        observed += "and has never archived" if last is None else f"and archived last {_ago(archiver, last)} ago"
        yield Finding(
            subject, expected, f"{observed} ({count(archiver.failed_count, 'failure')}{_since(archiver)})", False
        )
    elif last is None:
        yield missing(subject, expected, "it has tried nothing" + _since(archiver), Cause.EMPTY)
    else:
        observed = f"archived {archiver.last_archived} {_ago(archiver, last)} ago, no failure since"
        yield Finding(subject, expected, observed, True)


def _ago(archiver: Archiver, at: datetime) -> str:
    return f"{(archiver.asked_at - at).total_seconds():.0f} s"


def recovery_to_an_instant(recovery: Recovery, _limits: Limits) -> Iterator[Finding]:
    """recovery-to-an-instant: what was recovered holds every row committed before the instant, and none after it."""
    at = f"{recovery.instant:%H:%M:%S.%f} UTC"
    subject = f"recovery of {recovery.cluster}"
    expected = f"every row committed before {at} and none after it"
    if recovery.recovery_unseen is not None:
        yield Finding.unseen(subject, expected, recovery.recovery_unseen)
        return
    if recovery.failed:
        yield Finding(subject, expected, _failed(recovery), False)
        return
    before, after, found = set(recovery.before), set(recovery.after), set(recovery.found)
    if not before or not after:
        detail = f"{count(len(before), 'row')} before it and {len(after)} after it are too few to tell"
        yield missing(subject, expected, detail, Cause.EMPTY)
        return
    lost, extra = sorted(before - found), sorted(after & found)
    subject = f"rows committed before {at}"
    held = f"{len(before) - len(lost)} of {len(before)} are there"
    yield Finding(subject, "all of them", f"{held}, missing: number {some(lost)}" if lost else held, not lost)
    held = f"{len(extra)} of {len(after)} are there"
    subject = f"rows committed after {at}"
    yield Finding(subject, "none of them", f"{held}: number {some(extra)}" if extra else held, not extra)


def recovery_point(recovery: Recovery, limits: Limits) -> Iterator[Finding]:
    """recovery-point: at the worst instant seen, the rows that were not yet in the archive span little time.

    Seen are all instants up to the arrival of a segment that nobody forced; without one, it is the end of watching.
    """
    limit = limits["rpo"]
    subject, expected = f"{recovery.cluster} with everything but the archive gone", f"loses {limit.text()}"
    worst = recovery.exposure
    over = worst is not None and not limit.allows(worst[0])
    if recovery.archive_unseen is not None and not over:
        yield Finding.unseen(subject, expected, recovery.archive_unseen)
    elif worst is None or (not recovery.cycles and not over):
        seen = count(len(recovery.arrivals), "segment")
        detail = f"no segment was seen to arrive by itself ({seen} did in all), so the worst instant was not seen"
        yield missing(subject, expected, detail, Cause.EMPTY)
    else:
        lost_s, at = worst
        observed = f"at the worst instant, {at:%H:%M:%S} UTC, the rows of the last {lost_s:.1f} s were not archived"
        yield Finding(subject, expected, observed, not over)
