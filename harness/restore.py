"""``verify restore``: undo what a run that did not end left broken, and prove it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from fixtures.faults import FAULTS
from fixtures.kubernetes import operator
from fixtures.scratch import Scratch, find_scratch, remove_leftovers
from fixtures.unobservable import Unobservable
from fixtures.waiting import WaitTimeout
from harness.identity import as_identity
from harness.injection import NotRestoredError, close, undo
from harness.journal import RESTORED, Journal, open_lines
from harness.lease import Lease
from reports.beginning import BEGINNING, at_work
from reports.faults import Line
from targets.model import Target

AT_WORK_AT_MOST: Final = timedelta(hours=1)
"""No run needs what it made for longer; so much that it does not matter how two machines' clocks differ."""


class BusyError(Exception):
    """A run that is alive holds the lease: what it broke is its own to undo."""


def restore(
    target: Target, runs: Path, command: str, say: Callable[[str], None], *, everything: bool = False
) -> list[str]:
    """Undo every open journal entry of the target and remove scratch objects; returns what could not be mended.

    What a run made that is still at work is left to it. A run of another machine, of which ``runs`` knows nothing, may
    be at work for ``AT_WORK_AT_MOST``; with ``everything`` it is taken to have ended.

    Entries are read from the cluster and from the runs of this machine, so that a fault is undone even while the API
    does not answer. ``command`` is how this is called again. Raises KubeconfigError, and BusyError while a run that is
    alive holds the disruption lease.
    """
    admin = operator(target)
    problems: list[str] = []
    files = [*sorted(runs.glob("*/journal.jsonl")), runs / RESTORED]
    entries = {entry.id: entry for entry in open_lines([f for f in files if f.exists()], target.name)}
    api = admin
    try:
        api = as_identity(target, admin, target.identities.disruptor)
        holder = Lease(api, target.identities.namespace, "restore", say).holder()
        if holder is not None:
            raise BusyError(f"{holder} is at work and undoes its own faults; end it first, or wait until it has ended")
        entries |= {entry.id: entry for entry in Journal(api, target.identities.namespace).entries()}
    except Unobservable as error:
        say(f"the cluster cannot be asked ({error}); using the journals of this machine")
    if not entries:
        say("no journal has an open entry: no fault is in force")
    undone = []
    for entry in entries.values():
        say(f"undo {entry.fault} {entry.parameters} of run {entry.run}")
        if entry.fault not in FAULTS:
            problems.append(f"entry {entry.id}: no fault {entry.fault} is known; use the version that injected it")
            continue
        try:
            undo(FAULTS[entry.fault], target, api, entry, restore=command, progress=say)
        except NotRestoredError as error:
            problems.append(str(error))
            continue
        say(f"undone: {entry.fault}")
        undone.append(entry)
    try:
        # Asked anew, for the API may be back only now.
        api = as_identity(target, admin, target.identities.disruptor)
        for entry in undone:
            close(Journal(api, target.identities.namespace), entry, command, say)
            with (runs / RESTORED).open("ab") as file:
                file.write(msgspec.json.encode(Line(datetime.now(UTC), "undone", entry)) + b"\n")
        removed = [
            each for each in find_scratch(api) if not _spared(each, runs, {e.run for e in undone}, everything, say)
        ]
        for each in removed:
            say(f"remove {each}")
        remove_leftovers(api, removed, say)
    except (Unobservable, NotRestoredError, WaitTimeout) as error:
        problems.append(f"{error}. Run `{command}` again when the API is well, to close the journal and tidy up")
    return problems


def _spared(scratch: Scratch, runs: Path, dead: set[str], everything: bool, say: Callable[[str], None]) -> bool:
    """Whether a run that made something may still be at work with it; says why. ``dead`` are known to have ended."""
    folder = runs / scratch.run
    if scratch.run and (folder / BEGINNING).exists():
        if not at_work(folder):
            return False
        say(f"leave {scratch}: run {scratch.run} is at work, and removes it itself")
        return True
    age = datetime.now(UTC) - scratch.created if scratch.created is not None else AT_WORK_AT_MOST
    if everything or scratch.run in dead or age >= AT_WORK_AT_MOST:
        return False
    minutes = max(0, round(age.total_seconds() / 60))
    say(
        f"leave {scratch}: it was made {minutes} min ago by run {scratch.run or '?'}, of which {runs} knows nothing; "
        "it may be at work elsewhere. Where it has ended, add --all"
    )
    return True
