"""Waivers: a known breach that someone accepted, for a reason, until a date. Here they are only read and checked."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Final, Self

from pydantic import Field, model_validator

from policies.catalogue import Catalogue, RequirementId, Sentence, Slug
from policies.documents import DocumentError, Strict, mistake, read

WAIVERS: Final = Path(__file__).parent / "waivers.yaml"


class Waiver(Strict):
    """One accepted breach."""

    requirement: RequirementId
    clause: Slug
    subject: Sentence = Field(description="The subject as the finding names it; * stands for any text.")
    reason: Sentence
    risk: Sentence = Field(description="What can happen because of it.")
    approver: Sentence = Field(description="Who accepted the risk.")
    ticket: Sentence = Field(description="Where the decision and the repair are tracked.")
    issued: date
    expires: date = Field(description="The last day on which it holds.")

    @model_validator(mode="after")
    def _ends_after_it_began(self) -> Self:
        if self.expires <= self.issued:
            raise mistake(("expires",), f"expires on {self.expires}, which is not after it was issued ({self.issued}).")
        return self


class Waivers(Strict):
    """All of them."""

    waivers: tuple[Waiver, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        seen: set[tuple[str, str, str]] = set()
        for index, waiver in enumerate(self.waivers):
            key = (waiver.requirement, waiver.clause, waiver.subject)
            if key in seen:
                raise mistake(("waivers", index), f"this subject of {key[0]} {key[1]} is waived already.")
            seen.add(key)
        return self


def load_waivers(catalogue: Catalogue, path: Path = WAIVERS) -> Waivers:
    """The waivers, checked against the catalogue. Raises `DocumentError`."""
    document = read(path)
    waivers = document.parse(Waivers)
    problems = []
    for index, waiver in enumerate(waivers.waivers):
        for _, slug, sentence in catalogue.unknown_names({}, [(waiver.requirement, waiver.clause)]):
            key = "clause" if slug else "requirement"
            problems.append(document.problem(("waivers", index, key), sentence))
    if problems:
        raise DocumentError(problems)
    return waivers
