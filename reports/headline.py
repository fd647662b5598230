"""A run in one sentence, for people: the same on the terminal and on the page."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from policies.catalogue import Catalogue
from policies.facts.base import Cause
from reports.model import RunRecord, Verdict
from reports.overview import Overview, overview

RUNS: Final = "out/runs"
"""Where runs are kept unless told otherwise."""


@dataclass(frozen=True)
class Headline:
    """``title`` is the sentence, ``detail`` what belongs to it; ``verdict`` gives the colour."""

    verdict: Verdict
    title: str
    detail: str


def headline(record: RunRecord, catalogue: Catalogue) -> Headline:
    """What the run comes to. The worst thing is said first."""
    over = overview(record, catalogue)
    checked = [state for state in over.requirements if any(clause.wanted for clause in state.clauses)]
    still_open = _still_open(over)
    if record.manifest is not None and record.manifest.not_restored:
        detail = "What was broken on purpose was not brought back. Run `verify restore` before anything else."
        return Headline(Verdict.failed, "The deployment is not as it was found", detail)
    failed = [state.requirement.id for state in checked if state.verdict is Verdict.failed]
    if failed:
        verb = "does" if len(failed) == 1 else "do"
        title = f"{len(failed)} of {_count(len(checked), 'requirement')} checked {verb} not hold"
        return Headline(Verdict.failed, title, f"Broken: {', '.join(failed)}. {still_open}")
    broke = [state for state in over.wanted if state.verdict is Verdict.error]
    if broke:
        title = f"{_count(len(broke), 'check')} broke and gave no verdict"
        return Headline(Verdict.error, title, f"Nothing that was seen is wrong, which does not say much. {still_open}")
    if record.manifest is None or any(state.cause is Cause.INTERRUPTED for state in over.wanted):
        of = f" of {len(over.wanted)}" if record.manifest is not None else ""
        detail = f"{len(record.results)}{of} clauses were judged before it ended; the rest was not seen."
        return Headline(Verdict.not_evaluated, "The run was interrupted", detail)
    if not record.results:
        return Headline(Verdict.not_evaluated, "Nothing was judged", f"No check reaches what was asked. {still_open}")
    unseen = [state for state in over.wanted if state.verdict is Verdict.not_evaluated]
    if unseen:
        title = f"Nothing seen is wrong, but {_count(len(unseen), 'clause')} could not be evaluated"
        return Headline(Verdict.not_evaluated, title, f"What was not seen may hold or not. {still_open}")
    manual = [state for state in over.wanted if state.verdict is Verdict.manual]
    if manual:
        title = f"Nothing seen is wrong, and {_count(len(manual), 'clause')} waits for a person"
        return Headline(Verdict.manual, title.replace("clauses waits", "clauses wait"), still_open)
    applying = [state for state in checked if state.verdict is not Verdict.not_applicable]
    if not applying:
        title = "Nothing that was checked applies to this deployment"
        return Headline(Verdict.not_applicable, title, f"The target gives the reasons. {still_open}")
    judged = sum(state.verdict is Verdict.passed for state in over.wanted)
    if all(state.verdict is Verdict.passed for state in applying):
        many = len(applying)
        title = "The requirement checked holds" if many == 1 else f"All {many} requirements checked hold"
        return Headline(Verdict.passed, title, f"{_count(judged, 'clause')} judged. {still_open}")
    title = "The clause checked holds" if judged == 1 else f"All {judged} clauses checked hold"
    return Headline(Verdict.passed, title, f"Other clauses of the same requirements were left out. {still_open}")


def carried_over(record: RunRecord) -> Iterator[str]:
    """What the run took over of the interrupted ones that it resumes, one line for each of these."""
    for origin in record.manifest.resumes if record.manifest is not None else ():
        names = [f"{r.requirement} {r.clause}" for r in record.results if r.carried_from == origin.run]
        clauses = f"{_count(len(names), 'clause') if names else 'nothing'} carried over from run {origin.run}"
        yield f"{clauses}, begun {origin.started:%Y-%m-%d %H:%M} UTC{': ' if names else ''}{', '.join(names)}"


def _still_open(over: Overview) -> str:
    untouched = sum(state.open for state in over.requirements)
    if not untouched:
        return "All fifty requirements were looked at."
    return f"{untouched} of the {len(over.requirements)} requirements were not looked at."


def _count(number: int, one: str) -> str:
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


def duration(took: timedelta) -> str:
    """``4.2 s``, ``2 min 14 s``, ``1 h 3 min``."""
    seconds = took.total_seconds()
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def to_type(record: RunRecord, command: str, *options: str) -> str:
    """``verify COMMAND`` for the target of a run and where it keeps runs, as they were typed."""
    manifest = record.manifest
    target = (manifest.typed or manifest.target) if manifest is not None else record.target or "NAME"
    kept = str(Path(record.path).parent)
    out = [] if Path(kept).resolve() == Path(RUNS).resolve() else ["--out", kept]
    return shlex.join(["verify", command, "--target", target, *options, *out])


def remedy_lines(message: str) -> Sequence[tuple[str, str]]:
    """A result's message taken apart: for each line what was seen, and what to do about it (may be empty)."""
    lines = []
    for line in message.splitlines():
        seen, _, remedy = line.partition("  -> ")
        lines.append((seen.strip(), remedy.strip()))
    return lines
