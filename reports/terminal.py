"""The end of a run on one screen: the fifty requirements, what is broken and how to mend it, where to read on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from policies.catalogue import Catalogue
from policies.facts.base import Cause
from policies.waivers import Waivers
from reports.gate import Answer
from reports.headline import RUNS, carried_over, duration, headline, remedy_lines, to_type
from reports.markup import visible
from reports.model import RunRecord, Verdict
from reports.overview import ClauseState, Overview, RequirementState, look, overview
from reports.store import PAGE
from reports.waived import Waived, waived

MARKS: Final[dict[str, tuple[str, str, str]]] = {  # mark, colour, word
    "passed": ("✓", "green", "holds"),
    "failed": ("✗", "bold red", "broken"),
    "error": ("!", "bold magenta", "check broke"),
    "not_evaluated": ("?", "yellow", "not evaluated"),
    "partly": ("◐", "yellow", "partly judged"),
    "no_check": ("·", "bright_black", "no check yet"),
    "not_selected": ("-", "bright_black", "left out"),
    "not_reached": ("‖", "bright_black", "not reached"),
    "not_applicable": ("∅", "bright_black", "does not apply"),
    "manual": ("m", "blue", "for a person"),
}
# One screen: beyond these it only counts; everything stands in the report.
MOST_CLAUSES: Final = 6
MOST_LINES: Final = 2
MOST_REQUIREMENTS: Final = 8
MOST_NOTES: Final = 4


def show(
    record: RunRecord,
    catalogue: Catalogue,
    console: Console | None = None,
    *,
    waivers: Waivers | None = None,
    answer: Answer | str = "",
) -> None:
    """Print the screen."""
    (console or Console(highlight=False)).print(screen(record, catalogue, waivers, answer), crop=False)


def screen(
    record: RunRecord, catalogue: Catalogue, waivers: Waivers | None = None, answer: Answer | str = ""
) -> RenderableType:
    """The screen as Rich draws it. Text from the cluster is neither markup nor control characters in it.

    ``waivers`` are those of ``policies/waivers.yaml`` where none are given. ``answer`` is what the gate of the run's
    profile says, or a sentence why it was not asked.
    """
    laid = waived(record, catalogue, waivers)
    return Group(
        *_parts(record, catalogue, overview(record, catalogue), laid), *_answered(answer, Path(record.path).parent)
    )


def _parts(record: RunRecord, catalogue: Catalogue, over: Overview, laid: Waived) -> Iterator[RenderableType]:
    said = headline(record, catalogue)
    mark, colour, _ = MARKS[said.verdict.value]
    yield Text()
    yield Text.assemble((f" {mark} ", f"{colour} reverse"), (f" {said.title}", colour), f"  {_about(record)}")
    yield Text(f"    {said.detail}", "bright_black")
    for sentence in carried_over(record):
        yield Text(f"    Resumed: {visible(sentence)}", "bright_black")
    yield Text()
    yield Padding(_matrix(over), (0, 0, 0, 4))
    yield Padding(_legend(over), (0, 0, 0, 4))
    checked = [state for state in over.requirements if not state.open]
    if record.manifest is not None and len(checked) <= MOST_REQUIREMENTS:
        yield Text()
        yield Padding(_checked(checked), (0, 0, 0, 4))
    for sentence in record.manifest.not_restored if record.manifest else ():
        yield Text.assemble(("\nNot restored ", "bold red"), visible(sentence))
    broken = [c for c in over.clauses if c.verdict in {Verdict.failed, Verdict.error}]
    yield from _tasks("What is broken, and how to mend it", broken, laid)
    yield from _tasks("What could not be evaluated, and why", [c for c in over.clauses if _unseen(c)], laid)
    yield from _notes(record, over, laid)
    yield Text()
    report = Text.assemble(("report ", "bright_black"), _nearest(Path(record.path) / PAGE))
    report.no_wrap, report.overflow = True, "ignore"  # a path cut in two cannot be copied
    yield report
    if record.manifest is not None and not record.manifest.key:
        yield Text.assemble(("proof  ", "bright_black"), f"evidence not signed: {visible(record.manifest.unsigned)}")
    elif record.manifest is not None and record.manifest.unstamped:
        yield Text.assemble(("proof  ", "bright_black"), f"no timestamp: {visible(record.manifest.unstamped)}")
    then = Text.assemble(("next   ", "bright_black"), _next(record, over))
    then.no_wrap, then.overflow = True, "ignore"
    yield then


def _nearest(path: Path) -> str:
    """The path from here where it lies below, else the whole of it."""
    whole = path.resolve()
    return str(whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole)


def _unseen(state: ClauseState) -> bool:
    """Whether it counts towards the run and has no verdict; what was not reached is said by the headline."""
    return state.wanted and state.verdict is Verdict.not_evaluated and state.cause is not Cause.INTERRUPTED


def _about(record: RunRecord) -> str:
    manifest = record.manifest
    if manifest is None:
        return f"run {record.run}"
    kubernetes = manifest.versions.get("kubernetes")
    parts = [manifest.target, duration(manifest.ended - manifest.started)]
    parts += [f"profile {manifest.profile}"] if manifest.profile else []
    parts += ["dry run"] if manifest.dry_run else []
    return visible(" · ".join([*parts, f"Kubernetes {kubernetes}"] if kubernetes else parts))


def _matrix(over: Overview) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    for group in over.groups:
        cells = [_cell(state) for state in group.requirements]
        table.add_row(Text(f"{group.group.group:>2} {group.group.title}"), *cells)
    return table


def _cell(state: RequirementState) -> Text:
    mark, colour, _ = MARKS[look(state)]
    return Text.assemble((mark, colour), " ", (state.requirement.id, "bright_black" if state.open else colour))


def _legend(over: Overview) -> Text:
    there = {look(state) for state in over.requirements}
    words = [f"{mark} {word}" for name, (mark, _, word) in MARKS.items() if name in there]
    return Text("   ".join(words), "bright_black")


def _checked(states: Sequence[RequirementState]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for state in states:
        _, _, word = MARKS[look(state)]
        clauses = f"{state.passed} of {state.applicable} clauses hold" if state.applicable else ""
        table.add_row(_cell(state), Text(state.requirement.title), Text(word, MARKS[look(state)][1]), Text(clauses))
    return table


def _tasks(title: str, states: Sequence[ClauseState], laid: Waived) -> Iterator[RenderableType]:
    if not states:
        return
    yield Text(f"\n{title}", "bold")
    for state in states[:MOST_CLAUSES]:
        mark, colour, _ = MARKS[look(state)]
        name = f"{state.requirement.id} {state.clause.slug}"
        lines = remedy_lines(state.result.message) if state.result else ()
        told = [visible(seen.removeprefix(f"{name} · ")) for seen, _ in lines[:MOST_LINES]] or [state.clause.statement]
        why = f" ({state.why})" if state.cause is not None else ""
        yield Padding(Text.assemble((f"{mark} {name}", colour), f"{why}  {told[0]}"), (0, 0, 0, 2))
        for more in told[1:]:
            yield Padding(Text(more), (0, 0, 0, 4))
        if len(lines) > MOST_LINES:
            yield Padding(Text(f"and {len(lines) - MOST_LINES} more", "bright_black"), (0, 0, 0, 4))
        for sentence in _accepted(state, laid):
            yield Padding(Text(f"~ {visible(sentence)}", "cyan"), (0, 0, 0, 4))
        remedy = next((remedy for _, remedy in lines if remedy), "")
        if remedy:
            yield Padding(Text(f"→ {visible(remedy)}", "cyan"), (0, 0, 0, 4))
    if len(states) > MOST_CLAUSES:
        yield Padding(
            Text(f"and {len(states) - MOST_CLAUSES} more clauses, all in the report", "bright_black"), (0, 0, 0, 2)
        )


def _accepted(state: ClauseState, laid: Waived) -> Iterator[str]:
    """Which of its broken subjects are waived; the verdict stays what it is."""
    mine = laid.of(state.requirement.id, state.clause.slug)
    if mine:
        broken = {f.subject for f in state.result.findings if f.ok is False} if state.result is not None else set()
        some = "all of it" if broken <= mine.keys() else f"{len(mine)} of {len(broken)} subjects"
        first = min(mine.values(), key=lambda waiver: waiver.expires)
        yield f"waived, {some}, until {first.expires}: {first.ticket}, approved by {first.approver}"


def _notes(record: RunRecord, over: Overview, laid: Waived) -> Iterator[RenderableType]:
    """What lies over the verdicts or bounds what they say."""
    lines = [deviation.text() for deviation in record.manifest.deviations] if record.manifest is not None else []
    yield from _noted("Loosened limits", "!", "yellow", lines)
    wrong = [f"{w.requirement} {w.clause} {w.subject} {w.flaw.value}: {w.sentence}" for w in laid.overlay.findings]
    yield from _noted("Waivers that cover nothing", "!", "yellow", [laid.problem] if laid.problem else wrong)
    left_out = [state for state in over.clauses if state.cause is Cause.NOT_SELECTED]
    if left_out:
        yield Text(
            f"\nWhat this run cannot speak of: {len(left_out)} clauses that have a check and were left out", "bold"
        )
        yield Padding(Text(_these(left_out), "bright_black"), (0, 0, 0, 2))


def _noted(title: str, mark: str, colour: str, lines: Sequence[str]) -> Iterator[RenderableType]:
    if not lines:
        return
    yield Text(f"\n{title}", "bold")
    for line in lines[:MOST_NOTES]:
        yield Padding(Text.assemble((f"{mark} ", colour), visible(line)), (0, 0, 0, 2))
    if len(lines) > MOST_NOTES:
        yield Padding(Text(f"and {len(lines) - MOST_NOTES} more, all in the report", "bright_black"), (0, 0, 0, 2))


def _these(states: Sequence[ClauseState]) -> str:
    """``all of 1.3, 1.4; 1.1 write-gap, pods-untouched``."""
    by_requirement: dict[str, list[ClauseState]] = {}
    for state in states:
        by_requirement.setdefault(state.requirement.id, []).append(state)
    whole = [name for name, mine in by_requirement.items() if len(mine) == len(mine[0].requirement.clauses)]
    parts = [f"all of {', '.join(whole)}"] if whole else []
    parts += [
        f"{name} {', '.join(state.clause.slug for state in mine)}"
        for name, mine in by_requirement.items()
        if name not in whole
    ]
    return "; ".join(parts)


def _answered(answer: Answer | str, runs: Path) -> Iterator[RenderableType]:
    """What the gate says, in one line, and where all of it is said."""
    if isinstance(answer, str):
        if answer:
            yield Text.assemble(("gate   ", "bright_black"), visible(answer))
        return
    word, colour = ("GO", "bold green") if answer.go else ("NO-GO", "bold red")
    count = len(answer.blockers)
    why = "" if answer.go else f"{count} {'thing blocks' if count == 1 else 'things block'}"
    parts = ["verify", "gate", "--profile", answer.profile, "--target", answer.target]
    parts += [] if runs.resolve() == Path(RUNS).resolve() else ["--runs", str(runs)]
    parts += ["--public-key", "FILE.pub"] if answer.keys else []
    command = shlex.join(parts)
    said = visible(f" {answer.profile}: {f'{why}, ' if why else ''}all of it with `{command}`")
    line = Text.assemble(("gate   ", "bright_black"), (word, colour), said)
    line.no_wrap, line.overflow = True, "ignore"
    yield line


def _next(record: RunRecord, over: Overview) -> str:
    if record.manifest is None or record.manifest.not_restored:
        return visible(to_type(record, "restore"))
    worst = [s.requirement.id for s in over.requirements if s.verdict in {Verdict.failed, Verdict.error}]
    worst = worst or [s.requirement.id for s in over.requirements if look(s) == "not_evaluated"]
    if worst:
        return visible(f"mend, then: {to_type(record, 'run', '--requirement', ','.join(worst))}")
    return "open the report; `verify explain 1.2` tells what a requirement means"
