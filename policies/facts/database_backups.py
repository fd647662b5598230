"""Backups of a PostgreSQL cluster: what is declared, what lies in the object store, and what came out of it again.

Sources: CloudNativePG's API reference (``Cluster``, ``Backup``, ``ScheduledBackup``), Barman's layout of an object
store (``base/<id>/backup.info``, ``wals/<16 digits>/<segment>``), PostgreSQL's ``pg_stat_archiver``.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from policies.facts.base import Fact, Listing, Unseen

SEGMENT_BYTES = 16 * 1024 * 1024
_SPACE = 1 << 32


def segment_number(name: str, size: int = SEGMENT_BYTES) -> int:
    """The number of a WAL segment on its timeline, from its 24 digits."""
    return int(name[8:16], 16) * (_SPACE // size) + int(name[16:24], 16)


def segment_end(name: str, size: int = SEGMENT_BYTES) -> int:
    """The position at which a WAL segment ends."""
    return (segment_number(name, size) + 1) * size


def position(text: str) -> int:
    """A position in the WAL, ``16/B374D848``, as bytes."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


# --- what is declared


class Schedule(Struct, frozen=True):
    """A ScheduledBackup of the cluster. ``schedule`` is cron with seconds."""

    name: str
    schedule: str
    suspended: bool
    created: datetime | None = None


class BackupPlan(Fact, frozen=True):
    """When backups of a cluster are taken, as its ScheduledBackups say. ``cluster`` is ``namespace/name``."""

    cluster: str
    archives: bool
    """Whether the Cluster names an object store; without one no schedule comes to anything."""
    schedules: Listing[Schedule]


# --- what lies in the object store


class Stored(Struct, frozen=True):
    """An object of the store. ``encryption`` is what it says of itself when asked, such as ``AES256``; or empty."""

    name: str
    size: int
    encryption: str = ""
    modified: datetime | None = None


class BaseBackup(Struct, frozen=True):
    """A base backup by its ``backup.info``, and the files beside it."""

    id: str
    status: str
    """``DONE`` where it was finished; empty where there is no backup.info that can be read."""
    began: datetime | None
    ended: datetime | None
    begin_wal: str
    end_wal: str
    files: tuple[Stored, ...]
    expected: tuple[str, ...] = ("data",)
    """The archives that it must have, without their endings: ``data`` and one for each tablespace."""

    @property
    def trouble(self) -> str:
        """What it lacks to be restored, by its files alone, or nothing."""
        if self.status != "DONE" or self.ended is None:
            return f"its backup.info says {self.status}" if self.status else "it has no backup.info"
        lacks = []
        for name in self.expected:
            sizes = [file.size for file in self.files if file.name.partition(".")[0].partition("_")[0] == name]
            if not sizes:
                lacks.append(f"{name}.tar is not there")
            elif not min(sizes):
                lacks.append(f"{name}.tar is empty")
        return "; ".join(lacks)


class WalRun(Struct, frozen=True):
    """Archived segments of one timeline without a gap, the first and the last; none of them is empty."""

    first: str
    last: str


class Declared(Struct, frozen=True):
    """A Backup object that says it is complete."""

    name: str
    id: str
    """Barman's id, the folder in the store."""


class Expiry(Struct, frozen=True):
    """A lifecycle rule of the bucket that ends current objects."""

    id: str
    days: int


class RawLook(Struct, frozen=True):
    """A search of the bytes on the store's own disk. ``sample`` is a text of the newest backup, as S3 hands it out."""

    where: str
    files: int
    bytes: int
    found: tuple[str, ...]
    """Files that hold the sample in plain."""
    control: bool
    """Whether the same search finds what does lie there."""


class Archiver(Struct, frozen=True):
    """``pg_stat_archiver`` of the primary, and its settings."""

    mode: str
    archived_count: int
    last_archived: str
    last_archived_at: datetime | None
    failed_count: int
    last_failed: str
    last_failed_at: datetime | None
    since: datetime | None
    """When its counters began."""
    position: str
    """Up to where WAL is written."""
    asked_at: datetime
    """By the server's clock."""


class Backups(Fact, frozen=True):
    """What is stored of a cluster, and how its archiver does. ``cluster`` is ``namespace/name``."""

    cluster: str
    store: str
    """Where, e.g. ``s3://backups/finbot-db``."""
    asked_at: datetime
    """When the store was listed, by the clock of the pod that did."""
    policy: str
    """The Cluster's retentionPolicy, e.g. ``30d``; empty without one."""
    scheduled_since: datetime | None
    backups: tuple[BaseBackup, ...]
    declared: tuple[Declared, ...]
    runs: tuple[WalRun, ...]
    newest_wal: Stored | None
    segment_bytes: int = SEGMENT_BYTES
    stirred: bool = False
    """Whether a row was written first, because nothing new had come into the archive for long."""
    bucket_encryption: str = ""
    expiries: tuple[Expiry, ...] = ()
    expiries_unseen: Unseen | None = None
    raw: RawLook | None = None
    """None where the target does not say where the store's own disk is."""
    raw_unseen: Unseen | None = None
    archiver: Archiver | None = None
    archiver_unseen: Unseen | None = None
    unseen: Unseen | None = None
    """Set where the store could not be read; what is said of it then means nothing."""

    def number(self, segment: str) -> int:
        """A segment's number, in this cluster's size of segments."""
        return segment_number(segment, self.segment_bytes)

    def missing(self, first: str, last: str) -> tuple[int, ...]:
        """Numbers from one segment to another that no timeline's archive holds."""
        spans = [(self.number(run.first), self.number(run.last)) for run in self.runs]
        numbers = range(self.number(first), self.number(last) + 1)
        return tuple(n for n in numbers if not any(low <= n <= high for low, high in spans))

    @property
    def last(self) -> str:
        """The archived segment with the highest number, or nothing."""
        return max((run.last for run in self.runs), key=self.number, default="")

    def trouble(self, backup: BaseBackup) -> str:
        """What a base backup lacks to be restored: its own files, or the WAL that was written while it was taken."""
        if backup.trouble:
            return backup.trouble
        missing = self.missing(backup.begin_wal, backup.end_wal)
        return f"{len(missing)} of the WAL segments that belong to it are not there" if missing else ""

    def awaited(self, backup: BaseBackup) -> bool:
        """Whether all that it lacks is WAL that the archive has not come to yet, as right after it was taken."""
        if backup.trouble:
            return False
        missing = self.missing(backup.begin_wal, backup.end_wal)
        return bool(missing) and (not self.last or missing[0] > self.number(self.last))

    @property
    def whole(self) -> tuple[BaseBackup, ...]:
        """The base backups that can be restored, the oldest first."""
        return tuple(sorted((b for b in self.backups if not self.trouble(b)), key=lambda b: b.ended or self.asked_at))


# --- what came out of it


class Table(Struct, frozen=True):
    """A table's contents: how many rows, and a checksum that does not depend on their order."""

    database: str
    name: str
    rows: int
    checksum: str


class Row(Struct, frozen=True):
    """A row that was committed, and acknowledged: WAL positions before it began and after it was."""

    number: int
    at: datetime
    """When it was acknowledged, by the clock of the pod that wrote."""
    before: str
    after: str


class Arrival(Struct, frozen=True):
    """A WAL segment that was seen in the archive for the first time, by the clock of the pod that wrote the rows."""

    segment: str
    at: datetime


class Recovery(Fact, frozen=True):
    """A scratch cluster recovered from the store, beside what the source held at the same instant.

    Rows were written one after the other all the while. ``instant`` lies between two of them: it is the time of the
    last commit that a standby had replayed when it was halted at ``position`` and its contents were taken.
    """

    cluster: str
    scratch: str
    instant: datetime
    position: str
    backup: str
    """The base backup that was the newest, by its id."""
    source: tuple[Table, ...]
    restored: tuple[Table, ...]
    rows: tuple[Row, ...]
    found: tuple[int, ...]
    """Numbers of the rows that the recovered database holds."""
    took_s: float
    """From asking for the recovery to a database that answers, or to the end of waiting."""
    arrivals: tuple[Arrival, ...]
    forced: str
    """The segment that was closed on purpose, so that the recovery had what it needed."""
    watched_until: datetime
    segment_bytes: int = SEGMENT_BYTES
    failed: str = ""
    """What the recovery itself said where no database came out of it."""
    recovery_unseen: Unseen | None = None
    """Why the recovery could not be tried; what came out then means nothing."""
    archive_unseen: Unseen | None = None
    """Why the archive could not be watched to the end."""

    @property
    def before(self) -> tuple[int, ...]:
        """Numbers of the rows that were committed before the instant."""
        return tuple(row.number for row in self.rows if position(row.after) <= position(self.position))

    @property
    def after(self) -> tuple[int, ...]:
        """Numbers of the rows that were begun after the instant."""
        return tuple(row.number for row in self.rows if position(row.before) >= position(self.position))

    @property
    def cycles(self) -> int:
        """How many segments arrived that nobody had forced."""
        return sum(arrival.segment > self.forced for arrival in self.arrivals)

    @property
    def exposure(self) -> tuple[float, datetime] | None:
        """The longest time, in seconds, that would have been lost with everything gone, and at which instant.

        At each instant that is the time since the newest row in the archive was acknowledged. It is longest right
        before a segment arrives, and at the end of watching. None where no row was ever seen in the archive.
        """
        ends = [(arrival.at, segment_end(arrival.segment, self.segment_bytes)) for arrival in self.arrivals]
        worst: tuple[float, datetime] | None = None
        covered = 0
        for at, end in [*sorted(ends), (self.watched_until, 0)]:
            safe = [row.at for row in self.rows if position(row.after) <= covered and row.at <= at]
            if safe and (worst is None or (at - max(safe)).total_seconds() > worst[0]):
                worst = (at - max(safe)).total_seconds(), at
            covered = max(covered, end)
        return worst
