"""Which checks a run takes, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from policies.catalogue import KINDS, Catalogue, Kind, UnknownNameError
from policies.documents import KeyPath, did_you_mean
from policies.profiles import load_profile
from targets.model import Target


class SelectionError(Exception):
    """What was asked for does not exist; the message is a sentence for the user."""


@dataclass(frozen=True)
class Choice:
    """Requirement ids and kinds to take. Empty means all."""

    requirements: frozenset[str] = frozenset()
    """As asked for by id; beside them only a profile may narrow."""
    kinds: frozenset[Kind] = frozenset()
    profile: str = ""
    """Its name; empty where none was asked for."""
    within: frozenset[str] = frozenset()
    """The requirements that the profile looks at."""

    def takes(self, requirement: str, kind: Kind, disrupted: frozenset[str]) -> bool:
        """Whether a clause is taken. A disruption takes the inspection of its requirement along: its steady state."""
        if self.requirements and requirement not in self.requirements:
            return False
        if self.within and requirement not in self.within:
            return False
        return not self.kinds or kind in self.kinds or (kind == "inspect" and requirement in disrupted)

    def disrupted(self, clauses: Iterable[tuple[str, Kind]]) -> frozenset[str]:
        """The requirements among these clauses whose disruption is taken, as far as the kinds say."""
        if self.kinds and "disrupt" not in self.kinds:
            return frozenset()
        return frozenset(requirement for requirement, kind in clauses if kind == "disrupt")


def choose(
    catalogue: Catalogue, requirements: Iterable[str], kinds: Iterable[str], profile: str | None = None
) -> Choice:
    """From the command line: each option may be repeated and may hold a list with commas.

    A profile chooses requirements and kinds; the other two narrow it. Raises SelectionError, and DocumentError for a
    profile that cannot be read.
    """
    ids = [part for text in requirements for part in text.split(",") if part]
    for requirement in ids:
        try:
            catalogue.requirement(requirement)
        except UnknownNameError as error:
            raise SelectionError(f"--requirement: {error}") from error
    known: dict[str, Kind] = {kind: kind for kind in KINDS}
    wanted = [part for text in kinds for part in text.split(",") if part]
    for kind in wanted:
        if kind not in known:
            raise SelectionError(
                f'--kind: there is no kind "{kind}"; known are {", ".join(KINDS)}.{did_you_mean(kind, KINDS)}'
            )
    if not profile:
        return Choice(frozenset(ids), frozenset(known[kind] for kind in wanted))
    demanded = load_profile(profile, catalogue)
    within = frozenset(demand.requirement.id for demand in demanded.demands(catalogue))
    if outside := [requirement for requirement in ids if requirement not in within]:
        raise SelectionError(f"--requirement: {', '.join(outside)} is not looked at by profile {profile}.")
    if outside := [kind for kind in wanted if kind not in demanded.kinds]:
        has = ", ".join(demanded.kinds)
        raise SelectionError(f"--kind: {', '.join(outside)} is not looked at by profile {profile}; it has {has}.")
    return Choice(frozenset(ids), frozenset(known[kind] for kind in wanted or demanded.kinds), profile, within)


def names(item: pytest.Item) -> tuple[str, str]:
    """Requirement id and clause slug of a test, from its marker."""
    marker = item.get_closest_marker("requirement")
    if marker is None or len(marker.args) != 2:
        raise pytest.UsageError(
            f'{item.nodeid}: a test of the suites carries @pytest.mark.requirement("1.1", "a-clause")'
        )
    return str(marker.args[0]), str(marker.args[1])


def kind(item: pytest.Item, catalogue: Catalogue) -> Kind:
    """The kind of the clause that a test judges."""
    return catalogue.clause(*names(item)).kind


def arrange(
    items: Iterable[pytest.Item], catalogue: Catalogue, choice: Choice
) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """The chosen tests in the order of a run (kind, requirement, clause), and those left out."""
    order: dict[str, tuple[int, int, int]] = {}
    kinds: dict[str, tuple[str, Kind]] = {}
    ids = [requirement.id for requirement in catalogue]
    all_items = list(items)
    for item in all_items:
        requirement, slug = names(item)
        try:
            clause = catalogue.clause(requirement, slug)
        except UnknownNameError as error:
            raise pytest.UsageError(f"{item.nodeid}: {error}") from error
        slugs = [c.slug for c in catalogue.requirement(requirement).clauses]
        order[item.nodeid] = (KINDS.index(clause.kind), ids.index(requirement), slugs.index(slug))
        kinds[item.nodeid] = (requirement, clause.kind)
    disrupted = choice.disrupted(kinds.values())
    kept = [item for item in all_items if choice.takes(*kinds[item.nodeid], disrupted)]
    left_out = [item for item in all_items if item not in kept]
    return sorted(kept, key=lambda item: order[item.nodeid]), left_out


def names_known_to(catalogue: Catalogue) -> Callable[[Target], Iterable[tuple[KeyPath, str]]]:
    """The check of a target's requirement, clause and limit names against the catalogue, for ``load_target``."""

    def check(target: Target) -> Iterable[tuple[KeyPath, str]]:
        for requirement, name, sentence in catalogue.unknown_names(target.limits):
            yield ("limits", requirement, name), sentence
        for key, entries in (("not_applicable", target.not_applicable), ("manual", target.manual)):
            for index, entry in enumerate(entries):
                for _, _, sentence in catalogue.unknown_names({}, [(entry.requirement, entry.clause)]):
                    yield (key, index), sentence

    return check
