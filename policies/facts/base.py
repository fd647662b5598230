"""What every observation has in common: when it was made, and an honest word for what could not be seen."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")


class Cause(StrEnum):
    """Why something has no verdict. Each asks something else of the reader, so they are never merged."""

    FORBIDDEN = "forbidden"  # the system answered 401 or 403
    ABSENT = "absent"  # 404, no such kind, no such component
    EMPTY = "empty"  # asked and answered, and there was nothing to judge
    STALE = "stale"  # seen too long ago to count
    UNREACHABLE = "unreachable"  # no answer, a time-out, or a 5xx
    INVALID = "invalid"  # an answer that cannot be understood
    NO_CHECK = "no check yet"  # the catalogue states it, no test reaches it
    NOT_SELECTED = "not selected"  # the run was told to leave it out
    INTERRUPTED = "interrupted"  # the run ended before its turn came
    UNSAFE = "unsafe"  # a fault was not injected because its preconditions did not hold


class Unseen(Struct, frozen=True):
    """Something that was looked for and could not be seen. Never equal to "nothing is there"."""

    cause: Cause
    what: str
    """What was looked for, e.g. ``pods`` or ``cp1 over SSH``."""
    detail: str
    """What the system said, shortened."""
    remedy: str = ""
    """What an operator can do about it."""


class Fact(Struct, frozen=True):
    """Base of every recorded observation. ``seen_at`` is the UTC instant at which looking ended."""

    seen_at: datetime


class Listing(Struct, Generic[T], frozen=True):
    """All objects of one kind, or why they could not be listed. ``items`` means nothing when ``unseen`` is set."""

    resource: str
    items: tuple[T, ...] = ()
    unseen: Unseen | None = None
