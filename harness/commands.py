"""What the commands share: how they name runs, print what they found, and tell a wrong call."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:  # what a command does not need is not loaded for it
    from rich.console import RenderableType

    from reports.model import RunRecord

USAGE: Final = 4
"""The exit code of a wrong call: pytest's own."""
RUNS: Final = Path("out/runs")

RunsOption = Annotated[Path, typer.Option("--runs", help="Where runs are kept.")]
JsonOption = Annotated[bool, typer.Option("--json", help="All of it, for a program.")]


class CallError(Exception):
    """A wrong call; the message is a sentence for the user."""


@contextlib.contextmanager
def wrong_calls() -> Iterator[None]:
    """Whatever is wrong with the call or a file ends with its sentence and exit code 4."""
    from policies.catalogue import UnknownNameError
    from policies.documents import DocumentError
    from reports.signing import SigningError
    from reports.store import StoreError

    try:
        yield
    except (DocumentError, UnknownNameError, StoreError, SigningError, CallError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(USAGE) from error


def moment(as_of: str | None) -> datetime:
    """The time that is meant, in UTC: now where none is named. Raises CallError."""
    try:
        return datetime.now(UTC) if as_of is None else datetime.fromisoformat(as_of).replace(tzinfo=UTC)
    except ValueError as error:
        raise CallError(f'--as-of: "{as_of}" is no time; write it as 2026-11-24T12:00.') from error


def recorded(named: str, runs: Path) -> RunRecord:
    """A run by its id, or its folder. Raises StoreError."""
    from reports.store import RunStore

    return RunStore.open(runs / named if (runs / named).is_dir() else Path(named)).read()


def printed(value: object, json: bool, screen: Callable[[], RenderableType]) -> None:
    """Print what a command found: all of it as JSON, or the screen."""
    if json:
        import msgspec

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n")
        return
    from rich.console import Console

    Console(highlight=False).print(screen())
