"""The end of a run: its manifest, its page, its screen."""

from __future__ import annotations

from rich.console import Console

from policies.catalogue import Catalogue
from reports import html, terminal
from reports.model import RunRecord, RunSummary
from reports.store import RunStore


def publish(store: RunStore, summary: RunSummary, catalogue: Catalogue, console: Console | None = None) -> RunRecord:
    """Close the evidence, then draw from it what people read; call it when every other file has been written.

    Raises StoreError where the disk does not take it.
    """
    store.finish(summary)
    record = store.read()
    html.render(record, catalogue)
    terminal.show(record, catalogue, console)
    return record
