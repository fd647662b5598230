"""``report.html``: one file without network that shows a run to a person; the matrix, then everything behind it.

Everything is drawn from the run's record and the catalogue. Text is escaped by construction (`reports.markup`), and
the page's own policy forbids every request and every script but its own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from policies.catalogue import Catalogue
from policies.finding import Finding
from policies.framework import Framework, load_framework
from policies.limits import Limit
from policies.waivers import Waivers
from reports import html_notes
from reports.faults import FaultRecord, faults_of
from reports.headline import Headline, carried_over, duration, headline, remedy_lines, to_type
from reports.html_pieces import WORDS, anchor, fold, icon, icons, mark, separated, time
from reports.markup import Html, join, tag
from reports.model import ClauseResult, Manifest, RunRecord, Verdict
from reports.overview import ClauseState, GroupState, RequirementState, look, overview
from reports.store import PAGE, RunStore, StoreError, write_whole
from reports.timeline import Watched, timeline, watched
from reports.waived import waived

HERE: Final = Path(__file__).parent
UNFOLDED: Final = 20  # findings that do not hold are folded away beyond this many; those that do, beyond one
MOST_REMEDIES: Final = 6
MOST_BROKEN: Final = 300  # rows drawn at most in one table: the page has to open on a phone, all are in findings.jsonl
MOST_HOLDING: Final = 150

KINDS: Final = {
    "inspect": "only reads",
    "probe": "harmless traffic, or a scratch object that is removed",
    "load": "drives traffic",
    "disrupt": "a fault is injected, and undone",
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


def render(record: RunRecord, catalogue: Catalogue, out: Path | None = None, *, waivers: Waivers | None = None) -> Path:
    """Draw the page into ``out`` (the run's own ``report.html`` by default); returns where it is. Raises StoreError.

    ``waivers`` are those of ``policies/waivers.yaml`` where none are given.
    """
    out = out or Path(record.path) / PAGE
    write_whole({out: _Page(record, catalogue, waivers).html().encode()})
    return out


class _Page:
    def __init__(self, record: RunRecord, catalogue: Catalogue, waivers: Waivers | None) -> None:
        self.record = record
        self.manifest: Manifest | None = record.manifest
        self.catalogue = catalogue
        self.framework: Framework = load_framework(catalogue)
        self.over = overview(record, catalogue)
        self.waived = waived(record, catalogue, waivers)
        self.store = RunStore(Path(record.path))
        self.faults = faults_of(self.store.path)

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
            icons(),
            tag("a", "Skip to the matrix", href="#matrix", class_="skip"),
            self.top(),
            tag(
                "main",
                self.matrix(),
                self.attention(),
                self.requirements(),
                html_notes.unseen(self.over, self.manifest),
                html_notes.waivers(self.waived),
                html_notes.faults(self.faults),
                html_notes.caveats(self.record, self.catalogue),
                html_notes.evidence(self.record),
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
            tag("h1", mark(said.verdict.value), tag("span", said.title)),
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
        yield "When", join(time(manifest.started))
        yield "Took", join(duration(manifest.ended - manifest.started))
        if manifest.versions.get("kubernetes"):
            yield "Kubernetes", join(manifest.versions["kubernetes"])
        yield "Run", tag("code", manifest.run)
        for sentence in carried_over(self.record):
            yield "Resumed", join(sentence)
        if manifest.profile:
            yield "Profile", join(manifest.profile)
        if manifest.dry_run:
            yield "Dry run", join("nothing was broken; no gate counts it")
        if self.waived.overlay.covered:
            number = len(self.waived.overlay.covered)
            yield "Waived", tag("a", f"{number} breach{'es' if number > 1 else ''}, for a time", href="#waivers")
        yield "Exit code", join(f"{manifest.exit_code}", f", {EXITS.get(manifest.exit_code, 'unknown')}")

    def not_restored(self) -> Html | None:
        if self.manifest is None or not self.manifest.not_restored:
            return None
        return tag(
            "div",
            tag("h2", "Not as it was found"),
            tag("ul", *(tag("li", sentence) for sentence in self.manifest.not_restored)),
            tag("p", "Run ", tag("code", to_type(self.record, "restore")), " before anything else."),
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
                mark(look(state)),
                tag("a", f"{state.requirement.id} {state.clause.slug}", href=f"#{anchor(state)}"),
                " ",
                state.clause.statement,
                class_="what",
            ),
            tag("p", first, class_="seen"),
            tag("p", f"And {len(lines) - 1} more.", class_="note") if len(lines) > 1 else None,
            self.accepted(state),
            tag("p", tag("b", "To mend it: "), remedy, class_="remedy") if remedy else None,
            class_=f"v-{look(state)}",
        )

    def accepted(self, state: ClauseState) -> Html | None:
        """Which of the broken subjects are waived, by whom and until when; the verdict stays what it is."""
        mine = self.waived.of(state.requirement.id, state.clause.slug)
        if not mine or state.result is None:
            return None
        broken = {finding.subject for finding in state.result.findings if finding.ok is False}
        some = "All that is broken" if broken <= mine.keys() else f"{len(mine)} of {len(broken)} broken subjects"
        by = [
            tag("li", f"{w.subject}: until {w.expires}, {w.ticket}, approved by {w.approver}. {w.reason}")
            for w in dict.fromkeys(mine.values())
        ]
        return tag("div", tag("p", tag("b", "Waived. "), f"{some}, for a time:"), tag("ul", *by), class_="waiver")

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
                icon(kind),
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
        texts = dict(result.limits) if result else {n: in_force.get(n, own).text() for n, own in limits.items()}
        loosened = {d.in_force.text(): d.catalogue.text() for d in self.manifest.deviations} if self.manifest else {}
        return tag(
            "section",
            tag(
                "div",
                icon(kind),
                tag("h4", clause.statement),
                tag("span", WORDS[kind] if kind != "not_evaluated" else f"not evaluated: {state.why}", class_="chip"),
                class_="clause-head",
            ),
            tag(
                "p",
                tag("code", clause.slug),
                tag("span", clause.kind, class_="kind", title=KINDS[clause.kind]),
                *(_limit(text, loosened.get(text, "")) for text in texts.values()),
                class_="clause-meta",
            ),
            self.outcome(state),
            id=anchor(state),
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
        parts += [self.accepted(state), *self.remedies(state), *self.drawings(state)]
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
            seen = watched(fact)
            if seen is not None:
                yield timeline(seen, seconds[0], self.fault_of(seen))

    def fault_of(self, seen: Watched) -> FaultRecord | None:
        """What the journal says of the fault of an observation; None where it stands in another run's."""
        name, value = seen.parameter
        same = [f for f in self.faults if f.fault == seen.fault and f.parameters.get(name) == value]
        return same[0] if len(same) == 1 else None

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
                        icon(look(state)),
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


def _limit(text: str, published: str) -> Html:
    """A limit in force, with the catalogue's where the target loosened it."""
    if not published:
        return tag("span", text, class_="limit")
    return tag("span", text, tag("b", f" loosened, {published} in the catalogue", class_="flaw"), class_="limit")


def _standing(state: RequirementState) -> str:
    """``holds · 12/12``, ``no check yet``."""
    word = WORDS[look(state)]
    return word if state.open or not state.applicable else f"{word} · {state.passed}/{state.applicable}"


def _filter(counts: dict[str, int], total: int) -> Html:
    buttons = [tag("button", f"All {total}", type="button", data_filter="", aria_pressed="true")]
    buttons += [
        tag(
            "button",
            icon(kind),
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
        yield fold(f"{len(telling) - UNFOLDED} more that do not hold", _finding_table(telling[UNFOLDED:], MOST_BROKEN))
    if len(findings) == len(holding) == 1:
        yield _finding_table(holding)
    elif holding:
        table = _finding_table(holding, MOST_HOLDING)
        yield fold(_hold(len(holding)), table if telling else join(table, provenance))
    if telling or len(holding) <= 1:
        yield provenance


def _provenance(result: ClauseResult) -> Html:
    digests = [tag("code", digest[:12], title=f"facts/{digest}.json.gz") for digest in result.facts]
    return tag(
        "p",
        f"Judged in {duration(result.ended - result.started)}",
        join(" in run ", tag("code", result.carried_from), " and carried over") if result.carried_from else None,
        join(" by ", tag("code", result.rule)) if result.rule else None,
        join(" on ", "fact " if len(digests) == 1 else "facts ", separated(digests)) if digests else None,
        ".",
        class_="provenance",
    )


def _hold(number: int) -> str:
    return "1 subject holds" if number == 1 else f"{number} subjects hold"


def _finding_table(findings: Sequence[Finding], most: int = MOST_BROKEN) -> Html:
    rows = [
        tag(
            "tr",
            tag("th", mark(kind), tag("span", f.subject), scope="row"),
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


def _allow(source: str) -> str:
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return f"'sha256-{digest}'"
