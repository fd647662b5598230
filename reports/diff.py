"""What changed from one run to another: verdicts, the subjects behind them, limits, and what they were made with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from msgspec import Struct
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from policies.catalogue import Catalogue
from policies.finding import Finding
from reports.markup import visible
from reports.model import ClauseResult, Manifest, RunRecord, Verdict
from reports.overview import overview
from reports.terminal import MARKS

MOST_SUBJECTS = 3  # on the screen; --json has all


class SubjectChange(Struct, frozen=True, kw_only=True):
    """A subject whose finding changed; ``ok`` as in a finding, the words empty where a run did not have the subject."""

    subject: str
    before_ok: bool | None = None
    after_ok: bool | None = None
    before: str = ""
    after: str = ""


class ClauseChange(Struct, frozen=True, kw_only=True):
    """A clause whose verdict changed, or the subjects that hold. A verdict is None where that run did not judge it."""

    requirement: str
    clause: str
    before: Verdict | None
    after: Verdict | None
    subjects: tuple[SubjectChange, ...] = ()


class Changed(Struct, frozen=True, kw_only=True):
    """One value of the two runs that differs; empty where a run has none."""

    what: str
    before: str
    after: str


class Difference(Struct, frozen=True, kw_only=True):
    """Everything that changed from ``before`` to ``after``, which are run ids."""

    format: int = 1
    before: str
    after: str
    clauses: tuple[ClauseChange, ...]
    limits: tuple[Changed, ...]
    made_with: tuple[Changed, ...]
    same: int
    """Clauses judged in both runs of which nothing changed."""


def difference(before: RunRecord, after: RunRecord, catalogue: Catalogue) -> Difference:
    """Compare two runs clause by clause, by the catalogue of today and what it no longer has."""
    old, new = _results(before, catalogue), _results(after, catalogue)
    changes = []
    same = 0
    for name in [*old, *(name for name in new if name not in old)]:
        was, now = old.get(name), new.get(name)
        subjects = tuple(_subjects(was.findings, now.findings)) if was is not None and now is not None else ()
        verdicts = was.verdict if was is not None else None, now.verdict if now is not None else None
        if subjects or verdicts[0] is not verdicts[1]:
            change = ClauseChange(
                requirement=name[0], clause=name[1], before=verdicts[0], after=verdicts[1], subjects=subjects
            )
            changes.append(change)
        else:
            same += 1
    return Difference(
        before=before.run,
        after=after.run,
        clauses=tuple(changes),
        limits=tuple(_changed(_limits(before.manifest), _limits(after.manifest))),
        made_with=tuple(_changed(_made_with(before.manifest), _made_with(after.manifest))),
        same=same,
    )


def _results(record: RunRecord, catalogue: Catalogue) -> dict[tuple[str, str], ClauseResult]:
    """The results by requirement id and clause slug, in the catalogue's order, then those it does not have."""
    found = {
        (state.requirement.id, state.clause.slug): state.result
        for state in overview(record, catalogue).clauses
        if state.result is not None
    }
    for result in record.results:
        found.setdefault((result.requirement, result.clause), result)
    return found


def _subjects(before: Iterable[Finding], after: Iterable[Finding]) -> Iterator[SubjectChange]:
    """Subjects that hold in one run and not in the other; one that is gone matters where it did not hold."""
    old, new = _by_subject(before), _by_subject(after)
    for subject in [*old, *(subject for subject in new if subject not in old)]:
        was, now = old.get(subject), new.get(subject)
        if (was.ok if was is not None else True) is not (now.ok if now is not None else True):
            yield SubjectChange(
                subject=subject,
                before_ok=was.ok if was is not None else None,
                after_ok=now.ok if now is not None else None,
                before=was.observed if was is not None else "",
                after=now.observed if now is not None else "",
            )


def _by_subject(findings: Iterable[Finding]) -> dict[str, Finding]:
    """The worst finding of each subject: broken before unseen before holding."""
    found: dict[str, Finding] = {}
    worst = [False, None, True]
    for finding in findings:
        known = found.get(finding.subject)
        if known is None or worst.index(finding.ok) < worst.index(known.ok):
            found[finding.subject] = finding
    return found


def _limits(manifest: Manifest | None) -> dict[str, str]:
    """Every limit in force, by requirement and name."""
    if manifest is None:
        return {}
    return {
        f"{requirement} {name}": limit.text().removesuffix(f" ({name})")
        for requirement, limits in manifest.limits.items()
        for name, limit in limits.items()
    }


def _made_with(manifest: Manifest | None) -> dict[str, str]:
    if manifest is None:
        return {"manifest": "none: the run was interrupted"}
    return {
        "target": manifest.target,
        "exit code": str(manifest.exit_code),
        "commit": manifest.commit,
        "catalogue": manifest.catalogue_digest,
        **manifest.versions,
    }


def _changed(before: dict[str, str], after: dict[str, str]) -> Iterator[Changed]:
    for what in [*before, *(key for key in after if key not in before)]:
        was, now = before.get(what, ""), after.get(what, "")
        if was != now:
            yield Changed(what=what, before=was, after=now)


# --- on the screen


def diff_screen(found: Difference) -> RenderableType:
    """The screen as Rich draws it. Text from the cluster is neither markup nor control characters in it."""
    return Group(*_parts(found))


def _parts(found: Difference) -> Iterator[RenderableType]:
    yield Text.assemble(("from ", "bright_black"), found.before, (" to ", "bright_black"), found.after)
    if not (found.clauses or found.limits or found.made_with):
        yield Text(f"Nothing changed in {found.same} clauses.")
        return
    for pair, same in groupby(sorted(found.clauses, key=_pair), key=_pair):
        changes = list(same)
        yield Text.assemble("\n", _word(changes[0].before), " → ", _word(changes[0].after), f"  {len(changes)}")
        if pair[0] == pair[1] or changes[0].after in {Verdict.failed, Verdict.error} or _both_judged(changes[0]):
            yield from (part for change in changes for part in _clause(change))
        else:  # a run of another extent: its clauses are counted by requirement
            ids = dict.fromkeys(change.requirement for change in changes)
            yield Padding(Text(f"clauses of {', '.join(ids)}", "bright_black"), (0, 0, 0, 2))
    yield from _table("Limits", found.limits)
    yield from _table("Made with", found.made_with)
    yield Text(f"\n{found.same} clauses as before", "bright_black")


def _pair(change: ClauseChange) -> tuple[int, int]:
    order = [Verdict.failed, Verdict.error, Verdict.not_evaluated, None, *Verdict]
    return order.index(change.after), order.index(change.before)


def _both_judged(change: ClauseChange) -> bool:
    return change.before is not None and change.after is not None


def _word(verdict: Verdict | None) -> Text:
    if verdict is None:
        return Text("not judged", "bright_black")
    mark, colour, word = MARKS[verdict.value]
    return Text(f"{mark} {word}", colour)


def _clause(change: ClauseChange) -> Iterator[RenderableType]:
    yield Padding(Text(f"{change.requirement} {change.clause}", "bold"), (0, 0, 0, 2))
    for one in change.subjects[:MOST_SUBJECTS]:
        was, now = one.before or "not there", one.after or "not there"
        yield Padding(Text(visible(f"{one.subject}: {was} → {now}")), (0, 0, 0, 4))
    if len(change.subjects) > MOST_SUBJECTS:
        rest = f"and {len(change.subjects) - MOST_SUBJECTS} more subjects, all with --json"
        yield Padding(Text(rest, "bright_black"), (0, 0, 0, 4))


def _table(title: str, changes: Sequence[Changed]) -> Iterator[RenderableType]:
    if not changes:
        return
    yield Text(f"\n{title}", "bold")
    table = Table.grid(padding=(0, 2, 0, 0))
    for one in changes:
        table.add_row(one.what, Text(visible(_brief(one.before))), "→", Text(visible(_brief(one.after))))
    yield Padding(table, (0, 0, 0, 2))


def _brief(value: str) -> str:
    """A digest by its first letters, as git shows it."""
    head, plus, more = value.partition("+")
    is_digest = len(head) >= 40 and all(letter in "0123456789abcdef" for letter in head)
    return f"{head[:12]}{plus}{more}" if is_digest else value or "none"
