"""Profiles: what is demanded for a purpose, and how old the evidence of it may be. `verify gate --profile` asks one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from policies.catalogue import Catalogue, Clause, Kind, Requirement, Sentence, Severity, Slug
from policies.documents import Document, DocumentError, Problem, Strict, did_you_mean, mistake, read

PROFILES: Final = Path(__file__).parent / "profiles"
ALL: Final = "all"

Selector: TypeAlias = Annotated[str, Field(pattern=r"^(all|([1-9]|10)(\.[1-9][0-9]?)?)$")]
Selectors: TypeAlias = Annotated[tuple[Selector, ...], Field(min_length=1)]
AlsoBlocks: TypeAlias = Literal["deviations", "waivers"]


class WaiverTerms(Strict):
    """What a waiver may be here. One that is more than this counts for nothing, and is reported."""

    most_days: dict[Severity, Annotated[int, Field(ge=1, le=366)]] = Field(
        description="Days from issued to expires at most, by the requirement's severity; one left out is not waived."
    )
    patterns: tuple[Severity, ...] = Field(default=(), description="Severities where a subject may hold a *.")
    most_subjects: int = Field(ge=1, description="How many subjects one waiver may cover.")


class Profile(Strict):
    """What one gate demands."""

    profile: Slug = Field(description="Its name, which is also the file's.")
    purpose: Sentence
    requirements: Selectors = Field(description="What is looked at: all, a group (1) or a requirement (1.1).")
    must_pass: Selectors = Field(description="Those of them that block when they do not hold; the rest is reported.")
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)] = Field(
        description="Clauses of these kinds; the others are not asked for."
    )
    fresh_hours: dict[Kind, Annotated[float, Field(gt=0)]] = Field(
        description="For each kind how many hours ago the run that saw it may have started."
    )
    signed: bool = Field(description="Whether only evidence counts that is signed by a key that is trusted.")
    also_blocks: tuple[AlsoBlocks, ...] = Field(
        default=(),
        description="Limits that the target loosened, waivers that are not in order; without it they are reported.",
    )
    waivers: WaiverTerms

    @model_validator(mode="after")
    def _every_kind_ages(self) -> Self:
        for kind in self.kinds:
            if kind not in self.fresh_hours:
                raise mistake(("fresh_hours",), f"says nothing of {kind}; say how many hours its evidence counts.")
        for kind in self.fresh_hours:
            if kind not in self.kinds:
                raise mistake(("fresh_hours", kind), f"{kind} is not among the kinds of this profile.")
        return self

    def fresh_for(self, kind: Kind) -> timedelta:
        """How long evidence of a kind counts, from the start of its run. The kind is one of the profile's."""
        return timedelta(hours=self.fresh_hours[kind])

    def demands(self, catalogue: Catalogue) -> Iterator[Demand]:
        """Every clause that is looked at, in the catalogue's order."""
        for requirement in catalogue:
            if not _selects(self.requirements, requirement):
                continue
            must = _selects(self.must_pass, requirement)
            for clause in requirement.clauses:
                if clause.kind in self.kinds:
                    yield Demand(requirement, clause, must)


@dataclass(frozen=True)
class Demand:
    """One clause that a profile looks at, and whether it must hold."""

    requirement: Requirement
    clause: Clause
    must: bool

    @property
    def name(self) -> tuple[str, str]:
        """Requirement id and clause slug."""
        return self.requirement.id, self.clause.slug


def _selects(selectors: tuple[str, ...], requirement: Requirement) -> bool:
    return bool({ALL, str(requirement.group), requirement.id}.intersection(selectors))


def known_profiles(folder: Path = PROFILES) -> tuple[str, ...]:
    """The names of the profiles there are."""
    return tuple(sorted(file.stem for file in folder.glob("*.yaml")))


def load_profile(name: str, catalogue: Catalogue, folder: Path = PROFILES) -> Profile:
    """The profile of this name, checked against the catalogue. Raises `DocumentError`; it lists the known names."""
    names = known_profiles(folder)
    if name not in names:
        sentence = f'there is no profile "{name}".{did_you_mean(name, names)}'
        raise DocumentError([Problem("--profile", None, "", sentence)])
    document = read(folder / f"{name}.yaml")
    profile = document.parse(Profile)
    if problems := list(_problems(document, profile, catalogue, name)):
        raise DocumentError(problems)
    return profile


def _problems(document: Document, profile: Profile, catalogue: Catalogue, name: str) -> Iterator[Problem]:
    if profile.profile != name:
        yield document.problem(("profile",), f'stands in the file of profile "{name}"; name both alike.')
    looked_at = [requirement for requirement in catalogue if _selects(profile.requirements, requirement)]
    for key, selectors, known in (
        ("requirements", profile.requirements, tuple(catalogue)),
        ("must_pass", profile.must_pass, tuple(looked_at)),
    ):
        for index, selector in enumerate(selectors):
            if not any(_selects((selector,), requirement) for requirement in catalogue):
                sentence = f'the catalogue has no requirement or group "{selector}".'
                yield document.problem((key, index), sentence)
            # "all" of must_pass means all that is looked at; anything else has to be looked at as a whole.
            elif selector != ALL and not all(r in known for r in catalogue if _selects((selector,), r)):
                yield document.problem((key, index), f'"{selector}" is not among the requirements of this profile.')
