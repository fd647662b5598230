"""JSON that has one form only, so that not even a blank can be changed unseen."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that anyone may have written."""


class NotCanonicalError(ValueError):
    """Bytes that are not as they are written here; ``line`` is where (from 1), where that can be said."""

    def __init__(self, what: str, line: int | None = None) -> None:
        super().__init__(what)
        self.line = line


def pretty(value: object) -> bytes:
    """A value for people as well: sorted keys, an indent of one, a newline at the end."""
    return msgspec.json.format(compact(value), indent=1) + b"\n"


def compact(value: object) -> bytes:
    """A value on one line, keys sorted."""
    return msgspec.json.encode(value, order="sorted")


def read_pretty(raw: bytes) -> Any:
    """What ``pretty`` wrote. Raises NotCanonicalError with the line from which on it is something else."""
    return _read(raw, pretty)


def read_compact(raw: bytes) -> Any:
    """What ``compact`` wrote. Raises NotCanonicalError."""
    return _read(raw, compact)


def _read(raw: bytes, write: Any) -> Any:
    try:
        value = msgspec.json.decode(raw)
        again = write(value)
    except UNREADABLE as error:
        raise NotCanonicalError(f"it is no JSON ({error})", _where_it_breaks(raw)) from error
    if again != raw:
        pairs = enumerate(zip(raw, again, strict=False))
        same = next((at for at, (one, other) in pairs if one != other), min(len(raw), len(again)))
        raise NotCanonicalError("it is not as it was written", raw[:same].count(b"\n") + 1)
    return value


def _where_it_breaks(raw: bytes) -> int | None:
    try:
        json.loads(raw)  # msgspec does not say where
    except UnicodeDecodeError as error:
        return raw[: error.start].count(b"\n") + 1
    except json.JSONDecodeError as error:
        return error.lineno
    return None
