"""The catalogue: ten groups, fifty requirements, each split into clauses that can be seen to hold or not.

One file a group, `policies/requirements/rNN_*.yaml`. A limit belongs to the clause under which it stands; another
clause borrows it by name (`uses: [api_write_gap]`, or `uses: [8.1/p95]` from another requirement), so that each number
stands in one place only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from policies.documents import Document, DocumentError, KeyPath, Problem, Strict, did_you_mean, mistake, read
from policies.limits import Deviation, Direction, Limit, Limits

REQUIREMENTS: Final = Path(__file__).parent / "requirements"

Kind: TypeAlias = Literal["inspect", "probe", "load", "disrupt"]
KINDS: Final[tuple[Kind, ...]] = ("inspect", "probe", "load", "disrupt")
Severity: TypeAlias = Literal["critical", "high", "medium", "low"]
Slug: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")]
LimitName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
RequirementId: TypeAlias = Annotated[str, Field(pattern=r"^([1-9]|10)\.[1-9][0-9]?$")]
Sentence: TypeAlias = Annotated[str, Field(min_length=3, pattern=r"\S")]

# {requirement id: {limit name: value}}, as a target states it.
Overrides: TypeAlias = Mapping[str, Mapping[str, float]]


class LimitSpec(Strict):
    """A limit as the catalogue states it."""

    value: float = Field(ge=0, description="The default; a target may tighten it, loosening it is reported.")
    unit: Annotated[str, Field(min_length=1, description="s, ms, %, days, nodes ... A bare number is not a limit.")]
    direction: Direction = Field(description="On which side of the value an observation has to lie.")
    why: Sentence = Field(description="One line: why this number.")


class Clause(Strict):
    """One thing that can be seen to hold or not; a requirement is met when all its clauses are."""

    slug: Slug
    statement: Sentence = Field(description="What holds, in plain English.")
    kind: Kind = Field(description="inspect only reads; probe sends harmless traffic; load drives; disrupt breaks.")
    limits: dict[LimitName, LimitSpec] = Field(default={}, description="Limits that belong to this clause.")
    uses: tuple[Annotated[str, Field(pattern=r"^([0-9.]+/)?[a-z][a-z0-9_]*$")], ...] = Field(
        default=(), description="Limits borrowed from another clause: name, or requirement/name."
    )
    remedy: Sentence | None = Field(default=None, description="What to do when just this clause is broken.")


class Requirement(Strict):
    """One of the fifty."""

    id: RequirementId
    title: Sentence
    statement: Sentence
    severity: Severity
    clauses: Annotated[tuple[Clause, ...], Field(min_length=1)]
    remediation: Sentence = Field(description="What an operator does when it is broken.")

    @property
    def group(self) -> int:
        """The number of its group, 1 to 10."""
        return int(self.id.split(".")[0])

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds its clauses need, in the order of a run."""
        return tuple(kind for kind in KINDS if any(clause.kind == kind for clause in self.clauses))

    @cached_property
    def own_limits(self) -> Mapping[str, LimitSpec]:
        """Every limit that stands under one of its clauses, by name."""
        return {name: spec for clause in self.clauses for name, spec in clause.limits.items()}

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        slugs: set[str] = set()
        limits: set[str] = set()
        for index, clause in enumerate(self.clauses):
            if clause.slug in slugs:
                raise mistake(("clauses", index, "slug"), f'duplicate slug "{clause.slug}" in requirement {self.id}.')
            slugs.add(clause.slug)
            for name in clause.limits:
                if name in limits:
                    raise mistake(
                        ("clauses", index, "limits", name),
                        f"requirement {self.id} states this limit twice; state it once and borrow it with `uses`.",
                    )
                limits.add(name)
        return self


class Group(Strict):
    """One file of the catalogue: a group of requirements."""

    group: int = Field(ge=1, le=10)
    title: Sentence
    requirements: Annotated[tuple[Requirement, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _ids_belong_here(self) -> Self:
        seen: set[str] = set()
        for index, requirement in enumerate(self.requirements):
            at: KeyPath = ("requirements", index, "id")
            if requirement.group != self.group:
                raise mistake(at, f"requirement {requirement.id} stands in the file of group {self.group}.")
            if requirement.id in seen:
                raise mistake(at, f"duplicate id {requirement.id}.")
            seen.add(requirement.id)
        return self


class UnknownNameError(LookupError):
    """A requirement, clause or limit that the catalogue does not have; `str()` is a sentence for the user."""


@dataclass(frozen=True)
class Catalogue:
    """All groups in order. Iterating yields the requirements in order."""

    groups: tuple[Group, ...]

    def __iter__(self) -> Iterator[Requirement]:
        return (requirement for group in self.groups for requirement in group.requirements)

    def __len__(self) -> int:
        return sum(len(group.requirements) for group in self.groups)

    @cached_property
    def _by_id(self) -> Mapping[str, Requirement]:
        return {requirement.id: requirement for requirement in self}

    def requirement(self, requirement_id: str) -> Requirement:
        """The requirement with this id ("1.1"). Raises `UnknownNameError`."""
        if requirement_id not in self._by_id:
            hint = did_you_mean(requirement_id, self._by_id) or " They run from 1.1 to 10.5."
            raise UnknownNameError(f'there is no requirement "{requirement_id}".{hint}')
        return self._by_id[requirement_id]

    def clause(self, requirement_id: str, slug: str) -> Clause:
        """The clause of a requirement. Raises `UnknownNameError`."""
        requirement = self.requirement(requirement_id)
        for clause in requirement.clauses:
            if clause.slug == slug:
                return clause
        hint = did_you_mean(slug, (clause.slug for clause in requirement.clauses))
        raise UnknownNameError(f'requirement {requirement_id} has no clause "{slug}".{hint}')

    def limits(self, requirement_id: str, slug: str, overrides: Overrides | None = None) -> Limits:
        """The limits of a clause as they are in force: its own and the ones it borrows, with the target's values.

        A borrowed limit keeps the name it has where it stands (`8.1/p95` is `p95` here). Raises `UnknownNameError`.
        """
        clause = self.clause(requirement_id, slug)
        named = [(requirement_id, name) for name in clause.limits]
        named += [_owner(requirement_id, reference) for reference in clause.uses]
        return Limits(self._limit(owner, name, overrides) for owner, name in named)

    def _limit(self, requirement_id: str, name: str, overrides: Overrides | None = None) -> Limit:
        known = self.requirement(requirement_id).own_limits
        if name not in known:
            hint = did_you_mean(name, known)
            raise UnknownNameError(f'requirement {requirement_id} has no limit "{name}".{hint}')
        value = (overrides or {}).get(requirement_id, {}).get(name, known[name].value)
        return Limit(name, value, known[name].unit, known[name].direction)

    def deviations(self, overrides: Overrides) -> tuple[Deviation, ...]:
        """The limits a target loosened. Raises `UnknownNameError` for one that is not in the catalogue."""
        found = []
        for requirement_id, values in overrides.items():
            for name in values:
                ours, theirs = self._limit(requirement_id, name), self._limit(requirement_id, name, overrides)
                if theirs.looser_than(ours):
                    found.append(Deviation(requirement_id, ours, theirs))
        return tuple(found)

    def remedy(self, requirement_id: str, slug: str) -> str:
        """What to do when the clause is broken: its own remedy or the requirement's. Raises `UnknownNameError`."""
        return self.clause(requirement_id, slug).remedy or self.requirement(requirement_id).remediation

    def unknown_names(
        self, limits: Overrides, clauses: Iterable[tuple[str, str | None]] = ()
    ) -> Iterator[tuple[str, str, str]]:
        """What a target or waiver names and the catalogue does not have, as (requirement id, name, sentence)."""
        for requirement_id, values in limits.items():
            for name in values:
                try:
                    self._limit(requirement_id, name)
                except UnknownNameError as error:
                    yield requirement_id, name, str(error)
        for requirement_id, slug in clauses:
            try:
                _ = self.requirement(requirement_id) if slug is None else self.clause(requirement_id, slug)
            except UnknownNameError as error:
                yield requirement_id, slug or "", str(error)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the catalogue's meaning: equal for equal data, whatever the layout of the files."""
        data = [group.model_dump(mode="json") for group in self.groups]
        canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()


def _owner(requirement_id: str, reference: str) -> tuple[str, str]:
    owner, slash, name = reference.rpartition("/")
    return (owner, name) if slash else (requirement_id, name)


def load_catalogue(folder: Path = REQUIREMENTS) -> Catalogue:
    """Every `r*.yaml` of the folder. Raises `DocumentError` with the mistakes of all files together."""
    problems: list[Problem] = []
    loaded: list[tuple[Document, Group]] = []
    files = sorted(folder.glob("r*.yaml")) if folder.is_dir() else []
    if not files:
        raise DocumentError([Problem(str(folder), None, "", "there is no file r*.yaml here; this is no catalogue.")])
    for file in files:
        try:
            document = read(file)
            loaded.append((document, document.parse(Group)))
        except DocumentError as error:
            problems += error.problems
    seen: dict[int, str] = {}
    for document, group in loaded:
        if group.group in seen:
            problems.append(document.problem(("group",), f"{seen[group.group]} is group {group.group} already."))
        seen.setdefault(group.group, document.file)
    if problems:
        raise DocumentError(problems)
    catalogue = Catalogue(tuple(sorted((group for _, group in loaded), key=lambda group: group.group)))
    problems += [problem for document, group in loaded for problem in _dangling(catalogue, document, group)]
    if problems:
        raise DocumentError(problems)
    return catalogue


def _dangling(catalogue: Catalogue, document: Document, group: Group) -> Iterator[Problem]:
    for r, requirement in enumerate(group.requirements):
        for c, clause in enumerate(requirement.clauses):
            for u, reference in enumerate(clause.uses):
                for _, _, sentence in catalogue.unknown_names({(o := _owner(requirement.id, reference))[0]: {o[1]: 0}}):
                    yield document.problem(("requirements", r, "clauses", c, "uses", u), sentence)
