"""The runs of a folder, each with what speaks against trusting it.

A run that is not to be trusted is not simply left out. What it says for a clause counts for nothing, and that it spoke
is remembered, so that an older and better word does not come back in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from reports.canonical import UNREADABLE
from reports.chain import MANIFEST, breaks, links
from reports.model import ClauseResult, Manifest, RunRecord
from reports.overview import EXIT_NOT_RESTORED
from reports.store import JOURNAL, LATEST, RESULTS, RunStore, StoreError

NAME_TIME: Final = "%Y%m%d-%H%M%S"  # with which a run's id begins
NAME_TIME_LENGTH: Final = len("20261124-112034")
FAR_FUTURE: Final = datetime.max.replace(tzinfo=UTC)

Verify: TypeAlias = Callable[[Path], str]
"""Says of the folder of a finished run why it is no evidence, in a sentence; empty where it is what the run wrote."""


class _Entry(Struct, frozen=True):
    id: str
    target: str


class _JournalLine(Struct, frozen=True):
    event: str
    entry: _Entry


@dataclass(frozen=True)
class StoredRun:
    """A run as it lies in its folder. ``doubt`` says why it is no evidence; empty where it is."""

    record: RunRecord
    doubt: str
    blind: bool = False
    """Whether not even what it spoke of can be told."""
    journal: tuple[_JournalLine, ...] = ()

    @property
    def name(self) -> str:
        """The run's id."""
        return self.record.run

    @property
    def manifest(self) -> Manifest | None:
        """None where it was interrupted, or where the file cannot be read."""
        return self.record.manifest

    @cached_property
    def started(self) -> datetime:
        """When it began, UTC: nothing in it was seen before. The far future where that cannot be told."""
        if self.manifest is not None:
            return self.manifest.started
        earliest = min((result.started for result in self.record.results), default=None)
        return earliest or _time_in_the_name(self.name)

    @cached_property
    def targets(self) -> frozenset[str]:
        """The deployments it may be of; empty where that cannot be told, which may then be any."""
        if self.manifest is not None:
            return frozenset({self.manifest.target})
        named = {result.target for result in self.record.results if result.target}
        return frozenset(named | {line.entry.target for line in self.journal})

    def of(self, target: str) -> bool:
        """Whether it is, or may be, a run of this target."""
        return not self.targets or target in self.targets

    def spoke_at(self, clause: tuple[str, str]) -> datetime | None:
        """When it had its word on the clause; None where it has none. A run in doubt may have had one that is gone."""
        said = [result.ended for result in self.results(clause)]
        if said:
            return max(said)
        if self.doubt and self.manifest is not None and clause in self.manifest.planned:
            return self.manifest.ended
        return self.started if self.doubt and (self.blind or self.record.damage) else None

    def results(self, clause: tuple[str, str]) -> tuple[ClauseResult, ...]:
        """What it says of a clause; a dry run says nothing that counts."""
        if self.manifest is not None and self.manifest.dry_run:
            return ()
        return tuple(r for r in self.record.results if (r.requirement, r.clause) == clause)

    def seen_from(self, result: ClauseResult) -> datetime:
        """The start of the run in which one of its results was seen, UTC: this one, or one that it resumes."""
        return self.started if self.manifest is None or self.doubt else self.manifest.not_before(result)

    @property
    def left_broken(self) -> str:
        """What it did not bring back as it was found, as a sentence; empty where nothing."""
        manifest = self.manifest
        if manifest is not None:
            if manifest.not_restored:
                return "; ".join(manifest.not_restored)
            if manifest.exit_code == EXIT_NOT_RESTORED:
                return "it ended with exit code 11"
            return ""
        in_force: dict[str, _Entry] = {}
        for line in self.journal:
            if line.event == "undone":
                in_force.pop(line.entry.id, None)
            else:
                in_force[line.entry.id] = line.entry
        return f"its journal holds faults that it did not undo: {', '.join(in_force)}" if in_force else ""


def stored_runs(root: Path) -> tuple[StoredRun, ...]:
    """The runs of a folder, the oldest first, none of them verified. Raises StoreError where there is no folder."""
    if not root.is_dir():
        raise StoreError(f"there is no folder {root}. Start a run with `verify run --target NAME`, or name another.")
    folders = (folder for folder in sorted(root.iterdir()) if folder.name != LATEST)
    runs = [
        _stored(folder) for folder in folders if any((folder / name).is_file() for name in (MANIFEST, RESULTS, JOURNAL))
    ]
    return tuple(sorted(runs, key=lambda run: (run.started, run.name)))


def _stored(folder: Path) -> StoredRun:
    store = RunStore(folder)
    journal = _journal(folder / JOURNAL)
    try:
        record = store.read()
    except StoreError as error:
        unread = RunRecord(run=folder.name, path=str(folder), manifest=None, results=())
        return StoredRun(unread, str(error), blind=True, journal=journal)
    if record.manifest is None:
        return StoredRun(record, "it was interrupted, or is still at work: it has no manifest", journal=journal)
    return StoredRun(record, "", journal=journal)


def verified(run: StoredRun, verify: Verify) -> StoredRun:
    """The run with what speaks against trusting it. Raises StoreError where its files cannot be read."""
    if run.doubt or run.manifest is None:
        return run
    doubt = _contradiction(run.record, run.manifest) or verify(Path(run.record.path))
    if not doubt and run.left_broken:
        doubt = f"it did not leave the deployment as it was found: {run.left_broken}"
    return StoredRun(run.record, doubt, journal=run.journal)


def gaps(root: Path, runs: Iterable[StoredRun]) -> tuple[tuple[datetime, str], ...]:
    """Where runs of a folder may be missing: until when, and what is wrong there. Raises StoreError."""
    ended = {run.name: run.manifest.ended for run in runs if run.manifest is not None}
    try:
        found = [(ended[one.run], one.what) for one in breaks(links(root)) if one.run in ended]
        pointer = root / LATEST
        if pointer.is_symlink() and not pointer.exists():
            found.append((FAR_FUTURE, f"{LATEST} points at run {pointer.readlink()}, which is not there"))
    except OSError as error:
        raise StoreError(f"cannot read {error.filename or root}: {error.strerror or error}.") from error
    return tuple(found)


def _contradiction(record: RunRecord, manifest: Manifest) -> str:
    """Where a run and its manifest do not fit each other; empty where they do."""
    if manifest.run != record.run:
        return f"it lies in the folder of another run: its manifest is that of {manifest.run}"
    if record.damage:
        return record.damage[0]
    for result in record.results:
        name = f"{result.requirement} {result.clause}"
        if result.run != record.run:
            return f"the result of {name} was recorded in another run, {result.run}"
        if result.target not in {"", manifest.target}:
            return f"the result of {name} was recorded for another target, {result.target}"
        try:
            since = manifest.not_before(result)
        except ValueError as error:
            return f"the result of {name}: {error}"
        latest = manifest.started if result.carried_from else manifest.ended
        if not since <= result.started <= result.ended <= latest:
            return f"the result of {name} is from outside the time of the run"
    return ""


def _time_in_the_name(run: str) -> datetime:
    try:
        return datetime.strptime(run[:NAME_TIME_LENGTH], NAME_TIME).replace(tzinfo=UTC)
    except ValueError:
        return FAR_FUTURE


def _journal(file: Path) -> tuple[_JournalLine, ...]:
    if not file.is_file():
        return ()
    lines = []
    for raw in file.read_bytes().splitlines():
        try:
            lines.append(msgspec.json.decode(raw, type=_JournalLine))
        except UNREADABLE:  # cut short by a crash: that fault was in the journal of the cluster before
            continue
    return tuple(lines)
