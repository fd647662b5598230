"""The sections of the page below the requirements: what was not seen and why, waivers, faults, caveats, evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Final

from policies.catalogue import Catalogue
from policies.facts.base import Cause
from policies.limits import Deviation
from reports.faults import BUDGET, FaultRecord
from reports.headline import duration, remedy_lines
from reports.html_pieces import anchor, by_number, fold, icon, table, these
from reports.markup import Html, join, tag
from reports.model import Manifest, RunRecord, Verdict
from reports.overview import ClauseState, Overview
from reports.store import RunStore, StoreError
from reports.waived import Waived
from reports.waiving import Breach

MOST_LINES: Final = 6
# What each cause asks of the reader, where the check itself does not say it better.
CAUSES: Final[Mapping[Cause, tuple[str, str]]] = {
    Cause.FORBIDDEN: (
        "Forbidden",
        "The deployment refused to show it. Grant the verbs named: `verify rbac` writes them.",
    ),
    Cause.ABSENT: (
        "Absent",
        "What was to be looked at is not there. Install it, or say in the target why it does not apply.",
    ),
    Cause.EMPTY: ("Empty", "It was asked for and there was nothing to judge, which is no pass."),
    Cause.STALE: ("Stale", "What is known of it was seen too long ago. Run it again."),
    Cause.UNREACHABLE: ("Unreachable", "No answer came in time. Look at the way there first, then run it again."),
    Cause.INVALID: ("Not understood", "The answer could not be understood. Compare versions, then report it."),
    Cause.UNSAFE: ("Unsafe", "No fault was injected, or it was ended early, since a precondition did not hold."),
    Cause.INTERRUPTED: ("Not reached", "The run ended before. `verify run --resume` takes it up again."),
    Cause.NO_CHECK: ("No check yet", "CONTRIBUTING.md tells how one is added."),
}


# --- what was not evaluated


def unseen(over: Overview, manifest: Manifest | None) -> Html:
    """Grouped by cause, each with what to do; then what the run cannot speak of, since it was told to leave it out."""
    missing = [c for c in over.clauses if c.verdict is Verdict.not_evaluated]
    groups = {cause: [c for c in missing if c.cause is cause and (c.wanted or c.result)] for cause in CAUSES}
    told = [_blind(cause, states) for cause, states in groups.items() if states]
    left_out = [c for c in missing if c.cause is Cause.NOT_SELECTED]
    rest = [c for c in missing if c.cause is Cause.NO_CHECK and not c.wanted]
    killed = [c for c in missing if c.cause is Cause.INTERRUPTED and not c.wanted]
    return tag(
        "section",
        tag("h2", "What was not evaluated, and why", id="unseen-title"),
        tag("p", "Everything that this run set out to judge was judged.")
        if not told and manifest is not None
        else None,
        *told,
        _left_out(left_out, manifest) if left_out else None,
        tag("p", f"No check reaches {these(rest)} yet.") if rest else None,
        tag("p", f"Not reached before the run ended: {these(killed)}.") if killed else None,
        id="unseen",
        aria_labelledby="unseen-title",
    )


def _blind(cause: Cause, states: Sequence[ClauseState]) -> Html:
    title, advice = CAUSES[cause]
    return tag(
        "div",
        tag("h3", icon("not_evaluated"), f"{title} · {these(states)}"),
        tag("p", *_coded(advice), class_="note"),
        tag("ul", *(_unseen_clause(state) for state in states), class_="tasks"),
        class_="cause",
    )


def _unseen_clause(state: ClauseState) -> Html:
    result = state.result
    lines = remedy_lines(result.message) if result else ()
    prefix = f"{state.requirement.id} {state.clause.slug} · "
    remedies = list(dict.fromkeys(remedy for _, remedy in lines if remedy))
    return tag(
        "li",
        tag("p", _link(state), f" {state.clause.statement}", class_="what"),
        *(tag("p", seen.removeprefix(prefix), class_="seen") for seen, _ in lines[:MOST_LINES]),
        tag("p", f"And {len(lines) - MOST_LINES} more.", class_="note") if len(lines) > MOST_LINES else None,
        *(tag("p", tag("b", "To see it: "), remedy, class_="remedy") for remedy in remedies[:1]),
        class_="v-not_evaluated",
    )


def _left_out(states: Sequence[ClauseState], manifest: Manifest | None) -> Html:
    """The clauses that have a check and were not chosen: the run cannot speak of them."""
    by_requirement: dict[str, list[ClauseState]] = {}
    for state in states:
        by_requirement.setdefault(state.requirement.id, []).append(state)
    items = [
        tag("li", tag("b", requirement), " ", *_commas(_slug_link(state) for state in mine))
        for requirement, mine in by_requirement.items()
    ]
    chosen = _choice(manifest) if manifest is not None else ""
    return tag(
        "div",
        tag("h3", icon("not_selected"), f"This run cannot speak of {these(states)} that have a check"),
        tag("p", f"They were left out{chosen}.", class_="note"),
        tag("ul", *items),
        class_="cause",
    )


def _choice(manifest: Manifest) -> str:
    parts = [f"profile {manifest.profile}"] if manifest.profile else []
    parts += [f"only {', '.join(manifest.requirements)}"] if manifest.requirements else []
    parts += [f"only {', '.join(manifest.kinds)}"] if manifest.kinds and not manifest.profile else []
    parts += ["a dry run"] if manifest.dry_run else []
    return f": {', '.join(parts)}" if parts else ""


# --- waivers


def waivers(laid: Waived) -> Html:
    """Every waiver of this target: what it covers, or what is wrong with it. The verdicts above are the raw ones."""
    covers = laid.by_waiver
    wrong: dict[tuple[str, str, str], list[str]] = {}
    for finding in laid.overlay.findings:
        key = finding.requirement, finding.clause, finding.subject
        wrong.setdefault(key, []).append(f"{finding.flaw.value}: {finding.sentence}")
    rows = [
        tag(
            "tr",
            tag("th", f"{w.requirement} {w.clause}", tag("br"), tag("span", w.subject), scope="row"),
            tag("td", _covers(covers.get(key, ()), wrong.get(key, ())), data_label="Standing"),
            tag("td", _date(w.issued), " to ", _date(w.expires), data_label="In force"),
            tag("td", w.approver, f", asked for by {w.requested_by}", data_label="Approved by"),
            tag("td", f"{w.reason} Risk: {w.risk} ", tag("b", w.ticket), data_label="Why"),
        )
        for w in laid.waivers
        for key in [(w.requirement, w.clause, w.subject)]
    ]
    heads = [tag("th", name, scope="col") for name in ("Waiver for", "Standing", "In force", "Approved by", "Why")]
    if laid.problem:
        content: list[Html | None] = [tag("p", f"The waivers could not be laid over this run: {laid.problem}")]
    elif not rows:
        content = [tag("p", "None: nothing here is accepted for a time.")]
    else:
        content = [
            tag(
                "p",
                f"A waiver lies over a verdict and never replaces it. By the terms of profile {laid.terms_of}, "
                "on the day the run ended.",
                class_="note",
            ),
            tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="findings ledger"),
        ]
    return tag(
        "section",
        tag("h2", "Waivers", id="waivers-title"),
        *content,
        id="waivers",
        aria_labelledby="waivers-title",
    )


def _date(day: date) -> Html:
    return tag("span", str(day), class_="date")


def _covers(breaches: Sequence[Breach], wrong: Sequence[str]) -> Html:
    if wrong:
        return join(tag("b", "Covers nothing", class_="flaw"), ": ", "; ".join(wrong))
    if not breaches:
        return join("Not asked for in this run")
    number = "1 breach" if len(breaches) == 1 else f"{len(breaches)} breaches"
    return join(tag("b", f"Covers {number}"))


# --- faults


def faults(found: Sequence[FaultRecord]) -> Html | None:
    """What was broken on purpose, how far that could go, and that it was brought back."""
    if not found:
        return None
    return tag(
        "section",
        tag("h2", "What was broken on purpose", id="faults-title"),
        *(_fault(one) for one in found),
        id="faults",
        aria_labelledby="faults-title",
    )


def _fault(one: FaultRecord) -> Html:
    stood = duration(one.undone - one.injected) if one.undone is not None and one.injected is not None else ""
    rows = [
        ("Of", ", ".join(f"{name} {value}" for name, value in one.parameters.items())),
        ("Blast radius", one.radius.text() if one.radius is not None else "not stated"),
        ("Begun", _clock(one.opened)),
        ("Seen to happen", one.proof or ("not recorded" if one.injected is not None else "it was not injected")),
        ("Ended early", f"{_clock(one.ended_early)}, since {one.why_early}" if one.ended_early is not None else ""),
        ("Undone", f"{_clock(one.undone)}{f', after {stood}' if stood else ''}" if one.undone is not None else "no"),
        ("Error budget", one.budget.removeprefix(BUDGET)),
    ]
    return tag(
        "div",
        tag("h3", one.fault),
        tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in rows if value), class_="facts"),
        class_="fault-record" if one.undone is not None else "fault-record alarm",
    )


def _clock(at: datetime | None) -> str:
    return f"{at:%H:%M:%S} UTC" if at is not None else "no"


# --- what to know


def caveats(record: RunRecord, catalogue: Catalogue) -> Html | None:
    """Whether it was a dry run, loosened limits, what is emulated."""
    manifest = record.manifest
    if manifest is None:
        return None
    return tag(
        "section",
        tag("h2", "What to know when reading this", id="caveats-title"),
        join(
            tag("h3", "A dry run"),
            tag("p", "It inspected, and said what it would break. Nothing was broken, and no gate counts it."),
        )
        if manifest.dry_run
        else None,
        tag("h3", "Loosened limits"),
        _deviations(record, manifest, catalogue)
        if manifest.deviations
        else tag("p", "None: no limit of this target is looser than the catalogue's."),
        tag("h3", "Emulated"),
        tag("ul", *(tag("li", tag("b", e.component), f": {e.by}") for e in manifest.emulated))
        if manifest.emulated
        else tag("p", "None: every component is the real one."),
        id="caveats",
        aria_labelledby="caveats-title",
    )


def _deviations(record: RunRecord, manifest: Manifest, catalogue: Catalogue) -> Html:
    rows = []
    for deviation in manifest.deviations:
        clauses = catalogue.requirement(deviation.requirement).clauses
        home = next((clause.slug for clause in clauses if deviation.in_force.name in clause.limits), "")
        place = tag("a", f"{deviation.requirement} {home}", href=f"#r{deviation.requirement}-{home}")
        rows.append(
            tag(
                "tr",
                tag("th", place, scope="row"),
                tag("td", deviation.in_force.text(), data_label="In force"),
                tag("td", deviation.catalogue.text(), data_label="Catalogue"),
                tag("td", _since(record, manifest, deviation), data_label="Since"),
            )
        )
    heads = tag("tr", *(tag("th", n, scope="col") for n in ("Clause", "In force", "Catalogue", "Since")))
    return tag("table", tag("thead", heads), tag("tbody", *rows), class_="findings ledger")


def _since(record: RunRecord, manifest: Manifest, deviation: Deviation) -> str:
    """The first of the runs before this one, without a break, that were judged by the same loosened limit."""
    first, at = manifest, manifest
    while at.previous_run:
        try:
            before = RunStore(Path(record.path).parent / at.previous_run).read().manifest
        except StoreError:
            break
        if before is None:
            break
        if before.target == manifest.target:
            if deviation not in before.deviations:
                break
            first = before
        at = before
    if first is manifest:
        return "this run"
    return f"run {first.run}, {first.started:%Y-%m-%d}"


# --- evidence


def evidence(record: RunRecord) -> Html:
    """What the page is drawn from, and what vouches for it."""
    manifest = record.manifest
    damage = tag("ul", *(tag("li", sentence) for sentence in record.damage)) if record.damage else None
    if manifest is None:
        content: list[Html | None] = [tag("p", "The run left no manifest, so nothing vouches for its files.")]
    else:
        content = list(_vouched(manifest))
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


def _vouched(manifest: Manifest) -> Iterator[Html | None]:
    follows = (
        f"{manifest.previous_run} (manifest {manifest.previous})" if manifest.previous_run else "none, it is the first"
    )
    rows = [
        ("Signed by key", manifest.key or f"evidence not signed: {manifest.unsigned}"),
        ("Timestamp by", manifest.authority or (f"none: {manifest.unstamped}" if manifest.unstamped else "")),
        ("Follows run", follows),
        ("Profile", manifest.profile),
        ("Catalogue", manifest.catalogue_digest),
        ("Suites at commit", manifest.commit or "not from a git checkout"),
        ("Command", " ".join(manifest.command)),
        ("Versions", ", ".join(f"{name} {version}" for name, version in manifest.versions.items() if version)),
        ("Started", manifest.started.isoformat(timespec="seconds")),
        ("Ended", manifest.ended.isoformat(timespec="seconds")),
    ]
    limits = [
        (requirement_id, limit)
        for requirement_id, named in sorted(manifest.limits.items(), key=lambda item: by_number(item[0]))
        for limit in named.values()
    ]
    yield tag(
        "dl",
        *(tag("div", tag("dt", name), tag("dd", tag("code", value))) for name, value in rows if value),
        class_="facts",
    )
    if manifest.files:
        yield fold(f"{len(manifest.files)} files and their SHA-256", table(("File", "SHA-256"), manifest.files.items()))
    if limits:
        yield fold(
            f"{len(limits)} limits in force",
            table(("Requirement", "Limit"), ((requirement_id, limit.text()) for requirement_id, limit in limits)),
        )


# --- words


def _link(state: ClauseState) -> Html:
    return tag("a", f"{state.requirement.id} {state.clause.slug}", href=f"#{anchor(state)}")


def _slug_link(state: ClauseState) -> Html:
    return tag("a", state.clause.slug, href=f"#{anchor(state)}")


def _commas(items: Iterable[Html]) -> Iterator[str]:
    for number, item in enumerate(items):
        if number:
            yield ", "
        yield item


def _coded(text: str) -> Iterator[str]:
    """What stands in backquotes as code."""
    for number, part in enumerate(text.split("`")):
        yield tag("code", part) if number % 2 else part
