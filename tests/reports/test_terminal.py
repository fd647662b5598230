"""One screen, and nothing a cluster says can steer the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from policies.catalogue import Catalogue
from reports.store import RunStore
from reports.terminal import show
from tests.reports.example import healthy, make_run


def screen(store: RunStore, catalogue: Catalogue, width: int = 100, *, colour: bool = False) -> str:
    console = Console(width=width, force_terminal=colour, no_color=not colour, highlight=False)
    with console.capture() as capture:
        show(store.read(), catalogue, console)
    return capture.get()


def test_a_green_run_is_one_short_screen(tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = make_run(tmp_path, catalogue, healthy, gap_s=3.2)
    text = screen(store, catalogue, 80)
    assert "All 4 requirements checked hold" in text
    assert all(requirement.id in text for requirement in catalogue)
    assert f"report {store.run_id}/report.html" in text
    assert len(text.splitlines()) <= 24


def test_what_is_broken_stands_beside_how_it_is_mended(tmp_path: Path, catalogue: Catalogue) -> None:
    text = " ".join(screen(make_run(tmp_path, catalogue), catalogue).split())
    assert "2 of 4 requirements checked do not hold" in text
    assert "✗ 1.1 write-gap api endpoint: writes stopped for 51.05 s" in text
    assert f"→ {' '.join(catalogue.remedy('1.1', 'write-gap').split())}" in text
    assert "? 1.3 dns-latency (forbidden) w3: pods in verify-system: HTTP 403" in text
    assert "→ bind the disruptor" in text
    assert "verify run --target lab --requirement 1.1,1.4" in text


def test_what_was_not_brought_back_comes_first_of_what_to_do(tmp_path: Path, catalogue: Catalogue) -> None:
    text = screen(make_run(tmp_path, catalogue, healthy, gap_s=3.2, not_restored=("cp2 is cut off",)), catalogue)
    assert "The deployment is not as it was found" in text
    assert "Not restored cp2 is cut off" in text
    assert "verify restore --target lab" in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_hostile_text_is_neither_obeyed_nor_read_as_markup(tmp_path: Path, catalogue: Catalogue, width: int) -> None:
    text = screen(make_run(tmp_path, catalogue), catalogue, width)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert max(len(line.rstrip()) for line in text.splitlines() if not line.startswith("report")) <= width
