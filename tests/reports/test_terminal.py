"""One screen, and nothing a cluster says can steer the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console

from policies.catalogue import Catalogue
from reports.gate import Answer
from reports.store import RunStore
from reports.terminal import show
from tests.reports import gate_runs
from tests.reports.example import LOOSENED, healthy, make_run, summarise, waivers


def screen(
    store: RunStore,
    catalogue: Catalogue,
    width: int = 100,
    *,
    colour: bool = False,
    waived: bool = False,
    answer: Answer | str = "",
) -> str:
    console = Console(width=width, force_terminal=colour, no_color=not colour, highlight=False)
    with console.capture() as capture:
        show(store.read(), catalogue, console, waivers=waivers() if waived else None, answer=answer)
    return capture.get()


def test_a_green_run_is_one_short_screen(tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = make_run(tmp_path, catalogue, healthy, gap_s=3.2, overrides={})
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
    text = screen(make_run(tmp_path, catalogue), catalogue, width, waived=True)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert max(len(line.rstrip()) for line in text.splitlines() if not line.startswith(("report", "next"))) <= width


def test_waivers_and_loosened_limits_lie_beside_the_verdicts(tmp_path: Path, catalogue: Catalogue) -> None:
    store = make_run(tmp_path, catalogue)
    bare, laid = (" ".join(screen(store, catalogue, waived=waived).split()) for waived in (False, True))
    assert "~ waived, 1 of 2 subjects, until 2026-12-04: SEC-12, approved by J. Doe" in laid
    assert "waived" not in bare
    assert "! 1.4 secrets-read Group/developers unused: it names nothing that is broken" in laid
    for text in (bare, laid):
        assert "2 of 4 requirements checked do not hold" in text
        assert "Loosened limits ! 1.1: at most 45 s (api_write_gap) in this target" in text


def test_what_a_narrowed_run_cannot_speak_of_is_named(tmp_path: Path, catalogue: Catalogue) -> None:
    store = make_run(tmp_path, catalogue, healthy, gap_s=3.2, finish=False)
    judged = [(r.requirement, r.clause) for r in store.read().results if r.requirement == "1.1"]
    everything = [(r.requirement, r.clause) for r in store.read().results]
    lines = (store.path / "findings.jsonl").read_text().splitlines(keepends=True)
    (store.path / "findings.jsonl").write_text("".join(line for line in lines if '"requirement":"1.1"' in line))
    summary = summarise(store.run_id, catalogue, judged, LOOSENED)
    store.finish(replace(summary, checks=(*everything, ("1.5", "sidecars")), profile="nightly"))
    text = " ".join(screen(store, catalogue).split())
    assert f"cannot speak of: {len(everything) - len(judged)} clauses" in text
    assert "all of 1.3, 1.4, 10.1" in text
    assert "profile nightly" in text


def test_the_gates_answer_is_the_last_word_but_one(tmp_path: Path, catalogue: Catalogue) -> None:
    store = make_run(tmp_path, catalogue, healthy, gap_s=3.2)
    go = gate_runs.ask(gate_runs.a_run(1))
    no = gate_runs.ask(gate_runs.a_run(1, {("1.4", "wildcards"): gate_runs.broken("a subject")}))
    command = f"verify gate --profile golive --target lab --runs {tmp_path}"
    assert f"gate   GO golive: all of it with `{command}`" in screen(store, catalogue, answer=go)
    assert "gate   NO-GO golive: 1 thing blocks" in screen(store, catalogue, answer=no)
    assert "gate   not asked: no key" in screen(store, catalogue, answer="not asked: no key")
