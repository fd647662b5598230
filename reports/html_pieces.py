"""Small parts of the page that its sections share: the looks of a verdict, tables, folds, names of places."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from reports.markup import Html, join, tag
from reports.overview import ClauseState

WORDS: Final[dict[str, str]] = {
    "passed": "holds",
    "failed": "broken",
    "error": "check broke",
    "not_evaluated": "not evaluated",
    "partly": "partly judged",
    "no_check": "no check yet",
    "not_selected": "left out",
    "not_reached": "not reached",
    "not_applicable": "does not apply",
    "manual": "for a person",
}
# Drawn in a 16 x 16 box; shapes differ as much as colours do.
ICONS: Final[dict[str, str]] = {
    "passed": "M3 8.5l3.2 3.2L13 4.8",
    "failed": "M4 4l8 8M12 4l-8 8",
    "error": "M8 2.5v7M8 12.6v.9",
    "not_evaluated": "M5.4 5.6a2.6 2.6 0 1 1 3.9 2.3c-.9.5-1.3 1-1.3 2M8 12.6v.9",
    "partly": "M8 3a5 5 0 0 0 0 10zM8 3a5 5 0 0 1 0 10",
    "no_check": "M8 3.2a4.8 4.8 0 1 0 .01 0",
    "not_selected": "M4 8h8",
    "not_reached": "M5.5 3.5v9M10.5 3.5v9",
    "not_applicable": "M8 3a5 5 0 1 0 .01 0M4.6 11.4l6.8-6.8",
    "manual": "M8 2.8a2.3 2.3 0 1 0 .01 0M3.5 13.5c0-3 2-4.6 4.5-4.6s4.5 1.6 4.5 4.6",
}


def icons() -> Html:
    symbols = [tag("symbol", tag("path", d=path), id=f"i-{name}", viewBox="0 0 16 16") for name, path in ICONS.items()]
    return tag("svg", *symbols, class_="icons", aria_hidden="true", width="0", height="0")


def icon(kind: str) -> Html:
    """The mark of a look, where its word stands beside it."""
    return tag("svg", tag("use", href=f"#i-{kind}"), class_=f"icon v-{kind}", aria_hidden="true", focusable="false")


def mark(kind: str) -> Html:
    """The mark of a look, with its word for those who do not see it."""
    return join(icon(kind), tag("span", f"{WORDS[kind]}: ", class_="said"))


def table(heads: Iterable[str], rows: Iterable[tuple[str, str]]) -> Html:
    body = [tag("tr", tag("th", first, scope="row"), tag("td", tag("code", second))) for first, second in rows]
    return tag("table", tag("thead", tag("tr", *(tag("th", h, scope="col") for h in heads))), tag("tbody", *body))


def fold(summary: str, content: Html) -> Html:
    return tag("details", tag("summary", summary), content, class_="fold")


def time(at: datetime) -> Html:
    return tag("time", f"{at.day} {at:%B %Y, %H:%M} UTC", datetime=at.isoformat(timespec="seconds"))


def anchor(state: ClauseState) -> str:
    return f"r{state.requirement.id}-{state.clause.slug}"


def these(states: Iterable[ClauseState]) -> str:
    """``213 clauses of 46 requirements``."""
    found = list(states)
    ids = {state.requirement.id for state in found}
    clauses = "1 clause" if len(found) == 1 else f"{len(found)} clauses"
    return f"{clauses} of {'1 requirement' if len(ids) == 1 else f'{len(ids)} requirements'}"


def separated(items: Sequence[Html]) -> Html:
    return join(*(part for index, item in enumerate(items) for part in ((", ", item) if index else (item,))))


def by_number(requirement_id: str) -> tuple[int, ...]:
    return tuple(int(part) for part in requirement_id.split("."))
