"""What is known of a requirement: what it means, how it is checked, what that needs, and what was last seen of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Final

from msgspec import Struct
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fixtures import faults
from harness.checks import Source
from harness.needs import IDENTITIES, asked, needs
from policies import rules
from policies.catalogue import Catalogue, Clause, Kind, Requirement, Severity
from policies.facts.faults import Radius
from policies.framework import load_framework
from policies.waivers import Waiver, load_waivers
from reports.headline import duration
from reports.markup import visible
from reports.runs import StoredRun
from reports.terminal import MARKS
from targets.model import Target

LAST: Final = 5
"""Results of one clause that are shown; of a requirement the latest of each clause."""


class LimitNow(Struct, frozen=True, kw_only=True):
    """A limit as it is in force, and the catalogue's where the target has another."""

    text: str
    catalogue: str = ""
    loosened: bool = False


class HowChecked(Struct, frozen=True, kw_only=True):
    """The test of a clause and what stands behind it, as the source says."""

    test: str
    """``file:line``, from the root of the checkout."""
    promise: str
    rule: str
    rule_says: str
    facts: dict[str, str]
    """What is seen, by the fixture that sees it."""
    needs: dict[str, tuple[str, ...]]
    """The verbs that each identity needs."""
    settings: tuple[str, ...]
    """What of the target is read."""
    fault: str = ""
    fault_does: str = ""
    fault_bounds: str = ""


class LastResult(Struct, frozen=True, kw_only=True):
    """What one run said of a clause. ``finding`` is the worst one, or the first where all hold."""

    run: str
    target: str
    at: datetime
    verdict: str
    why: str
    finding: str


class ClauseExplained(Struct, frozen=True, kw_only=True):
    """One clause."""

    clause: str
    statement: str
    kind: Kind
    limits: tuple[LimitNow, ...]
    remedy: str
    not_applicable: str
    """Why it does not apply to the target; empty where it does."""
    check: HowChecked | None
    """None where it has no check yet."""
    last: tuple[LastResult, ...]
    """The latest first."""
    waivers: tuple[str, ...]


class Explained(Struct, frozen=True, kw_only=True):
    """A requirement, or those of its clauses that were asked for."""

    format: int = 1
    requirement: str
    title: str
    statement: str
    severity: Severity
    remediation: str
    criteria: dict[str, str]
    """How far it supports each SOC 2 criterion, and what that asks."""
    people: str
    """What is left to people, or why it supports no criterion."""
    target: str
    whole: bool
    clauses: tuple[ClauseExplained, ...]


def explained(
    requirement: Requirement,
    clauses: Sequence[Clause],
    *,
    catalogue: Catalogue,
    code: Source,
    target: Target | None,
    stored: Iterable[StoredRun],
    today: date,
) -> Explained:
    """All that is known of some clauses of a requirement. Raises DocumentError."""
    framework = load_framework(catalogue)
    supports = framework.of(requirement.id)
    mine = [run for run in stored if target is None or run.of(target.name)]
    waivers = [w for w in load_waivers(catalogue).waivers if target is None or w.target in {None, target.name}]

    def one(clause: Clause) -> ClauseExplained:
        name = requirement.id, clause.slug
        return ClauseExplained(
            clause=clause.slug,
            statement=clause.statement,
            kind=clause.kind,
            limits=tuple(_limits(name, catalogue, target)),
            remedy=catalogue.remedy(*name),
            not_applicable=(target.not_applicable_reason(*name) if target is not None else None) or "",
            check=_how(name, clause.kind, code, target),
            last=tuple(_last(name, mine))[:LAST],
            waivers=tuple(_waiver(w, today) for w in waivers if (w.requirement, w.clause) == name),
        )

    return Explained(
        requirement=requirement.id,
        title=requirement.title,
        statement=requirement.statement,
        severity=requirement.severity,
        remediation=requirement.remediation,
        criteria={c: f"{how}: {framework.criteria[c]}" for c, how in supports.criteria.items()} if supports else {},
        people=supports.people if supports else framework.operational.get(requirement.id, ""),
        target=target.name if target is not None else "",
        whole=len(clauses) == len(requirement.clauses),
        clauses=tuple(one(clause) for clause in clauses),
    )


def _limits(name: tuple[str, str], catalogue: Catalogue, target: Target | None) -> Iterator[LimitNow]:
    published = catalogue.limits(*name)
    for key, limit in catalogue.limits(*name, target.limits if target is not None else {}).items():
        other = limit != published[key]
        yield LimitNow(
            text=limit.text(),
            catalogue=published[key].text() if other else "",
            loosened=limit.looser_than(published[key]),
        )


def _how(name: tuple[str, str], kind: Kind, code: Source, target: Target | None) -> HowChecked | None:
    check = code.checks.get(name)
    if check is None:
        return None
    wanted = [n for n in needs([asked(check, kind)], target) if n.for_the_check]
    verbs = {who: tuple(str(n.access) for n in wanted if n.identity == who) for who in IDENTITIES}
    rule: object = rules
    for part in check.rule.split("."):
        rule = getattr(rule, part)
    reached = code.names(check.fixtures)
    known = [
        fault for constant, fault in vars(faults).items() if constant in reached and isinstance(fault, faults.Fault)
    ]
    fault = known[0] if known and check.disrupts else None
    return HowChecked(
        test=f"{check.file}:{check.line}",
        promise=check.promise,
        rule=check.rule,
        rule_says=" ".join((rule.__doc__ or "").partition("\n\n")[0].split()),
        facts={fact: code.promise(fact) for fact in check.facts},
        needs={who: each for who, each in verbs.items() if each},
        settings=code.settings(check.fixtures),
        fault=fault.name if fault is not None else "",
        fault_does=fault.touches.replace("{", "<").replace("}", ">") if fault is not None else "",
        fault_bounds=_bounds(target) if fault is not None else "",
    )


def _bounds(target: Target | None) -> str:
    if target is None:
        return "bounded by disrupt.blast_radius of the target; what it would touch now says `verify run --dry-run`"
    if not target.disrupt.allowed:
        return f"{target.name} allows no faults (disrupt.allowed)"
    most = target.disrupt.blast_radius
    return f"in {target.name}: {Radius(most.nodes, most.pods, most.minutes * 60).text()}"


def _last(name: tuple[str, str], runs: Iterable[StoredRun]) -> Iterator[LastResult]:
    for run in runs:
        for result in run.results(name):
            worst = sorted(result.findings, key=lambda f: (False, None, True).index(f.ok))
            told = f"{worst[0].subject}: {worst[0].observed}" if worst else result.message.partition("\n")[0]
            more = f" (and {len(worst) - 1} more subjects)" if len(worst) > 1 else ""
            yield LastResult(
                run=run.name,
                target=result.target or run.record.target,
                at=result.ended,
                verdict=result.verdict.value,
                why=result.cause.value if result.cause is not None else "",
                finding=f"{told}{more}",
            )


def _waiver(waiver: Waiver, today: date) -> str:
    when = (
        f"expired on {waiver.expires}"
        if today > waiver.expires
        else f"begins on {waiver.issued}"
        if today < waiver.issued
        else f"until {waiver.expires}"
    )
    return f"{waiver.subject}, {when}: {waiver.reason} ({waiver.ticket}, approved by {waiver.approver})"


# --- on the screen


def list_screen(catalogue: Catalogue, checked: dict[str, int]) -> RenderableType:
    """All fifty, and of how many clauses of each there is a check."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for requirement in catalogue:
        number, of = checked[requirement.id], len(requirement.clauses)
        said = f"{number} of {of} clauses checked" if number else "no check yet"
        table.add_row(requirement.id, requirement.title, Text(said, "green" if number == of else "bright_black"))
    return Group(
        table, Text("\nverify explain 1.1 tells what one means; 1.1/write-gap one clause of it.", "bright_black")
    )


def explain_screen(found: Explained, now: datetime) -> RenderableType:
    """The screen as Rich draws it. Text from the cluster is neither markup nor control characters in it."""
    return Group(*(_whole(found, now) if found.whole else _one(found, now)))


def _head(found: Explained) -> Iterator[RenderableType]:
    target = f" · limits of {found.target}" if found.target else ""
    yield Text.assemble((f"{found.requirement} {found.title}", "bold"), (f"  {found.severity}{target}", "bright_black"))
    yield Text(found.statement)


def _whole(found: Explained, now: datetime) -> Iterator[RenderableType]:
    """A requirement: a few lines a clause, then what belongs to all of them."""
    yield from _head(found)
    for clause in found.clauses:
        yield _title(clause)
        for line in _brief(clause, now):
            yield Padding(line, (0, 0, 0, 4))
    yield Text("\nTo mend it", "bold")
    yield Padding(Text(found.remediation), (0, 0, 0, 2))
    yield from _soc2(found)
    first = next((clause.clause for clause in found.clauses if clause.check is not None), found.clauses[0].clause)
    yield Text(f"\nverify explain {found.requirement}/{first} tells all of one clause.", "bright_black")


def _title(clause: ClauseExplained) -> RenderableType:
    checked = clause.kind if clause.check is not None else f"{clause.kind}, no check yet"
    return Text.assemble("\n  ", (clause.clause, "bold"), (f"  {checked}", "bright_black"))


def _brief(clause: ClauseExplained, now: datetime) -> Iterator[RenderableType]:
    yield Text(clause.statement)
    yield from _limit_lines(clause)
    if clause.not_applicable:
        yield Text(f"does not apply to this target: {clause.not_applicable}", "bright_black")
    for waiver in clause.waivers:
        yield Text(f"~ waiver for {waiver}", "cyan")
    if clause.last:
        yield _result(clause.last[0], now)


def _one(found: Explained, now: datetime) -> Iterator[RenderableType]:
    """All of one clause."""
    yield from _head(found)
    for clause in found.clauses:
        yield _title(clause)
        yield Padding(Text(clause.statement), (0, 0, 0, 2))
        for title, lines in (
            ("Limits", tuple(_limit_lines(clause))),
            ("How it is checked", tuple(_how_lines(clause.check))),
            ("What it needs", tuple(_need_lines(clause.check))),
            ("The fault", tuple(_fault_lines(clause.check))),
            ("Last seen", tuple(_result(result, now) for result in clause.last) or (_never(),)),
            ("Waivers", tuple(Text(waiver, "cyan") for waiver in clause.waivers)),
            ("To mend it", (Text(clause.remedy),)),
        ):
            if lines:
                yield Text(f"\n{title}", "bold")
                yield from (Padding(line, (0, 0, 0, 2)) for line in lines)
        if clause.not_applicable:
            yield Text(f"\nDoes not apply to this target: {clause.not_applicable}")
    yield from _soc2(found)


def _limit_lines(clause: ClauseExplained) -> Iterator[RenderableType]:
    for limit in clause.limits:
        other = (
            f"; {limit.catalogue} in the catalogue{', loosened' if limit.loosened else ''}" if limit.catalogue else ""
        )
        yield Text(f"{limit.text}{other}", "yellow" if limit.loosened else "")


def _how_lines(check: HowChecked | None) -> Iterator[RenderableType]:
    if check is None:
        yield Text("no check reaches it yet; CONTRIBUTING.md tells how one is added")
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_row("test", Text(f"{check.test}\n{check.promise}"))
    table.add_row("rule", Text(f"{check.rule}\n{check.rule_says}"))
    for fact, says in check.facts.items():
        table.add_row("sees", Text(f"{fact}\n{says}".strip()))
    yield table


def _need_lines(check: HowChecked | None) -> Iterator[RenderableType]:
    if check is None:
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    for identity, verbs in check.needs.items():
        table.add_row(identity, Text(_by_verb(verbs) or "a token"))
    if check.settings:
        table.add_row("target", Text(", ".join(check.settings)))
    if table.rows:
        yield table


def _by_verb(verbs: Iterable[str]) -> str:
    """``list nodes, pods; create namespaces``."""
    found: dict[str, list[str]] = {}
    for text in verbs:
        verb, _, what = text.partition(" ")
        found.setdefault(verb, []).append(what)
    return "; ".join(f"{verb} {', '.join(whats)}" for verb, whats in found.items())


def _fault_lines(check: HowChecked | None) -> Iterator[RenderableType]:
    if check is not None and check.fault:
        yield Text(f"{check.fault} {check.fault_does}")
        yield Text(check.fault_bounds, "bright_black")


def _result(result: LastResult, now: datetime) -> RenderableType:
    mark, colour, word = MARKS[result.verdict]
    why = f" ({result.why})" if result.why else ""
    where = f" in {result.target}" if result.target else ""
    seen = f"{word}{why} {_ago(now, result.at)} ago{where}, run {result.run}"
    return Text.assemble((f"{mark} {visible(seen)}", colour), f"  {visible(result.finding)}")


def _never() -> RenderableType:
    return Text("no run kept here judged it", "bright_black")


def _ago(now: datetime, then: datetime) -> str:
    return duration(max(now - then, now - now))


def _soc2(found: Explained) -> Iterator[RenderableType]:
    yield Text("\nSOC 2", "bold")
    for criterion, how in found.criteria.items():
        yield Padding(Text(f"{criterion} {how}"), (0, 0, 0, 2))
    people = f"Left to people: {found.people}" if found.criteria else f"None, operational: {found.people}"
    yield Padding(Text(people, "bright_black"), (0, 0, 0, 2))
