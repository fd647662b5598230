"""The timeline of a fault, drawn: what the writer saw, when the fault was in force, and the gap beside its limit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from policies.facts.base import Fact
from policies.facts.control_plane import ControlPlaneOutage, Event, Written, longest_silence
from policies.facts.postgres_failover import PostgresFailover
from policies.facts.redis import RedisFailover
from policies.limits import Limit
from reports.faults import BUDGET, FaultRecord
from reports.markup import Html, tag

# One drawing for a wide page and one for a phone, each in its own pixels, so that no text is scaled below reading size.
WIDTHS: Final = {"wide": 1000.0, "narrow": 340.0}
MARGIN: Final = 12.0
MARKERS_Y: Final = 14.0
MARKER_ROW: Final = 22.0
LANE: Final = 34.0
POD_KILLED: Final = "pod-killed"  # the fault's name, as fixtures/faults.py has it


@dataclass(frozen=True)
class Watched:
    """A fault as a writer saw it, whatever the system: what there is to draw. Seconds since the writer began."""

    fault: str
    """Its name, as the journal has it."""
    parameter: tuple[str, str]
    """Of the journal's entry, what tells this fault from another of its kind."""
    harm: str
    """Who was harmed, and how."""
    injected_at: float
    undone_at: float
    ended_at: float
    writes: Sequence[Written]
    silence: tuple[float, float] | None
    events: tuple[Event, ...]
    timers: Mapping[str, float]
    """The system's own times, by their names, that its recovery depends on."""
    wall_s: float | None = None
    """How long all of the observation took; None where that was not kept."""


def watched(fact: Fact) -> Watched | None:
    """What there is to draw of a fact; None where it is no observation of a fault with writes."""
    writes: Sequence[Written]
    match fact:
        case ControlPlaneOutage() if fact.writes:
            writes = fact.writes
            whom, harm = ("node", fact.node), f"{fact.node} was cut off"
            timers, wall_s = dict[str, float](), None
        case PostgresFailover() if fact.writes:
            writes = fact.writes
            cut = fact.fault != POD_KILLED
            whom = ("node", fact.node) if cut else ("pod", fact.old_primary)
            harm = f"{fact.node} with {fact.old_primary} was cut off" if cut else f"{fact.old_primary} was killed"
            wall_s = fact.wall_s
            timers = {timer.name: timer.seconds for timer in fact.timers}
        case RedisFailover() if fact.writes:
            whom, harm = ("pod", fact.member), f"{fact.member} was killed and kept down"
            writes = fact.writes_of(fact.member)
            timers, wall_s = fact.timers, None
        case _:
            return None
    return Watched(
        fault=fact.fault,
        parameter=whom,
        harm=harm,
        injected_at=fact.injected_at,
        undone_at=fact.undone_at,
        ended_at=fact.ended_at,
        writes=writes,
        silence=longest_silence(writes, fact.injected_at, fact.ended_at),
        events=fact.events,
        timers=timers,
        wall_s=wall_s,
    )


def timeline(seen: Watched, limit: Limit | None, fault: FaultRecord | None = None) -> Html:
    """The figure: a drawing for each width, the numbered events in words, and what the journal says of the fault."""
    silence = seen.silence
    acknowledged = sum(write.acknowledged for write in seen.writes)
    failed = len(seen.writes) - acknowledged
    summary = f"{seen.harm} {_when(seen)}. {acknowledged} writes were acknowledged and {failed} failed."
    if silence is not None:
        gap = f"Writes stopped for {silence[1] - silence[0]:.2f} s"
        summary += f" {gap}{', ' + limit.text() if limit else ''}."
    events = _events(seen, fault)
    return tag(
        "figure",
        tag("figcaption", tag("strong", "Timeline. "), summary),
        *(_drawing(seen, events, limit, name=name, width=width, summary=summary) for name, width in WIDTHS.items()),
        tag("ol", *(tag("li", tag("b", f"{e.at:.1f} s"), " ", e.what) for e in events), class_="events"),
        _legend(),
        _rows_of({**_times(seen), **(_journalled(fault) if fault is not None else {})}),
        class_="timeline",
    )


def _when(seen: Watched) -> str:
    """A kill is a moment; everything else lasts until it is undone."""
    if seen.fault == POD_KILLED:
        return f"at {seen.injected_at:.1f} s"
    return f"from {seen.injected_at:.1f} s to {seen.undone_at:.1f} s"


def _events(seen: Watched, fault: FaultRecord | None) -> Sequence[Event]:
    """What the observer saw, in order, and where the fault was ended before its time."""
    early = []
    if fault is not None and fault.ended_early is not None and fault.injected is not None:
        at = seen.injected_at + (fault.ended_early - fault.injected).total_seconds()
        early = [Event(round(at, 1), f"ended early, since {fault.why_early}")]
    return sorted([*seen.events, *early], key=lambda event: event.at)


def _times(seen: Watched) -> Mapping[str, str]:
    """How long the check took, beside what the system itself needed and the times that are its own."""
    timers = ", ".join(f"{name} {seconds:g} s" for name, seconds in seen.timers.items())
    last = max((event for event in seen.events), key=lambda event: event.at, default=None)
    if last is None or seen.wall_s is None:
        return {"The system's own timers": timers}
    own_s = last.at - seen.injected_at
    needed = f"{own_s:.1f} s from the fault on, until: {last.what}"
    times = f" ({seen.wall_s / own_s:.2f} times that)" if own_s > 0 else ""
    return {
        "The system's own timers": timers,
        "The system needed": needed,
        "The check took": f"{seen.wall_s:.1f} s{times}",
    }


def _journalled(fault: FaultRecord) -> Mapping[str, str]:
    return {
        "Blast radius": fault.radius.text() if fault.radius is not None else "",
        "Seen to happen": fault.proof,
        "Error budget": fault.budget.removeprefix(BUDGET),
    }


def _rows_of(rows: Mapping[str, str]) -> Html | None:
    if not any(rows.values()):
        return None
    return tag(
        "dl",
        *(tag("div", tag("dt", name), tag("dd", value)) for name, value in rows.items() if value),
        class_="facts",
    )


def _legend() -> Html:
    keys = {
        "ack": "write acknowledged",
        "fail": "write failed",
        "fault": "fault in force",
        "gap": "no acknowledgement",
    }
    items = [tag("span", tag("span", class_=f"key key-{name}"), f" {words}") for name, words in keys.items()]
    return tag("p", *items, class_="legend")


class _Scale:
    """Seconds to pixels."""

    def __init__(self, seconds: float, width: float) -> None:
        self.seconds = max(seconds, 1.0)
        self.width = width

    def __call__(self, at: float) -> float:
        return MARGIN + min(max(at / self.seconds, 0.0), 1.0) * (self.width - 2 * MARGIN)


def _drawing(
    seen: Watched,
    events: Sequence[Event],
    limit: Limit | None,
    *,
    name: str,
    width: float,
    summary: str,
) -> Html:
    ends = [seen.ended_at, seen.undone_at, *(write.answered for write in seen.writes)]
    scale = _Scale(max(ends), width)
    rows = _rows([scale(event.at) for event in events])
    top = MARKERS_Y + (max(rows, default=0) + 1) * MARKER_ROW + 4
    bottom = top + LANE
    parts = [
        _box(scale(seen.injected_at), scale(seen.undone_at), top - 6, top - 1, "fault"),
        *_gap(scale, seen.silence, limit, top, bottom),
        tag("path", d=_ticks(scale, (w.answered for w in seen.writes if w.acknowledged), top, LANE), class_="ack"),
        tag("path", d=_waits(scale, [w for w in seen.writes if not w.acknowledged], bottom - 9), class_="wait"),
        tag("path", d=_ticks(scale, (w.sent for w in seen.writes if not w.acknowledged), top + 16, 18), class_="fail"),
        *_axis(scale, bottom + 44),
    ]
    for number, (event, row) in enumerate(zip(events, rows, strict=True), start=1):
        parts.append(_marker(number, scale(event.at), MARKERS_Y + row * MARKER_ROW, bottom))
    height = bottom + 66
    return tag(
        "svg",
        tag("title", f"Timeline of {seen.fault}: {seen.harm}"),
        tag("desc", summary),
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        class_=name,
    )


def _rows(positions: Sequence[float]) -> list[int]:
    """A row for each marker, so that none hides another: the first in which it is clear of the one before."""
    last: list[float] = []
    rows = []
    for x in positions:
        row = next((i for i, taken in enumerate(last) if x - taken >= MARKER_ROW), len(last))
        last[row : row + 1] = [x]
        rows.append(row)
    return rows


def _marker(number: int, x: float, y: float, bottom: float) -> Html:
    return tag(
        "g",
        tag("line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=f"{y:.1f}", y2=f"{bottom + 6:.1f}"),
        tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="9"),
        tag("text", str(number), x=f"{x:.1f}", y=f"{y + 4:.1f}", text_anchor="middle"),
        class_="marker",
    )


def _box(left: float, right: float, top: float, bottom: float, kind: str) -> Html:
    return tag(
        "rect",
        x=f"{left:.1f}",
        y=f"{top:.1f}",
        width=f"{max(right - left, 1):.1f}",
        height=f"{bottom - top:.1f}",
        class_=kind,
    )


def _gap(
    scale: _Scale, silence: tuple[float, float] | None, limit: Limit | None, top: float, bottom: float
) -> Iterable[Html]:
    if silence is None:
        return
    start, end = silence
    y = bottom + 14
    yield _box(scale(start), scale(end), top - 1, bottom + 6, "gap")
    holds = limit is None or limit.allows(end - start)
    text = f"{end - start:.2f} s"
    if limit is not None:
        allowed = start + limit.value
        inside = allowed <= scale.seconds
        right = scale(allowed)
        yield tag("path", d=f"M{scale(start):.1f} {y:.1f}H{right:.1f}{'v-5v10' if inside else ''}", class_="limit")
        text += f", {limit.direction.replace('_', ' ')} {limit.value:g} {limit.unit}"
    yield tag(
        "path",
        d=f"M{scale(start):.1f} {y - 5:.1f}v10m0-5H{scale(end):.1f}m0-5v10",
        class_="measure" if holds else "measure broken",
    )
    middle = (scale(start) + scale(end)) / 2
    anchor = "start" if middle < scale.width * 0.25 else "end" if middle > scale.width * 0.75 else "middle"
    x = {"start": scale(start), "middle": middle, "end": scale(end)}[anchor]
    yield tag(
        "text",
        text,
        x=f"{x:.1f}",
        y=f"{y + 17:.1f}",
        text_anchor=anchor,
        class_="measure" if holds else "measure broken",
    )


def _ticks(scale: _Scale, instants: Iterable[float], top: float, height: float) -> str:
    """A stroke for each instant; those that fall on the same half pixel are one."""
    places = sorted({round(scale(at) * 2) / 2 for at in instants})
    return "".join(f"M{x:g} {top:g}v{height:g}" for x in places)


def _waits(scale: _Scale, writes: Sequence[Written], y: float) -> str:
    """A thin line from when a failed write was sent to when it was given up."""
    spans = sorted({(round(scale(w.sent) * 2) / 2, round(scale(w.answered) * 2) / 2) for w in writes})
    return "".join(f"M{left:g} {y:g}H{right:g}" for left, right in spans if right > left)


def _axis(scale: _Scale, y: float) -> Iterable[Html]:
    step = next(
        s for s in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 3600) if scale.seconds / s * 46 <= scale.width or s == 3600
    )
    yield tag("path", d=f"M{MARGIN:g} {y:g}H{scale.width - MARGIN:g}", class_="axis")
    at = 0
    while at <= scale.seconds:
        x = scale(at)
        yield tag("path", d=f"M{x:.1f} {y:g}v5", class_="axis")
        anchor = "start" if at == 0 else "middle" if x < scale.width - 24 else "end"
        yield tag("text", f"{at} s", x=f"{x:.1f}", y=f"{y + 18:g}", text_anchor=anchor, class_="axis")
        at += step
