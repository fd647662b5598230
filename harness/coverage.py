"""What a run would cover, told before it starts: each chosen clause, what it needs, what is refused or would break."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fixtures.kubernetes import Api
from fixtures.nodes import look_at_nodes
from fixtures.unobservable import Unobservable
from harness.checks import Source
from harness.dry_run import rehearse
from harness.needs import IDENTITIES, Asked, Clause, Identity, Need, asked, needs
from harness.preflight import Preflight, look
from harness.run import not_permitted
from harness.selection import Choice
from policies.catalogue import KINDS, Catalogue, Kind
from policies.facts.base import Cause, Unseen
from reports.markup import visible
from reports.overview import EXIT_NOT_EVALUATED, EXIT_PASSED
from targets.model import Target

RBAC: Final = "verify rbac"
MOST_CLAUSES: Final = 4
"""Of one refusal; the rest is counted on the screen, and all stand in the JSON."""

Outlook = Literal["can be evaluated", "cannot be evaluated", "does not apply", "waits for a person", "no check yet"]


class ClauseCovered(Struct, frozen=True, kw_only=True):
    """One clause of what was chosen."""

    requirement: str
    clause: str
    kind: Kind
    outlook: Outlook
    cause: Cause | None = None
    why: str = ""
    remedy: str = ""
    identities: tuple[Identity, ...] = ()
    nodes: bool = False
    """Whether nodes are visited over SSH for it."""


class NeedCovered(Struct, frozen=True, kw_only=True):
    """One permission. ``allowed`` is None where that is not known."""

    identity: Identity
    access: str
    uses: tuple[str, ...]
    clauses: tuple[Clause, ...]
    allowed: bool | None


class Disruption(Struct, frozen=True, kw_only=True):
    """What one system would suffer now, in sentences; ``why_not`` where it would not."""

    system: str
    sentences: tuple[str, ...]
    why_not: str = ""


class Coverage(Struct, frozen=True, kw_only=True):
    """What `verify preflight` says. ``unreachable`` is why nothing could be asked; empty where all could."""

    target: str
    context: str
    kubernetes: str
    profile: str
    exit_code: int
    unreachable: str = ""
    still_broken: str = ""
    left_over: tuple[str, ...] = ()
    emulated: tuple[str, ...] = ()
    clauses: tuple[ClauseCovered, ...] = ()
    without_check: tuple[str, ...] = ()
    """The chosen requirements that no check reaches at all."""
    needs: tuple[NeedCovered, ...] = ()
    disruptions: tuple[Disruption, ...] = ()


def chosen(code: Source, catalogue: Catalogue, choice: Choice) -> tuple[Asked, ...]:
    """The checks of the suites that a choice takes, in the order of a run."""
    found = {name: asked(check, catalogue.clause(*name).kind) for name, check in code.checks.items()}
    disrupted = choice.disrupted((check.requirement, check.kind) for check in found.values())
    order = [(requirement.id, clause.slug) for requirement in catalogue for clause in requirement.clauses]
    taken = [found[name] for name in order if name in found and choice.takes(name[0], found[name].kind, disrupted)]
    return tuple(sorted(taken, key=lambda check: KINDS.index(check.kind)))


def coverage(
    target: Target,
    operator: Api,
    *,
    code: Source,
    catalogue: Catalogue,
    choice: Choice,
    disrupt: bool,
    restore: str,
    say: Callable[[str], None],
) -> Coverage:
    """Ask the deployment everything that a run asks before it starts; nothing is written, made or broken.

    ``disrupt`` is whether --disrupt was typed out, ``restore`` the command that undoes what a run left.
    """
    checks = chosen(code, catalogue, choice)
    applying = [check for check in checks if _by_target(target, check) is None]
    found = look(target, operator, applying, restore=restore, say=lambda _: None)
    disruptions, unsafe = _rehearsed(target, found, applying, code, disrupt=disrupt, restore=restore, say=say)
    wanted = needs(applying, target)
    stopped = _stopped(target, found, applying, code, unsafe)
    clauses = [
        *(_covered(check, target, code, stopped.get(check.name)) for check in checks),
        *_without_check(code, catalogue, choice),
    ]
    order = [(requirement.id, clause.slug) for requirement in catalogue for clause in requirement.clauses]
    clauses.sort(key=lambda each: order.index((each.requirement, each.clause)))
    reached = {requirement for requirement, _ in code.checks}
    counted = [c for c in clauses if c.requirement in (choice.requirements or reached)]
    seen = all(c.outlook in {"can be evaluated", "does not apply"} for c in counted)
    asked_for = found.blind is None and not found.unknown
    return Coverage(
        target=target.name,
        context=target.cluster.context,
        kubernetes=found.version,
        profile=choice.profile,
        exit_code=EXIT_PASSED if seen and counted else EXIT_NOT_EVALUATED,
        unreachable=str(Unobservable(found.blind)) if found.blind is not None else found.unknown,
        still_broken=found.still_broken,
        left_over=found.left_over,
        emulated=tuple(f"{each.component} by {each.by}" for each in target.emulated),
        clauses=tuple(clauses),
        without_check=tuple(dict.fromkeys(c.requirement for c in clauses if c.requirement not in reached)),
        needs=tuple(
            NeedCovered(
                identity=need.identity,
                access=str(need.access),
                uses=need.uses,
                clauses=need.clauses,
                allowed=need not in found.refused if asked_for else None,
            )
            for need in wanted
        ),
        disruptions=disruptions,
    )


def _covered(check: Asked, target: Target, code: Source, stopped: Unseen | None) -> ClauseCovered:
    said = _by_target(target, check)
    outlook: Outlook = said[0] if said is not None else "cannot be evaluated" if stopped else "can be evaluated"
    mine = {need.identity for need in needs([check], target) if need.for_the_check}
    return ClauseCovered(
        requirement=check.requirement,
        clause=check.clause,
        kind=check.kind,
        outlook=outlook,
        cause=stopped.cause if stopped is not None else None,
        why=said[1] if said is not None else f"{stopped.what}: {stopped.detail}" if stopped is not None else "",
        remedy=stopped.remedy if stopped is not None else "",
        identities=tuple(each for each in IDENTITIES if each in mine),
        nodes=look_at_nodes.__name__ in code.names(check.fixtures),
    )


def _by_target(target: Target, check: Asked) -> tuple[Outlook, str] | None:
    """What the target itself says of a clause, so that no check is run; None where it says nothing."""
    if (reason := target.not_applicable_reason(*check.name)) is not None:
        return "does not apply", reason
    if (look_at := target.for_a_person(*check.name)) is not None:
        return "waits for a person", look_at
    return None


def _without_check(code: Source, catalogue: Catalogue, choice: Choice) -> Iterator[ClauseCovered]:
    for requirement in catalogue:
        for clause in requirement.clauses:
            name = (requirement.id, clause.slug)
            if name not in code.checks and choice.takes(requirement.id, clause.kind, frozenset()):
                yield ClauseCovered(
                    requirement=requirement.id,
                    clause=clause.slug,
                    kind=clause.kind,
                    outlook="no check yet",
                    cause=Cause.NO_CHECK,
                    why="no check reaches it yet",
                )


def _stopped(
    target: Target, found: Preflight, checks: Sequence[Asked], code: Source, unsafe: Mapping[str, Unseen]
) -> dict[Clause, Unseen]:
    """Why clauses will have no verdict; the first reason of each."""
    stopped: dict[Clause, Unseen] = {}
    for check in checks:
        if found.still_broken:
            stopped[check.name] = Unseen(Cause.UNSAFE, "the undo journal", found.still_broken)
        elif found.blind is not None:
            stopped[check.name] = found.blind
        elif missing := _missing(target, code.settings(check.fixtures)):
            detail = f"the target has no section `{missing}`"
            stopped[check.name] = Unseen(Cause.ABSENT, missing, detail, f"add `{missing}` to the target")
        elif check.kind == "disrupt" and (system := code.checks[check.name].disrupts) in unsafe:
            stopped[check.name] = unsafe[system]
    for need in found.refused:
        detail = f"{need.identity} may not {need.access}"
        unseen = Unseen(Cause.FORBIDDEN, ", ".join(need.uses), detail, f"grant it: `{RBAC}` writes what is needed")
        for name in need.clauses:
            stopped.setdefault(name, unseen)
    return stopped


def _missing(target: Target, settings: Sequence[str]) -> str:
    """The first section of the target that is read and not there."""
    tops = dict.fromkeys(setting.partition(".")[0] for setting in settings)
    return next((top for top in tops if getattr(target, top, "") is None), "")


def _rehearsed(
    target: Target,
    found: Preflight,
    checks: Sequence[Asked],
    code: Source,
    *,
    disrupt: bool,
    restore: str,
    say: Callable[[str], None],
) -> tuple[tuple[Disruption, ...], dict[str, Unseen]]:
    """What would be broken now, system by system, and why some of it would not be."""
    systems = dict.fromkeys(code.checks[check.name].disrupts for check in checks if check.kind == "disrupt")
    told: list[Disruption] = []
    unsafe: dict[str, Unseen] = {}
    for system in systems:
        sentences: list[str] = []
        why_not = not_permitted(target, disrupt)
        if why_not is None and found.disruptor is not None and not found.still_broken and found.blind is None:
            say(f"what would be done to {system}: looking")
            try:
                why_not = rehearse(system, target, found.disruptor, restore=restore, say=sentences.append, progress=say)
            except Unobservable as error:
                why_not = error.unseen
        if why_not is not None:
            unsafe[system] = why_not
        why = str(Unobservable(why_not)) if why_not is not None else ""
        told.append(Disruption(system=system, sentences=tuple(sentences), why_not=why))
    return tuple(told), unsafe


# --- the screen


def coverage_screen(found: Coverage, catalogue: Catalogue) -> RenderableType:
    """One screen: by requirement what can be evaluated, then what is refused, what would break, what is in the way."""
    return Group(*_parts(found, catalogue))


def _parts(found: Coverage, catalogue: Catalogue) -> Iterator[RenderableType]:
    checked = [clause for clause in found.clauses if clause.requirement not in found.without_check]
    able = sum(clause.outlook == "can be evaluated" for clause in checked)
    colour = "green" if found.exit_code == EXIT_PASSED else "yellow"
    about = [found.target, f"context {found.context}"]
    about += [f"Kubernetes {found.kubernetes}"] if found.kubernetes else []
    about += [f"profile {found.profile}"] if found.profile else []
    yield Text.assemble(
        (f"{able} of {len(checked)} clauses can be evaluated", f"bold {colour}"), f"  {' · '.join(about)}"
    )
    if found.unreachable:
        yield Text.assemble(("\nCould not be asked ", "bold red"), visible(found.unreachable))
    if found.still_broken:
        yield Text.assemble(("\nStill broken ", "bold red"), visible(found.still_broken))
    yield Text()
    yield Padding(_by_requirement(checked, catalogue), (0, 0, 0, 2))
    if found.without_check:
        yield Text(
            f"\n{len(found.without_check)} more requirements chosen have no check yet: {_brief(found.without_check)}"
        )
    yield from _refusals(found)
    yield from _who_needs_what(found)
    for disruption in found.disruptions:
        yield Text.assemble(("\nWould be disrupted ", "bold"), disruption.system)
        for sentence in disruption.sentences:
            yield Padding(Text(visible(sentence)), (0, 0, 0, 2))
        if disruption.why_not:
            yield Padding(Text(f"would not be injected now: {visible(disruption.why_not)}", "yellow"), (0, 0, 0, 2))
    if found.left_over:
        yield Text.assemble(("\nLeft over from another run ", "bold yellow"), visible(", ".join(found.left_over)))
    if not (found.still_broken or found.unreachable):
        yield Text("\nNo fault is in force.", "bright_black")


def _by_requirement(clauses: Sequence[ClauseCovered], catalogue: Catalogue) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for requirement in dict.fromkeys(clause.requirement for clause in clauses):
        mine = [clause for clause in clauses if clause.requirement == requirement]
        kinds = {kind: sum(clause.kind == kind for clause in mine) for kind in KINDS}
        able = sum(clause.outlook == "can be evaluated" for clause in mine)
        whole = able == sum(clause.outlook != "does not apply" for clause in mine)
        who = [each for each in IDENTITIES if any(each in clause.identities for clause in mine)]
        who_text = ", ".join([*who, *(["SSH"] if any(clause.nodes for clause in mine) else [])])
        table.add_row(
            Text(f"{'✓' if whole else '?'} {requirement}", "green" if whole else "yellow"),
            Text(catalogue.requirement(requirement).title),
            Text(", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)),
            Text(f"{able} of {len(mine)}", "green" if whole else "yellow"),
            Text(who_text, "bright_black"),
        )
    return table


def _refusals(found: Coverage) -> Iterator[RenderableType]:
    stopped = [clause for clause in found.clauses if clause.outlook == "cannot be evaluated"]
    if not stopped:
        return
    yield Text("\nWill not be evaluated, and why", "bold")
    for why in dict.fromkeys((clause.why, clause.remedy) for clause in stopped):
        names = [f"{c.requirement} {c.clause}" for c in stopped if (c.why, c.remedy) == why]
        yield Padding(Text(f"? {_brief(names)}", "yellow"), (0, 0, 0, 2))
        yield Padding(Text(visible(why[0])), (0, 0, 0, 4))
        if why[1]:
            yield Padding(Text(f"→ {visible(why[1])}", "cyan"), (0, 0, 0, 4))


def _who_needs_what(found: Coverage) -> Iterator[RenderableType]:
    for identity in IDENTITIES:
        mine = [need for need in found.needs if need.identity == identity]
        if not mine:
            continue
        refused = [need for need in mine if need.allowed is False]
        said = "all granted" if not refused else f"{len(refused)} refused: {', '.join(n.access for n in refused)}"
        said = "not known" if any(need.allowed is None for need in mine) else said
        verbs: dict[str, list[str]] = {}
        for need in mine:
            verb, _, what = need.access.partition(" ")
            verbs.setdefault(verb, []).append(what)
        counted = ", ".join(f"{verb} {len(whats)}" for verb, whats in verbs.items())
        text = Text.assemble((f"{identity}: ", "bold"), f"{len(mine)} permissions ({counted}), ", visible(said))
        yield Text() if identity == "operator" else Text("", end="")
        yield Padding(text, (0, 0, 0, 0))


def _brief(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_CLAUSES} more" if len(names) > MOST_CLAUSES else ""
    return ", ".join(names[:MOST_CLAUSES]) + more


def least(code: Source, catalogue: Catalogue, choice: Choice, target: Target) -> tuple[Need, ...]:
    """What the chosen checks need of the API, for `verify rbac`."""
    applying = [check for check in chosen(code, catalogue, choice) if _by_target(target, check) is None]
    return needs(applying, target)
