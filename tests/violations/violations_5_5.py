"""Requirement 5.5 violated: WAL archiving, and recovery to an instant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.violations.database import CLUSTER, primary, sql
from tests.violations.lab import Lab
from tests.violations.object_store import archive_command, archived, closed, one_more_backup, store
from tests.violations.violation import violates

RECOVERY: Final = frozenset({("5.2", "restores"), ("5.5", "recovery-to-an-instant"), ("5.5", "recovery-point")})


@violates(
    "5.5",
    "archiving",
    r"archiver of production/finbot-db: [0-9A-F]{24}, the last that it calls archived, is not in s3://backups/finbot-db",
    blinds=RECOVERY,
)
def archive_command_does_nothing(lab: Lab) -> Iterator[None]:
    """The archive command was replaced by one that does nothing, and succeeds."""
    with archive_command(lab, "true") as name:
        segment = closed(lab)
        last = "select last_archived_wal from pg_stat_archiver"
        lab.until(lambda: sql(lab, name, last) == segment, f"{segment} to be called archived")
        yield


@violates(
    "5.5", "archiving", r"WAL in s3://backups/finbot-db: 1 of \d+ segments from \w+ to \w+ missing, at first number"
)
def segment_gone_between_two_backups(lab: Lab) -> Iterator[None]:
    """A segment from between two backups was deleted: no resource tells, and instants between them are lost."""
    with store(lab) as s3:
        segment = archived(lab, s3)
        chosen = f"[s['key'] for s in segments(s3, bucket, prefix) if s['name'] == '{segment}']"
        with one_more_backup(lab, s3, "seeded-violation"), s3.without(chosen) as moved:
            assert moved
            archived(lab, s3)
            yield


@violates(
    "5.5", "archive-age", r"newest WAL of production/finbot-db: [0-9A-F]{24} was archived \d+ s ago", blinds=RECOVERY
)
def archiver_hangs(lab: Lab) -> Iterator[None]:
    """The archive command hangs at a store that takes no more; it never fails, and so nobody is told."""
    with archive_command(lab, "sleep 3600") as name:
        closed(lab)
        age = "select extract(epoch from now() - last_archived_time) > {} from pg_stat_archiver"
        allowed = lab.target.limits["5.5"]["archive_age"]
        lab.until(lambda: sql(lab, name, age.format(allowed)) == "t", "the archive to have aged", 2 * allowed)
        yield


@violates("5.5", "archive-failures", r"it failed to archive [0-9A-F]{24} \d+ s ago, and archived last", blinds=RECOVERY)
def archive_command_fails(lab: Lab) -> Iterator[None]:
    """Every attempt to archive fails."""
    with archive_command(lab, "false") as name:
        closed(lab)
        failed = "select last_failed_time > last_archived_time from pg_stat_archiver"
        lab.until(lambda: sql(lab, name, failed) == "t", "an attempt to fail")
        yield


@violates(
    "5.5",
    "recovery-to-an-instant",
    r"recovery of production/finbot-db: none answered within \d+ s: .*recovery",
    implies=frozenset({("5.2", "restores"), ("5.5", "archiving")}),
)
def segment_gone_after_the_backup(lab: Lab) -> Iterator[None]:
    """A segment that was archived after the newest backup is not there any more."""
    with store(lab) as s3:
        segment = archived(lab, s3)
        with s3.without(f"[s['key'] for s in segments(s3, bucket, prefix) if s['name'] == '{segment}']") as moved:
            assert moved
            yield


@violates("5.5", "recovery-point", r"with everything but the archive gone: at the worst instant, .* were not archived")
def quiet_hours_are_not_archived(lab: Lab) -> Iterator[None]:
    """archive_timeout was set to an hour: as long as little is written, little is archived."""
    parameters = {"spec": {"postgresql": {"parameters": {"archive_timeout": "1h"}}}}
    with lab.patched(CLUSTER, parameters, {"spec": {"postgresql": {"parameters": {"archive_timeout": _timeout(lab)}}}}):
        show = "show archive_timeout"
        lab.until(lambda: sql(lab, primary(lab), show) == "1h", "the setting to be in force")
        yield


def _timeout(lab: Lab) -> str:
    """The declared archive_timeout."""
    text: str = lab.get(CLUSTER)["spec"]["postgresql"]["parameters"]["archive_timeout"]
    return text
