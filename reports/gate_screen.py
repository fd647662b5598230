"""The gate's answer on one screen: GO or NO-GO, the matrix, what blocks and how it is mended, and from which runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from policies.catalogue import Catalogue
from policies.profiles import Profile
from reports.gate import SETTLED, Answer, Blocker, ClauseAnswer, Standing, hours
from reports.markup import visible

LOOKS: Final[Mapping[Standing, tuple[str, str]]] = {  # the gravest first, so that a requirement shows its worst
    Standing.broken: ("✗", "bold red"),
    Standing.check_broke: ("!", "bold magenta"),
    Standing.untrusted: ("?", "yellow"),
    Standing.not_evaluated: ("?", "yellow"),
    Standing.outdated: ("?", "yellow"),
    Standing.too_old: ("?", "yellow"),
    Standing.manual: ("m", "blue"),
    Standing.no_evidence: ("·", "bright_black"),
    Standing.no_check: ("·", "bright_black"),
    Standing.waived: ("~", "cyan"),
    Standing.holds: ("✓", "green"),
    Standing.not_applicable: ("∅", "bright_black"),
}
PARTLY: Final = ("◐", "yellow")
NOT_ASKED: Final = ("-", "bright_black")
LEGEND: Final = {"✓": "holds", "✗": "broken", "!": "check broke", "?": "no evidence that counts", "m": "for a person"}
LEGEND_MORE: Final = {
    "◐": "partly judged",
    "·": "never judged",
    "~": "waived",
    "∅": "does not apply",
    "-": "not asked for",
}
ONE_BY_ONE: Final = frozenset(
    standing.value for standing in (Standing.broken, Standing.check_broke, Standing.not_evaluated, Standing.manual)
)
# One screen: beyond these it only counts; everything stands in --json.
MOST_BLOCKERS: Final = 8
MOST_LINES: Final = 4
MOST_DOUBTED: Final = 2
NOT_SIGNED: Final = "signatures were not asked for; with --public-key only what that key signed counts"
MOST_LETTERS: Final = 220


def gate_screen(answer: Answer, catalogue: Catalogue, profile: Profile) -> RenderableType:
    """The screen as Rich draws it. Text from the cluster is neither markup nor control characters in it."""
    return Group(*_parts(answer, catalogue, profile))


def _parts(answer: Answer, catalogue: Catalogue, profile: Profile) -> Iterator[RenderableType]:
    word, colour = ("GO", "bold green") if answer.go else ("NO-GO", "bold red")
    about = visible(f"{answer.profile} · {answer.target} · {answer.at:%Y-%m-%d %H:%M} UTC")
    yield Text.assemble((f" {word} ", f"{colour} reverse"), f"  {about}")
    yield Padding(Text(_counts(answer)), (0, 0, 0, 4))
    yield Padding(Text(profile.purpose, "bright_black"), (0, 0, 1, 4))
    yield Padding(_matrix(answer, catalogue), (0, 0, 0, 4))
    yield from _blockers(answer.blockers)
    yield from _reported(answer)
    yield from _waived(answer)
    yield from _evidence(answer)


def _counts(answer: Answer) -> str:
    must = [clause for clause in answer.clauses if clause.must]
    number = {standing: sum(clause.standing is standing for clause in must) for standing in Standing}
    parts = [f"{number[Standing.holds]} of {_count(len(must), 'clause')} that must pass hold"]
    words = {
        Standing.waived: "waived",
        Standing.not_applicable: "not applicable",
        Standing.broken: "broken",
        Standing.check_broke: "whose check broke",
        Standing.manual: "for a person",
    }
    parts += [f"{number[standing]} {words[standing]}" for standing in words if number[standing]]
    unseen = sum(clause.blocks and clause.standing not in words for clause in must)
    parts += [f"{unseen} without evidence that counts"] if unseen else []
    return f"{', '.join(parts)}."


def _matrix(answer: Answer, catalogue: Catalogue) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    marks: set[str] = set()
    for group in catalogue.groups:
        cells = []
        for requirement in group.requirements:
            mark, colour = _look([clause for clause in answer.clauses if clause.requirement == requirement.id])
            marks.add(mark)
            cells.append(Text.assemble((mark, colour), " ", (requirement.id, colour)))
        table.add_row(Text(f"{group.group:>2} {group.title}"), *cells)
    words = [f"{mark} {word}" for mark, word in (LEGEND | LEGEND_MORE).items() if mark in marks]
    frame = Table.grid()
    frame.add_row(table)
    frame.add_row(Text("   ".join(words), "bright_black"))
    return frame


def _look(clauses: Sequence[ClauseAnswer]) -> tuple[str, str]:
    if not clauses:
        return NOT_ASKED
    order = list(LOOKS)
    worst = min((clause.standing for clause in clauses), key=order.index)
    open_ones = worst in {Standing.no_evidence, Standing.no_check}
    mark, colour = PARTLY if open_ones and any(c.verdict is not None for c in clauses) else LOOKS[worst]
    return mark, colour if any(clause.must for clause in clauses) else "bright_black"


def _blockers(blockers: Sequence[Blocker]) -> Iterator[RenderableType]:
    if not blockers:
        return
    yield Text("\nWhat blocks", "bold")
    kinds: dict[tuple[str, str, str, str], list[Blocker]] = {}
    for blocker in blockers:
        kinds.setdefault(_kind(blocker), []).append(blocker)
    told = [_entry(same) for same in kinds.values()]
    for mark, colour, sentence, remedy in told[:MOST_BLOCKERS]:
        yield Padding(Text.assemble((f"{mark} ", colour), _short(sentence)), (0, 0, 0, 2))
        if remedy:
            yield Padding(Text(f"→ {_short(remedy)}", "cyan"), (0, 0, 0, 4))
    if len(told) > MOST_BLOCKERS:
        rest = f"and {len(told) - MOST_BLOCKERS} more; all of them with --json"
        yield Padding(Text(rest, "bright_black"), (0, 0, 0, 2))


def _kind(blocker: Blocker) -> tuple[str, str, str, str]:
    """Blockers of one kind are told together where they differ only in the clause."""
    if blocker.about != "clause" or blocker.what in ONE_BY_ONE:
        return blocker.about, blocker.what, blocker.requirement, f"{blocker.clause} {blocker.subjects}"
    return blocker.about, blocker.what, "", blocker.sentence


def _entry(same: Sequence[Blocker]) -> tuple[str, str, str, str]:
    """Mark, colour, sentence and remedy."""
    first = same[0]
    name = f"{first.requirement} {first.clause}".strip()
    if first.about != "clause":
        mark, colour = ("!", "bold red") if first.about in {"deployment", "evidence"} else ("✗", "red")
        what = {"deviation": "loosened limit", "waiver": f"waiver {first.what}"}.get(first.about, "")
        subject = f" {first.subjects[0]}" if first.about == "waiver" else ""
        head = " ".join(part for part in (name + subject, what) if part)
        return mark, colour, f"{head}: {first.sentence}" if head else first.sentence, first.remedy
    mark, colour = LOOKS[Standing(first.what)]
    if first.what in ONE_BY_ONE:
        more = f" (and {len(first.subjects) - 1} more)" if len(first.subjects) > 1 else ""
        return mark, colour, f"{name} {first.what}  {first.sentence}{more}", first.remedy
    ids = list(dict.fromkeys(blocker.requirement for blocker in same))
    clauses = f"{_count(len(same), 'clause')} of {_ids(ids)}"
    why = "" if first.sentence == first.what else f": {first.sentence}"
    remedy = first.remedy
    if remedy.startswith("verify run"):
        remedy = f"{remedy.partition(' --requirement')[0]} --requirement {','.join(ids)}"
    return mark, colour, f"{first.what}: {clauses}{why}", remedy


def _ids(ids: Sequence[str]) -> str:
    if len(ids) <= MOST_BLOCKERS:
        return ", ".join(ids)
    return f"{len(ids)} requirements, {ids[0]} to {ids[-1]}"


def _reported(answer: Answer) -> Iterator[RenderableType]:
    """What this profile does not block on, and a reader has to know all the same."""
    lines = [
        f"{one.requirement} {one.clause} loosened limit: {one.in_force}, {one.catalogue} in the catalogue"
        for one in answer.loosened
        if not one.blocks and not one.ticket
    ]
    told = {(b.requirement, b.clause, b.subjects, b.what) for b in answer.blockers if b.about == "waiver"}
    lines += [
        f"{one.requirement} {one.clause} {one.subject} waiver {one.flaw.value}: {one.sentence}"
        for one in answer.waiver_findings
        if (one.requirement, one.clause, (one.subject,), one.flaw.value) not in told
    ]
    lines += [
        f"{one.requirement} {one.clause} {one.standing.value}{f': {one.why}' if one.why else ''}"
        for one in answer.clauses
        if not one.must and one.verdict is not None and one.standing not in SETTLED
    ]
    yield from _list("Reported, and not blocking", "!", "yellow", lines)


def _waived(answer: Answer) -> Iterator[RenderableType]:
    lines = [
        f"{one.requirement} {one.clause}  {one.covers[0]}{f' (and {len(one.covers) - 1} more)' * (len(one.covers) > 1)}"
        f"  until {one.expires}, {one.ticket}, {one.approver}: {one.reason}"
        for one in answer.accepted
    ]
    yield from _list("Broken and waived for a time", "~", "cyan", lines)


def _evidence(answer: Answer) -> Iterator[RenderableType]:
    yield Text("\nFrom", "bold")
    if not answer.used:
        yield Padding(Text(f"no run of {visible(answer.target)} that counts", "bright_black"), (0, 0, 0, 2))
    for used in reversed(answer.used[-MOST_LINES:]):
        line = f"{used.run}  {_count(used.clauses, 'clause')}, begun {hours(answer.at - used.started)} ago"
        yield Padding(Text(visible(line), "bright_black"), (0, 0, 0, 2))
    if len(answer.used) > MOST_LINES:
        yield Padding(Text(f"and {len(answer.used) - MOST_LINES} older runs", "bright_black"), (0, 0, 0, 2))
    signed = f"signed by {', '.join(key[:12] for key in answer.keys)}" if answer.keys else NOT_SIGNED
    yield Padding(Text(signed, "bright_black"), (0, 0, 0, 2))
    doubted = [f"{one.run}: {one.why}" for one in reversed(answer.doubted)]
    yield from _list("Runs that do not count", "?", "yellow", doubted, MOST_DOUBTED)


def _list(title: str, mark: str, colour: str, lines: Sequence[str], most: int = MOST_LINES) -> Iterator[RenderableType]:
    if not lines:
        return
    yield Text(f"\n{title}", "bold")
    for line in lines[:most]:
        yield Padding(Text.assemble((f"{mark} ", colour), _short(line)), (0, 0, 0, 2))
    if len(lines) > most:
        rest = f"and {len(lines) - most} more; all of them with --json"
        yield Padding(Text(rest, "bright_black"), (0, 0, 0, 2))


def _short(text: str) -> str:
    flat = visible(" ".join(text.split()))
    return flat if len(flat) <= MOST_LETTERS else f"{flat[: MOST_LETTERS - 1]}…"


def _count(number: int, one: str) -> str:
    return f"{number} {one}" if number == 1 else f"{number} {one}s"
