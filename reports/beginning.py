"""``beginning.json``: what a run is known to be before it asks anything, and whether it is still at work.

It is written first, so that a run that is killed can be taken up again. The file is held while the run lives; the
kernel lets go of it whatever ends the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from reports.canonical import UNREADABLE, pretty
from reports.model import Beginning
from reports.store import StoreError, write_whole

BEGINNING: Final = "beginning.json"


@contextlib.contextmanager
def begun(folder: Path, beginning: Beginning) -> Iterator[None]:
    """Write it into the folder of the run, which is at work until the block ends. Raises StoreError."""
    file = folder / BEGINNING
    write_whole({file: pretty(beginning)})
    held = os.open(file, os.O_RDONLY)
    try:
        # Where the file system has no locks, nobody can tell whether a run is at work.
        with contextlib.suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_SH)
        yield
    finally:
        os.close(held)


def at_work(folder: Path) -> bool:
    """Whether the run of a folder is under way on this machine."""
    try:
        file = os.open(folder / BEGINNING, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False


def beginning_of(folder: Path) -> Beginning | None:
    """What a run was meant to be, None where it never said so. Raises StoreError where the file cannot be read."""
    file = folder / BEGINNING
    try:
        return msgspec.json.decode(file.read_bytes(), type=Beginning)
    except FileNotFoundError:
        return None
    except (OSError, *UNREADABLE) as error:
        sentence = f"cannot read {file}: {error}. It was altered, or written by another version."
        raise StoreError(sentence) from error
