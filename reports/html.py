"""``report.html``: one file without network that shows a run to a person; the matrix, then everything behind it.

Everything is drawn from the run's record and the catalogue. Text is escaped by construction (`reports.markup`), and
the page's own policy forbids every request and every script but its own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Final

from policies.catalogue import Catalogue
from policies.facts.base import Cause
from policies.facts.control_plane import ControlPlaneOutage
from policies.finding import Finding
from policies.framework import Framework, load_framework
from policies.limits import Limit
from reports.headline import Headline, carried_over, duration, headline, remedy_lines
from reports.markup import Html, join, tag
from reports.model import ClauseResult, Manifest, RunRecord, Verdict
from reports.overview import ClauseState, GroupState, RequirementState, look, overview
from reports.store import PAGE, RunStore, StoreError, write_whole
from reports.timeline import timeline

HERE: Final = Path(__file__).parent
UNFOLDED: Final = 20  # findings that do not hold are folded away beyond this many; those that do, beyond one
MOST_REMEDIES: Final = 6
MOST_BROKEN: Final = 300  # rows drawn at most in one table: the page has to open on a phone, all are in findings.jsonl
MOST_HOLDING: Final = 150

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
KINDS: Final = {
    "inspect": "only reads",
    "probe": "harmless traffic, or a scratch object that is removed",
    "load": "drives traffic",
    "disrupt": "a fault is injected, and undone",
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
EXITS: Final = {
    0: "everything that was to be judged holds",
    1: "a clause is broken, or a check broke",
    2: "interrupted",
    3: "internal error",
    4: "wrong call, file or context",
    5: "nothing to run",
    10: "something could not be evaluated",
    11: "the deployment was not brought back as it was found",
}


def render(record: RunRecord, catalogue: Catalogue, out: Path | None = None) -> Path:
    """Draw the page into ``out`` (the run's own ``report.html`` by default); returns where it is. Raises StoreError."""
    out = out or Path(record.path) / PAGE
    write_whole({out: _Page(record, catalogue, load_framework(catalogue)).html().encode()})
    return out


class _Page:
    def __init__(self, record: RunRecord, catalogue: Catalogue, framework: Framework) -> None:
        self.record = record
        self.manifest: Manifest | None = record.manifest
        self.catalogue = catalogue
        self.framework = framework
        self.over = overview(record, catalogue)
        self.store = RunStore(Path(record.path))

    def html(self) -> str:
        style = (HERE / "page.css").read_text()
        script = (HERE / "page.js").read_text()
        policy = (
            f"default-src 'none'; img-src data:; style-src {_allow(style)}; script-src {_allow(script)}; "
            "base-uri 'none'; form-action 'none'"
        )
        head = tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=policy),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("link", rel="icon", href="data:,"),
            tag("title", f"{self.headline.title} · {self.target} · {self.record.run}"),
            tag("style", Html(style)),
        )
        body = tag(
            "body",
            _icons(),
            tag("a", "Skip to the matrix", href="#matrix", class_="skip"),
            self.top(),
            tag(
                "main",
                self.matrix(),
                self.attention(),
                self.requirements(),
                self.unseen(),
                self.caveats(),
                self.evidence(),
            ),
            self.foot(),
            tag("script", Html(script)),
        )
        return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"

    # --- the top

    @cached_property
    def headline(self) -> Headline:
        return headline(self.record, self.catalogue)

    @property
    def target(self) -> str:
        return self.manifest.target if self.manifest else "target unknown"

    def top(self) -> Html:
        said = self.headline
        return tag(
            "header",
            tag("p", "finbot-verify", class_="brand"),
            tag("h1", _mark(said.verdict.value), tag("span", said.title)),
            tag("p", said.detail, class_="lead"),
            tag(
                "dl",
                *(tag("div", tag("dt", name), tag("dd", value)) for name, value in self.essentials()),
                class_="essentials",
            ),
            self.not_restored(),
            class_=f"top v-{said.verdict.value}",
        )

    def essentials(self) -> Iterator[tuple[str, Html]]:
        manifest = self.manifest
        if manifest is None:
            yield "Run", join(self.record.run)
            yield "State", join("ended before its manifest was written; what follows is what it had judged by then")
            return
        described = f" · {manifest.description}" if manifest.description else ""
        yield "Target", join(tag("b", manifest.target), described)
        yield "When", join(_time(manifest.started))
        yield "Took", join(duration(manifest.ended - manifest.started))
        if manifest.versions.get("kubernetes"):
            yield "Kubernetes", join(manifest.versions["kubernetes"])
        yield "Run", tag("code", manifest.run)
        for sentence in carried_over(self.record):
            yield "Resumed", join(sentence)
        yield "Exit code", join(f"{manifest.exit_code}", f", {EXITS.get(manifest.exit_code, 'unknown')}")

    def not_restored(self) -> Html | None:
        if self.manifest is None or not self.manifest.not_restored:
            return None
        return tag(
            "div",
            tag("h2", "Not as it was found"),
            tag("ul", *(tag("li", sentence) for sentence in self.manifest.not_restored)),
            tag("p", "Run ", tag("code", f"verify restore --target {self.target}"), " before anything else."),
            class_="alarm",
            role="alert",
        )

    # --- the matrix

    def matrix(self) -> Html:
        counts: dict[str, int] = {}
        for state in self.over.requirements:
            counts[look(state)] = counts.get(look(state), 0) + 1
        return tag(
            "section",
            tag("h2", "The fifty requirements", id="matrix-title"),
            _filter(counts, len(self.over.requirements)),
            *(_matrix_row(group) for group in self.over.groups),
            tag(
                "p",
                "A requirement holds when every clause of it was seen to hold. Numbers are clauses that hold, of all.",
                class_="note",
            ),
            id="matrix",
            tabindex="-1",
            aria_labelledby="matrix-title",
        )

    # --- what to do

    def attention(self) -> Html | None:
        broken = [c for c in self.over.clauses if c.verdict in {Verdict.failed, Verdict.error}]
        if not broken:
            return None
        return tag(
            "section",
            tag("h2", "What is broken, and how to mend it", id="attention-title"),
            tag("ol", *(self.task(state) for state in broken), class_="tasks"),
            id="attention",
            aria_labelledby="attention-title",
        )

    def task(self, state: ClauseState) -> Html:
        result = state.result
        lines = remedy_lines(result.message) if result else ()
        prefix = f"{state.requirement.id} {state.clause.slug} · "
        first = lines[0][0].removeprefix(prefix) if lines else state.clause.statement
        remedy = next((remedy for _, remedy in lines if remedy), "")
        return tag(
            "li",
            tag(
                "p",
                _mark(look(state)),
                tag("a", f"{state.requirement.id} {state.clause.slug}", href=f"#{_anchor(state)}"),
                " ",
                state.clause.statement,
                class_="what",
            ),
            tag("p", first, class_="seen"),
            tag("p", f"And {len(lines) - 1} more.", class_="note") if len(lines) > 1 else None,
            tag("p", tag("b", "To mend it: "), remedy, class_="remedy") if remedy else None,
            class_=f"v-{look(state)}",
        )

    # --- each requirement

    def requirements(self) -> Html:
        return tag(
            "section",
            tag(
                "div",
                tag("h2", "Each requirement", id="requirements-title"),
                tag(
                    "p",
                    tag("button", "Open all", type="button", data_unfold="open"),
                    tag("button", "Close all", type="button", data_unfold="close"),
                    class_="tools",
                    hidden=True,
                ),
                class_="titled",
            ),
            *(
                tag(
                    "div",
                    tag("h3", f"{group.group.group} {group.group.title}"),
                    *(self.requirement(state) for state in group.requirements),
                    class_="chapter",
                )
                for group in self.over.groups
            ),
            tag("p", "Nothing has this verdict.", class_="nothing", hidden=True),
            id="requirements",
            aria_labelledby="requirements-title",
        )

    def requirement(self, state: RequirementState) -> Html:
        requirement = state.requirement
        kind = look(state)
        telling = state.verdict in {Verdict.failed, Verdict.error} or kind == "not_evaluated"
        body = tag(
            "div",
            tag("p", requirement.statement, class_="statement"),
            tag(
                "dl",
                tag("div", tag("dt", "Severity"), tag("dd", requirement.severity)),
                tag("div", tag("dt", "SOC 2"), tag("dd", self.criteria(requirement.id))),
                class_="facts",
            ),
            *(self.clause(clause) for clause in state.clauses),
            tag("p", tag("b", "When it is broken: "), requirement.remediation, class_="remedy")
            if state.verdict is Verdict.failed
            else None,
            tag("p", tag("a", "Back to the matrix", href="#matrix"), class_="back"),
            class_="body",
        )
        return tag(
            "details",
            tag(
                "summary",
                _icon(kind),
                tag("span", requirement.id, class_="id"),
                tag("span", requirement.title, class_="title"),
                tag("span", _standing(state), class_="standing"),
            ),
            body,
            id=f"r{requirement.id}",
            class_=f"requirement v-{kind}",
            data_look=kind,
            open=telling,
        )

    def criteria(self, requirement_id: str) -> Html:
        supports = self.framework.of(requirement_id)
        if supports is None:
            why = self.framework.operational.get(requirement_id, "")
            return join("none, operational", f": {why}" if why else "")
        items = [
            tag("li", tag("b", criterion), f" {how}: {self.framework.criteria[criterion]}")
            for criterion, how in supports.criteria.items()
        ]
        return join(
            tag("ul", *items, class_="criteria"), tag("span", f"Left to people: {supports.people}", class_="people")
        )

    def clause(self, state: ClauseState) -> Html:
        kind = look(state)
        clause, result = state.clause, state.result
        limits = self.catalogue.limits(state.requirement.id, clause.slug)
        in_force = self.manifest.limits.get(state.requirement.id, {}) if self.manifest else {}
        texts = list(result.limits.values()) if result else [in_force.get(n, own).text() for n, own in limits.items()]
        return tag(
            "section",
            tag(
                "div",
                _icon(kind),
                tag("h4", clause.statement),
                tag("span", WORDS[kind] if kind != "not_evaluated" else f"not evaluated: {state.why}", class_="chip"),
                class_="clause-head",
            ),
            tag(
                "p",
                tag("code", clause.slug),
                tag("span", clause.kind, class_="kind", title=KINDS[clause.kind]),
                *(tag("span", text, class_="limit") for text in texts),
                class_="clause-meta",
            ),
            self.outcome(state),
            id=_anchor(state),
            class_=f"clause v-{kind}",
            aria_label=f"{state.requirement.id} {clause.slug}",
        )

    def outcome(self, state: ClauseState) -> Html | None:
        result = state.result
        if result is None:
            return None
        parts: list[Html | None] = []
        if not result.findings and result.message:
            lines = remedy_lines(result.message)
            parts += [
                tag("p", seen.removeprefix(f"{result.requirement} {result.clause} · "), class_="seen")
                for seen, _ in lines
            ]
        parts += self.remedies(state)
        parts += self.drawings(state)
        return join(*parts, *_findings(result.findings, _provenance(result)))

    def remedies(self, state: ClauseState) -> Iterator[Html]:
        """What to do: where a rule knows better for a subject than the catalogue, its words, each once."""
        findings = state.result.findings if state.result else ()
        broken = state.verdict is Verdict.failed
        telling = [f for f in findings if f.ok is (False if broken else None)]
        general = self.catalogue.remedy(state.requirement.id, state.clause.slug) if broken else ""
        for remedy in list(dict.fromkeys(f.remedy or general for f in telling))[:MOST_REMEDIES]:
            if remedy:
                yield tag("p", tag("b", "To mend it: " if broken else "To see it: "), remedy, class_="remedy")

    def drawings(self, state: ClauseState) -> Iterator[Html]:
        """The timeline, under the clause whose limit it shows; other clauses judge the same observation."""
        result = state.result
        if result is None or state.clause.kind != "disrupt" or not state.clause.limits:
            return
        in_force = self.manifest.limits.get(result.requirement, {}) if self.manifest else {}
        seconds: list[Limit] = [
            in_force[name] for name in state.clause.limits if name in in_force and in_force[name].unit == "s"
        ]
        if not seconds:
            return
        for digest in result.facts:
            try:
                fact = self.store.load_fact(digest)
            except StoreError as error:
                yield tag("p", f"The timeline cannot be drawn: {error}", class_="seen")
                continue
            if isinstance(fact, ControlPlaneOutage) and fact.unseen is None and fact.writes:
                yield timeline(fact, seconds[0])

    # --- what was not evaluated

    def unseen(self) -> Html:
        missing = [c for c in self.over.clauses if c.verdict is Verdict.not_evaluated]
        telling = [c for c in missing if c.result is not None]
        rest = {
            "No check reaches {} yet.": Cause.NO_CHECK,
            "Left out of this run: {}.": Cause.NOT_SELECTED,
            "Not reached before the run ended: {}.": Cause.INTERRUPTED,
        }
        silent = {text: [c for c in missing if c.result is None and c.cause is cause] for text, cause in rest.items()}
        sentences = [text.format(_these(states)) for text, states in silent.items() if states]
        return tag(
            "section",
            tag("h2", "What was not evaluated, and why", id="unseen-title"),
            tag("ul", *(self.blind(state) for state in telling), class_="tasks") if telling else None,
            tag("p", "Everything that this run set out to judge was judged.")
            if not telling and not any(c.wanted for c in missing)
            else None,
            tag("ul", *(tag("li", sentence) for sentence in sentences)) if sentences else None,
            id="unseen",
            aria_labelledby="unseen-title",
        )

    def blind(self, state: ClauseState) -> Html:
        result = state.result
        lines = remedy_lines(result.message) if result else ()
        prefix = f"{state.requirement.id} {state.clause.slug} · "
        remedies = dict.fromkeys(remedy for _, remedy in lines if remedy)
        return tag(
            "li",
            tag(
                "p",
                _icon("not_evaluated"),
                tag("a", f"{state.requirement.id} {state.clause.slug}", href=f"#{_anchor(state)}"),
                " ",
                tag("span", state.why, class_="chip"),
                class_="what",
            ),
            *(tag("p", seen.removeprefix(prefix), class_="seen") for seen, _ in lines[:MOST_REMEDIES]),
            *(tag("p", tag("b", "To see it: "), remedy, class_="remedy") for remedy in list(remedies)[:1]),
            class_="v-not_evaluated",
        )

    # --- what lies under it all

    def caveats(self) -> Html | None:
        manifest = self.manifest
        if manifest is None:
            return None
        return tag(
            "section",
            tag("h2", "What to know when reading this", id="caveats-title"),
            tag("h3", "Loosened limits"),
            tag("ul", *(tag("li", deviation.text()) for deviation in manifest.deviations))
            if manifest.deviations
            else tag("p", "None: no limit of this target is looser than the catalogue's."),
            tag("h3", "Stand-ins"),
            tag("ul", *(tag("li", tag("b", e.component), f": {e.by}") for e in manifest.emulated))
            if manifest.emulated
            else tag("p", "None: every component is the real one."),
            id="caveats",
            aria_labelledby="caveats-title",
        )

    def evidence(self) -> Html:
        manifest = self.manifest
        damage = tag("ul", *(tag("li", sentence) for sentence in self.record.damage)) if self.record.damage else None
        if manifest is None:
            content: list[Html | None] = [tag("p", "The run left no manifest, so nothing vouches for its files.")]
        else:
            rows = [
                ("Catalogue", manifest.catalogue_digest),
                ("Suites at commit", manifest.commit or "not from a git checkout"),
                ("Command", " ".join(manifest.command)),
                ("Versions", ", ".join(f"{name} {version}" for name, version in manifest.versions.items() if version)),
                ("Started", manifest.started.isoformat(timespec="seconds")),
                ("Ended", manifest.ended.isoformat(timespec="seconds")),
                ("Signed by key", manifest.key or f"evidence not signed: {manifest.unsigned}"),
                ("Follows run", manifest.previous_run and f"{manifest.previous_run} (manifest {manifest.previous})"),
            ]
            limits = [
                (requirement_id, limit)
                for requirement_id, named in sorted(manifest.limits.items(), key=lambda item: _by_number(item[0]))
                for limit in named.values()
            ]
            content = [
                tag(
                    "dl",
                    *(tag("div", tag("dt", name), tag("dd", tag("code", value))) for name, value in rows if value),
                    class_="facts",
                ),
                _fold(
                    f"{len(manifest.files)} files and their SHA-256",
                    _table(("File", "SHA-256"), manifest.files.items()),
                )
                if manifest.files
                else None,
                _fold(
                    f"{len(limits)} limits in force",
                    _table(
                        ("Requirement", "Limit"), ((requirement_id, limit.text()) for requirement_id, limit in limits)
                    ),
                )
                if limits
                else None,
            ]
        return tag(
            "section",
            tag("h2", "Evidence", id="evidence-title"),
            tag(
                "p",
                "This page is drawn from the files beside it: ",
                tag("code", "findings.jsonl"),
                " holds every finding, ",
                tag("code", "facts/"),
                " what was seen, each under its own SHA-256. Their digests, and this page's own, stand in ",
                tag("code", "manifest.json"),
                "; whether all of it is what the run wrote says ",
                tag("code", "verify evidence check FOLDER"),
                ".",
            ),
            damage,
            *content,
            id="evidence",
            aria_labelledby="evidence-title",
        )

    def foot(self) -> Html:
        return tag("footer", tag("p", f"finbot-verify · {self.target} · run {self.record.run}"))


# --- pieces


def _matrix_row(group: GroupState) -> Html:
    return tag(
        "div",
        tag("h3", tag("span", str(group.group.group), class_="number"), f" {group.group.title}"),
        tag(
            "ul",
            *(
                tag(
                    "li",
                    tag(
                        "a",
                        tag("span", state.requirement.id, class_="id"),
                        _icon(look(state)),
                        tag("span", state.requirement.title, class_="title"),
                        tag("span", _standing(state), class_="standing"),
                        href=f"#r{state.requirement.id}",
                        class_=f"cell v-{look(state)}",
                        data_look=look(state),
                    ),
                )
                for state in group.requirements
            ),
            class_="cells",
        ),
        class_="group",
    )


def _standing(state: RequirementState) -> str:
    """``holds · 12/12``, ``no check yet``."""
    word = WORDS[look(state)]
    return word if state.open or not state.applicable else f"{word} · {state.passed}/{state.applicable}"


def _filter(counts: dict[str, int], total: int) -> Html:
    buttons = [tag("button", f"All {total}", type="button", data_filter="", aria_pressed="true")]
    buttons += [
        tag(
            "button",
            _icon(kind),
            f"{WORDS[kind]} {counts[kind]}",
            type="button",
            data_filter=kind,
            aria_pressed="false",
            class_=f"v-{kind}",
        )
        for kind in WORDS
        if kind in counts
    ]
    return tag("div", *buttons, class_="filter", role="group", aria_label="Show only")


def _findings(findings: Sequence[Finding], provenance: Html) -> Iterator[Html]:
    """What is broken first, then what could not be seen, then what holds; folded where it is much."""
    telling = [f for f in findings if f.ok is False] + [f for f in findings if f.ok is None]
    holding = [f for f in findings if f.ok is True]
    if telling:
        yield _finding_table(telling[:UNFOLDED])
    if telling[UNFOLDED:]:
        yield _fold(f"{len(telling) - UNFOLDED} more that do not hold", _finding_table(telling[UNFOLDED:], MOST_BROKEN))
    if len(findings) == len(holding) == 1:
        yield _finding_table(holding)
    elif holding:
        table = _finding_table(holding, MOST_HOLDING)
        yield _fold(_hold(len(holding)), table if telling else join(table, provenance))
    if telling or len(holding) <= 1:
        yield provenance


def _provenance(result: ClauseResult) -> Html:
    digests = [tag("code", digest[:12], title=f"facts/{digest}.json.gz") for digest in result.facts]
    return tag(
        "p",
        f"Judged in {duration(result.ended - result.started)}",
        join(" in run ", tag("code", result.carried_from), " and carried over") if result.carried_from else None,
        join(" by ", tag("code", result.rule)) if result.rule else None,
        join(" on ", "fact " if len(digests) == 1 else "facts ", _separated(digests)) if digests else None,
        ".",
        class_="provenance",
    )


def _hold(number: int) -> str:
    return "1 subject holds" if number == 1 else f"{number} subjects hold"


def _finding_table(findings: Sequence[Finding], most: int = MOST_BROKEN) -> Html:
    rows = [
        tag(
            "tr",
            tag("th", _mark(kind), tag("span", f.subject), scope="row"),
            tag("td", f.observed, data_label="Observed"),
            tag("td", f.expected, data_label="Expected"),
            class_=f"v-{kind}",
        )
        for f in findings[:most]
        for kind in [{True: "passed", False: "failed", None: "not_evaluated"}[f.ok]]
    ]
    rest = len(findings) - most
    heads = tag("tr", *(tag("th", name, scope="col") for name in ("Subject", "Observed", "Expected")))
    return join(
        tag("table", tag("thead", heads), tag("tbody", *rows), class_="findings"),
        tag("p", f"And {rest} more, all of them in findings.jsonl.", class_="note") if rest > 0 else None,
    )


def _table(heads: Iterable[str], rows: Iterable[tuple[str, str]]) -> Html:
    body = [tag("tr", tag("th", first, scope="row"), tag("td", tag("code", second))) for first, second in rows]
    return tag("table", tag("thead", tag("tr", *(tag("th", h, scope="col") for h in heads))), tag("tbody", *body))


def _fold(summary: str, content: Html) -> Html:
    return tag("details", tag("summary", summary), content, class_="fold")


def _icons() -> Html:
    symbols = [tag("symbol", tag("path", d=path), id=f"i-{name}", viewBox="0 0 16 16") for name, path in ICONS.items()]
    return tag("svg", *symbols, class_="icons", aria_hidden="true", width="0", height="0")


def _icon(kind: str) -> Html:
    """The mark of a look, where its word stands beside it."""
    return tag("svg", tag("use", href=f"#i-{kind}"), class_=f"icon v-{kind}", aria_hidden="true", focusable="false")


def _mark(kind: str) -> Html:
    """The mark of a look, with its word for those who do not see it."""
    return join(_icon(kind), tag("span", f"{WORDS[kind]}: ", class_="said"))


def _time(at: datetime) -> Html:
    return tag("time", f"{at.day} {at:%B %Y, %H:%M} UTC", datetime=at.isoformat(timespec="seconds"))


def _anchor(state: ClauseState) -> str:
    return f"r{state.requirement.id}-{state.clause.slug}"


def _these(states: Iterable[ClauseState]) -> str:
    """``213 clauses of 46 requirements``."""
    found = list(states)
    ids = {state.requirement.id for state in found}
    clauses = "1 clause" if len(found) == 1 else f"{len(found)} clauses"
    return f"{clauses} of {'1 requirement' if len(ids) == 1 else f'{len(ids)} requirements'}"


def _separated(items: Sequence[Html]) -> Html:
    return join(*(part for index, item in enumerate(items) for part in ((", ", item) if index else (item,))))


def _by_number(requirement_id: str) -> tuple[int, ...]:
    return tuple(int(part) for part in requirement_id.split("."))


def _allow(source: str) -> str:
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return f"'sha256-{digest}'"
