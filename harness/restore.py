"""``verify restore``: undo what a run that did not end left broken, and prove it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from fixtures.faults import FAULTS
from fixtures.kubernetes import Api, operator
from fixtures.scratch import leftovers, remove_leftovers
from fixtures.unobservable import Unobservable
from harness.injection import NotRestoredError, undo
from harness.journal import Entry, Journal, Line, open_lines
from harness.lease import Lease
from harness.preflight import as_identity
from targets.model import Target


class BusyError(Exception):
    """A run that is alive holds the lease: what it broke is its own to undo."""


def restore(target: Target, runs: Path, say: Callable[[str], None]) -> list[str]:
    """Undo every open journal entry of the target and remove scratch objects; returns what could not be mended.

    Entries are read from the cluster and from the runs of this machine, so that a fault is undone even while the API
    does not answer. Raises BusyError while a run that is alive holds the disruption lease.
    """
    problems: list[str] = []
    files = sorted(runs.glob("*/journal.jsonl"))
    entries: dict[str, tuple[Entry, Path | None]] = {
        entry.id: (entry, file) for file in files for entry in open_lines([file], target.name)
    }
    api, journal = _cluster(target, say)
    if api is not None and journal is not None:
        holder = Lease(api, target.identities.namespace, "restore").holder()
        if holder is not None:
            raise BusyError(f"{holder} is running and undoes its own faults; end it first, or wait until it has ended")
        in_cluster = {entry.id: entry for entry in journal.entries()}
        entries = {**{i: (e, None) for i, e in in_cluster.items()}, **entries}
    for entry, file in entries.values():
        say(f"undo {entry.fault} {entry.parameters} of run {entry.run}")
        try:
            undo(FAULTS[entry.fault], target, entry)
        except KeyError:
            problems.append(
                f"entry {entry.id}: this version knows no fault {entry.fault}; use the version that injected it"
            )
            continue
        except NotRestoredError as error:
            problems.append(str(error))
            continue
        if file is not None:
            with file.open("ab") as out:
                out.write(msgspec.json.encode(Line(datetime.now(UTC), "undone", entry)) + b"\n")
        say(f"undone: {entry.fault}")
    if not entries:
        say("the journal is empty: nothing is broken")
    undone = [] if problems else list(entries)
    return problems + _tidy(target, undone, say)


def _cluster(target: Target, say: Callable[[str], None]) -> tuple[Api | None, Journal | None]:
    try:
        api = as_identity(target, operator(target), target.identities.disruptor)
    except Unobservable as error:
        say(f"the cluster cannot be asked ({error.unseen.detail}); using the journals of this machine")
        return None, None
    return api, Journal(api, target.identities.namespace)


def _tidy(target: Target, undone: list[str], say: Callable[[str], None]) -> list[str]:
    """Close what was undone and remove scratch objects, asking the API anew: it may be back now."""
    api, journal = _cluster(target, say)
    if api is None or journal is None:
        return ["the API does not answer: run `verify restore` again when it does, to close the journal"]
    try:
        for entry_id in undone:
            journal.close(entry_id)
        for name in leftovers(api):
            say(f"remove {name}")
        remove_leftovers(api)
    except Unobservable as error:
        return [f"{error.unseen.what}: {error.unseen.detail} -> {error.unseen.remedy}"]
    return []
