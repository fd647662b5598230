"""The trend over runs: verdicts of each requirement, how many clauses had each, and the numbers measured of limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from policies.catalogue import Catalogue
from reports.headline import duration
from reports.markup import visible
from reports.measured import measured
from reports.model import Verdict
from reports.overview import RequirementState, look, overview
from reports.runs import StoredRun
from reports.terminal import MARKS

BARS: Final = "▁▂▃▄▅▆▇█"


class RequirementThen(Struct, frozen=True, kw_only=True):
    """A requirement in one run. ``look`` tells "partly judged" from "not evaluated" where the verdict is the latter."""

    requirement: str
    verdict: Verdict
    look: str
    passed: int
    applicable: int


class Measure(Struct, frozen=True, kw_only=True):
    """The number nearest to breaking a limit in one run, in the limit's unit, and the limit that was in force."""

    requirement: str
    limit: str
    value: float
    unit: str
    in_force: str


class RunThen(Struct, frozen=True, kw_only=True):
    """One run. ``doubt`` says why it is no evidence; ``exit_code`` is None where the run was interrupted."""

    run: str
    started: datetime
    seconds: float | None
    exit_code: int | None
    commit: str
    doubt: str
    requirements: tuple[RequirementThen, ...]
    """Those of which something was judged."""
    clauses: dict[str, int]
    """How many clauses had each verdict."""
    measures: tuple[Measure, ...] = ()


class History(Struct, frozen=True, kw_only=True):
    """The runs of one target, the oldest first."""

    format: int = 1
    target: str
    earlier: int
    """Runs before the first of these."""
    runs: tuple[RunThen, ...]


def history(runs: Iterable[StoredRun], catalogue: Catalogue, target: str, earlier: int = 0) -> History:
    """The runs of one target, the oldest first; ``earlier`` are those that are left out before them."""
    return History(
        target=target,
        earlier=max(earlier, 0),
        runs=tuple(_then(run, catalogue) for run in runs),
    )


def _then(run: StoredRun, catalogue: Catalogue) -> RunThen:
    states = [state for state in overview(run.record, catalogue).requirements if not state.open]
    counts: dict[str, int] = {}
    for result in run.record.results:
        counts[result.verdict.value] = counts.get(result.verdict.value, 0) + 1
    manifest = run.manifest
    return RunThen(
        run=run.name,
        started=run.started,
        seconds=(manifest.ended - manifest.started).total_seconds() if manifest is not None else None,
        exit_code=manifest.exit_code if manifest is not None else None,
        commit=manifest.commit if manifest is not None else "",
        doubt=run.doubt,
        requirements=tuple(_requirement(state) for state in states),
        clauses=counts,
        measures=tuple(
            Measure(requirement=result.requirement, limit=name, value=value, unit=limit.unit, in_force=limit.text())
            for result in run.record.results
            for name, (value, limit) in measured(result).items()
        ),
    )


def _requirement(state: RequirementState) -> RequirementThen:
    return RequirementThen(
        requirement=state.requirement.id,
        verdict=state.verdict,
        look=look(state),
        passed=state.passed,
        applicable=state.applicable,
    )


def history_screen(found: History, catalogue: Catalogue) -> RenderableType:
    """The screen as Rich draws it: a row a requirement, a column a run, then the runs by their numbers."""
    return Group(*_parts(found, catalogue))


def _parts(found: History, catalogue: Catalogue) -> Iterator[RenderableType]:
    if not found.runs:
        yield Text(f"There is no run of {found.target} here. Start one with `verify run --target {found.target}`.")
        return
    yield Text(f"{found.target}, the oldest run on the left", "bold")
    yield Text()
    matrix = Table.grid(padding=(0, 1, 0, 0))
    matrix.add_column(no_wrap=True)
    matrix.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for _ in found.runs:
        matrix.add_column(justify="right", no_wrap=True, min_width=2)
    matrix.add_column(no_wrap=True)
    matrix.add_row("", "", *(Text(str(number), "bright_black") for number in range(1, len(found.runs) + 1)))
    shown: set[str] = set()
    for requirement in catalogue:
        then = [next((r for r in run.requirements if r.requirement == requirement.id), None) for run in found.runs]
        if not any(then):
            continue
        cells = [MARKS[one.look] if one is not None else MARKS["not_selected"] for one in then]
        shown |= {one.look if one is not None else "not_selected" for one in then}
        marks = (Text(mark, colour) for mark, colour, _ in cells)
        matrix.add_row(Text(requirement.id), Text(requirement.title), *marks)
    for title, rows in (("Clauses", _counted(found.runs)), ("Measured", _measured(found.runs))):
        if rows:
            matrix.add_row()
            matrix.add_row("", Text(title, "bold"))
        for row in rows:
            bars = (Text(bar, row.colour) for bar in _bars(row.values))
            matrix.add_row(Text(row.head), Text(row.title), *bars, Text(row.last, "bright_black"))
    yield matrix
    words = [f"{mark} {word}" for name, (mark, _, word) in MARKS.items() if name in shown]
    yield Text("   ".join(words), "bright_black")
    yield Text()
    table = Table.grid(padding=(0, 2, 0, 0))
    for number, run in enumerate(found.runs, start=1):
        table.add_row(
            Text(f"{number:>2}", "bright_black"), run.run, _took(run), _exit(run), Text(visible(_counts(run)))
        )
    yield Padding(table, (0, 0, 0, 0))
    if found.earlier:
        yield Text(f"and {found.earlier} before them; --last shows more", "bright_black")


@dataclass(frozen=True)
class _Row:
    """A line of bars under the runs; None where a run has no such number."""

    head: str
    title: str
    values: Sequence[float | None]
    last: str
    colour: str = ""


def _counted(runs: Sequence[RunThen]) -> list[_Row]:
    """How many clauses had each verdict in each run."""
    rows = []
    for verdict in Verdict:
        values = [run.clauses.get(verdict.value, 0) for run in runs]
        if any(values):
            _, colour, word = MARKS[verdict.value]
            rows.append(_Row("", word, values, str(values[-1]), colour))
    return rows


def _measured(runs: Sequence[RunThen]) -> list[_Row]:
    """What was measured of each limit, as far as more than one run did."""
    names = dict.fromkeys((one.requirement, one.limit) for run in runs for one in run.measures)
    rows = []
    for requirement, name in sorted(names, key=lambda n: tuple(map(int, n[0].split(".")))):
        of = [next((m for m in run.measures if (m.requirement, m.limit) == (requirement, name)), None) for run in runs]
        seen = [one for one in of if one is not None]
        if len(seen) > 1:
            values = [one.value if one is not None else None for one in of]
            last = f"{seen[-1].value:g} {seen[-1].unit}"
            rows.append(_Row(requirement, seen[-1].in_force, values, last))
    return rows


def _bars(values: Sequence[float | None]) -> Iterator[str]:
    """A bar for each value, as high as it is to the highest; a dot for zero and a blank where there is none."""
    highest = max((value for value in values if value is not None), default=0)
    for value in values:
        if value is None:
            yield " "
        elif value <= 0 or highest <= 0:
            yield "."
        else:
            yield BARS[min(int(value / highest * len(BARS)), len(BARS) - 1)]


def _took(run: RunThen) -> str:
    return duration(timedelta(seconds=run.seconds)) if run.seconds is not None else "no end"


def _exit(run: RunThen) -> Text:
    if run.exit_code is None:
        return Text("no exit", "yellow")
    return Text(f"exit {run.exit_code}", "green" if run.exit_code == 0 else "yellow" if run.exit_code > 1 else "red")


def _counts(run: RunThen) -> str:
    parts = [f"{number} {name.replace('_', ' ')}" for name, number in sorted(run.clauses.items())]
    text = ", ".join(parts) or "nothing judged"
    return f"{text}; no evidence" if run.doubt and run.exit_code is not None else text
