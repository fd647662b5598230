"""One screen at 80 columns, and nothing a cluster says can steer the terminal."""

from __future__ import annotations

import pytest
from rich.console import Console

from policies.profiles import Profile
from reports.gate import Answer
from reports.gate_screen import gate_screen
from tests.reports.example import HOSTILE
from tests.reports.gate_runs import (
    CATALOGUE,
    CHECKED,
    CLAUSES,
    GOLIVE,
    LOOSENED,
    NIGHTLY,
    RELEASE,
    a_run,
    a_waiver,
    ask,
    broken,
    together,
    unseen,
)

DEPLOYER = "ServiceAccount/ci/deployer"


def screen(answer: Answer, profile: Profile = RELEASE, width: int = 80, *, colour: bool = False) -> str:
    console = Console(width=width, force_terminal=colour, no_color=not colour, highlight=False)
    with console.capture() as capture:
        console.print(gate_screen(answer, CATALOGUE, profile))
    return capture.get()


def flat(text: str) -> str:
    return " ".join(text.split())


def test_go_is_one_short_screen() -> None:
    text = screen(ask(a_run(1)))
    assert text.startswith(" GO ")
    assert f"{len(CLAUSES)} of {len(CLAUSES)} clauses that must pass hold." in text
    assert all(requirement.id in text for requirement in CATALOGUE)
    assert len(text.splitlines()) <= 24


def test_all_that_can_block_at_once_is_still_one_screen() -> None:
    said = {name: broken(f"{name[1]} of something") for name in CLAUSES[::2]}
    said |= {name: unseen("something") for name in CLAUSES[1::2]}
    runs = (a_run(1, said, overrides=LOOSENED, not_restored=("cp2 is still cut off",)), a_run(2, doubt="altered"))
    waivers = tuple(a_waiver(subject=f"ServiceAccount/ci/{n}", approver="M. Roe") for n in range(20))
    text = screen(ask(*runs, waivers=waivers, profile=GOLIVE), GOLIVE)
    assert text.startswith(" NO-GO ")
    assert len(text.splitlines()) <= 60
    assert "more; all of them with --json" in text


def test_what_blocks_stands_beside_how_it_is_mended() -> None:
    said = {("1.4", "wildcards"): broken(DEPLOYER, "Group/all"), ("1.3", "mtu"): unseen("cni0 on w1")}
    text = flat(screen(ask(a_run(1, said, overrides=LOOSENED))))
    assert (
        f"{len(CLAUSES) - 2} of {len(CLAUSES)} clauses that must pass hold, 1 broken, 1 without evidence that counts."
        in text
    )
    assert f"✗ 1.4 wildcards broken {DEPLOYER}: otherwise, as it must be (and 1 more)" in text
    assert f"→ {flat(CATALOGUE.remedy('1.4', 'wildcards'))[:40]}" in text
    assert "? 1.3 mtu not evaluated forbidden: cni0 on w1: pods: forbidden" in text
    assert "→ mend it, then: verify run --target lab --requirement 1.3" in text
    assert "✗ 1.1 write-gap loosened limit: at most 45 s (api_write_gap) in this target, at most 30 s" in text


def test_what_nobody_looked_at_is_told_together() -> None:
    text = flat(screen(ask(a_run(1), profile=GOLIVE), GOLIVE))
    unchecked = sum(len(requirement.clauses) for requirement in CATALOGUE) - len(CLAUSES)
    assert (
        f"· no check yet: {unchecked} clauses of {50 - len(CHECKED)} requirements, 1.2 to 10.5 → write its check"
        in text
    )
    text = flat(screen(ask(a_run(30))))
    inspected = [name for name in CLAUSES if CATALOGUE.clause(*name).kind == "inspect"]
    ids = list(dict.fromkeys(requirement for requirement, _ in inspected))
    told = f"? too old: {len(inspected)} clauses of {together(ids)}: passed 30 h ago, counts for 4 h"
    assert f"{told} → verify run --target lab --requirement {','.join(ids)}" in text


def test_what_was_judged_in_part_is_not_shown_as_never_judged() -> None:
    text = screen(ask(a_run(1, kinds=("inspect",))))
    assert "◐ 1.1 " in text
    assert "◐ partly judged" in text


def test_waived_and_reported_are_told_on_a_go_as_well() -> None:
    run = a_run(1, {("1.4", "wildcards"): broken(DEPLOYER)}, overrides=LOOSENED)
    unused = a_waiver(requirement="10.1", clause="limits", subject="production/api")
    text = flat(screen(ask(run, waivers=(a_waiver(), unused), profile=NIGHTLY), NIGHTLY))
    assert text.startswith("GO ")
    assert f"~ 1.4 wildcards {DEPLOYER} until 2026-11-27, SEC-12, J. Doe: The old pipeline" in text
    assert "! 10.1 limits production/api waiver unused: it names nothing that is broken; remove it" in text
    assert "! 1.1 write-gap loosened limit: at most 45 s (api_write_gap), at most 30 s" in text


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("colour", [False, True])
def test_hostile_text_is_neither_obeyed_nor_read_as_markup(width: int, colour: bool) -> None:
    said = {("1.4", "wildcards"): broken(f"[red]{HOSTILE}"), ("1.3", "mtu"): unseen(f"[/]{HOSTILE}\x9b2J")}
    runs = (a_run(1, said), a_run(2, doubt=f"{HOSTILE}[bold]"))
    waivers = (a_waiver(subject=f"{HOSTILE}[link]", reason=HOSTILE),)
    text = screen(ask(*runs, waivers=waivers), width=width, colour=colour)
    assert "\u202e" not in text
    assert "\x9b" not in text
    assert "\x1b[31m\ufffd" not in text
    assert colour or "\x1b" not in text
    assert colour or max(map(len, text.splitlines())) <= width
    assert "[red]" in text
