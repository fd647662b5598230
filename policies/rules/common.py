"""What the rules share: saying what could not be seen, and putting lists into sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from policies.facts.base import Cause, Listing, Unseen
from policies.finding import Finding

NAMED: Final = 5
"""How many things a sentence names before it only counts them; it has to stay one that a person reads."""


def blind(expected: str, *listings: Listing[Any]) -> Iterator[Finding]:
    """One finding without a verdict for each list that could not be read."""
    for listing in listings:
        if listing.unseen is not None:
            yield Finding.unseen(listing.resource, expected, listing.unseen)


def missing(subject: str, expected: str, detail: str, cause: Cause, remedy: str = "") -> Finding:
    """A subject without a verdict, for a reason that the rule itself found in the facts."""
    return Finding(subject, expected, detail, None, cause, remedy)


def unseen(expected: str, parts: Iterable[Unseen]) -> Iterator[Finding]:
    """One finding without a verdict for each part that a fixture could not see."""
    for part in parts:
        yield Finding.unseen(part.what, expected, part)


def some(names: Sequence[object]) -> str:
    """``a, b, c`` or ``a, b, c, d, e and 7 more``."""
    shown = ", ".join(str(name) for name in names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"


def count(number: int, one: str, many: str = "") -> str:
    """``1 pod``, ``3 pods``."""
    return f"{number} {one if number == 1 else many or one + 's'}"
