"""What a run broke on purpose, read back from its ``journal.jsonl``: what, how far, with what proof, until when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from policies.facts.faults import Radius
from reports.canonical import UNREADABLE
from reports.store import JOURNAL, StoreError, whole_lines

BUDGET: Final = "error budget used: "
"""How the line of an undo begins that says how much of the budget was used."""


Event = Literal["open", "injected", "proved", "ended early", "undone"]


class Entry(Struct, frozen=True):
    """One fault that is about to be, or has been, injected. ``parameters`` are all that its undo needs."""

    id: str
    run: str
    target: str
    fault: str
    parameters: dict[str, str]
    opened: datetime
    radius: Radius | None = None
    """What it said it would touch at most; None in entries from before that was kept."""


class Line(Struct, frozen=True):
    """One line of ``journal.jsonl``, which the harness writes."""

    at: datetime
    event: Event
    entry: Entry
    detail: str = ""
    """The proof, why it was ended early, or what of the error budget was used."""


class FaultRecord(Struct, frozen=True, kw_only=True):
    """One fault. Times are UTC, and None where the journal does not say that it came so far."""

    fault: str
    parameters: dict[str, str]
    radius: Radius | None
    opened: datetime
    injected: datetime | None = None
    proved: datetime | None = None
    proof: str = ""
    ended_early: datetime | None = None
    why_early: str = ""
    undone: datetime | None = None
    budget: str = ""
    """How much of the error budget was used, in words."""


def faults_of(run: Path) -> tuple[FaultRecord, ...]:
    """The faults of a run's folder, in their order. A line cut short by a crash is skipped. Raises StoreError."""
    file = run / JOURNAL
    try:
        raw, _ = whole_lines(file.read_bytes())
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise StoreError(f"cannot read {file}: {error.strerror or error}.") from error
    found: dict[str, FaultRecord] = {}
    for line in _lines(raw):
        known = found.get(line.entry.id) or FaultRecord(
            fault=line.entry.fault, parameters=line.entry.parameters, radius=line.entry.radius, opened=line.at
        )
        found[line.entry.id] = msgspec.structs.replace(known, **_said(line))
    return tuple(found.values())


def _lines(raw: list[bytes]) -> Iterator[Line]:
    for one in raw:
        try:
            yield msgspec.json.decode(one, type=Line)
        except UNREADABLE:
            continue


def _said(line: Line) -> dict[str, object]:
    match line.event:
        case "injected":
            return {"injected": line.at}
        case "proved":
            return {"proved": line.at, "proof": line.detail}
        case "ended early":
            return {"ended_early": line.at, "why_early": line.detail}
        case "undone":
            return {"undone": line.at, "budget": line.detail}
    return {}
