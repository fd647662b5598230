"""The chain of the runs in one folder: each manifest holds the digest of the one before, so that none can be taken out.

What the chain cannot show is that the newest runs were removed, together with all that followed: nothing follows them.
Whoever must be able to show that keeps the digest of the newest manifest, or its signature, in another place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from reports.canonical import UNREADABLE

MANIFEST: Final = "manifest.json"


class Link(Struct, frozen=True):
    """The part of a manifest that makes the chain; see ``reports.model.Manifest``."""

    number: int = 0
    previous_run: str = ""
    previous: str = ""
    chain: str = ""


@dataclass(frozen=True)
class Linked:
    """A run that is there, its link, and the digest of its manifest."""

    run: str
    link: Link
    digest: str


@dataclass(frozen=True)
class Break:
    """Where the chain is broken: at which run that is there, after which one, and what is wrong, as a sentence."""

    run: str
    after: str
    what: str


def links(root: Path) -> dict[str, Linked]:
    """The runs in a folder whose manifest can be read, by their names. Raises OSError."""
    found = {}
    for file in sorted(root.glob(f"*/{MANIFEST}")):
        if file.parent.is_symlink():  # ``latest``
            continue
        raw = file.read_bytes()
        try:
            link = msgspec.json.decode(raw, type=Link)
        except UNREADABLE:
            continue  # whoever checks that run is told
        found[file.parent.name] = Linked(file.parent.name, link, sha256(raw).hexdigest())
    return found


def next_link(root: Path, run: str) -> Link:
    """The link of a run that ends now: it follows the last one of its folder. Raises OSError."""
    chained = [one for one in links(root).values() if one.link.number > 0 and one.run != run]
    if not chained:
        return Link(1, chain=run)
    last = max(chained, key=lambda one: one.link.number)
    return Link(last.link.number + 1, last.run, last.digest, last.link.chain or last.run)


def breaks(there: Mapping[str, Linked], *, one_folder: bool = True) -> Iterator[Break]:
    """Every place at which the chain of a folder is broken, in its order.

    ``one_folder`` is False for a store into which runs come from several folders, each with a chain of its own, and
    which lets go of the oldest ones when their time is over.
    """
    if one_folder:
        yield from _breaks(there, from_its_start=True)
        return
    for chain in sorted({one.link.chain for one in there.values()}):
        yield from _breaks({run: one for run, one in there.items() if one.link.chain == chain}, from_its_start=False)


def _breaks(there: Mapping[str, Linked], *, from_its_start: bool) -> Iterator[Break]:
    chained = sorted((one for one in there.values() if one.link.number > 0), key=lambda one: one.link.number)
    followed: dict[str, str] = {}
    numbers = {one.link.number for one in chained}
    for one in chained:
        number, name = one.link.number, one.link.previous_run
        before = there.get(name)
        if name in followed:
            also = f"{followed[name]} follows {name}" if name else f"{followed[name]} is the first of its folder"
            yield Break(one.run, name, f"{also} as well: one of the two was put in later")
        followed[name] = one.run
        if not name:
            if number != 1 or one.link.previous:
                yield Break(one.run, name, f"its number is {number}, and it names no run that it follows")
        elif before is None:
            if not from_its_start and number == min(numbers):
                continue
            missing = f"the manifest of run {name}, number {number - 1}, is not there, and {one.run} follows it"
            first = number - 1
            while first > 1 and first - 1 not in numbers:
                first -= 1
            gap = f"; nor are the ones before it, from number {first}" if first < number - 1 else ""
            yield Break(one.run, name, missing + gap)
        elif before.digest != one.link.previous:
            yield Break(one.run, name, f"{MANIFEST} of run {name} was altered after {one.run} had followed it")
        elif before.link.number != number - 1:
            yield Break(one.run, name, f"its number is {number}, that of {name} before it {before.link.number}")
