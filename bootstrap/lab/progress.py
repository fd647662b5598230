"""What a person sees while the lab works: one line a step, with its time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Progress:
    """Prints steps. `began` counts from the start of the command."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.began = time.monotonic()

    def say(self, text: str) -> None:
        """One line of detail."""
        self.console.print(f"  [dim]{text}[/dim]", soft_wrap=True)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show `name` while the block runs, and its time when it has ended well."""
        began = time.monotonic()
        if self.console.is_terminal:
            with self.console.status(name):
                yield
        else:
            yield
        now = time.monotonic()
        self.console.print(f"[green]✓[/green] {name} [dim]{now - began:.1f} s[/dim]", soft_wrap=True)

    def done(self, text: str) -> None:
        """An outcome, with the time since the start of the command; the last one ends it."""
        self.console.print(f"[bold]{text}[/bold] [dim]({time.monotonic() - self.began:.1f} s)[/dim]", soft_wrap=True)
