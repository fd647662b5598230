"""Waivers: a known breach that someone accepted, for a reason, until a date.

Here they are read, and checked for what can be seen without looking at a deployment. What one is worth at a gate is
decided in `reports/waiving.py`, by the terms of the gate's profile.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from policies.catalogue import Catalogue, RequirementId, Sentence, Slug
from policies.documents import DocumentError, Strict, mistake, read

WAIVERS: Final = Path(__file__).parent / "waivers.yaml"


class Waiver(Strict):
    """One accepted breach."""

    requirement: RequirementId
    clause: Slug
    subject: Annotated[str, Field(min_length=1, pattern=r"\S")] = Field(
        description="The subject as the finding names it; * stands for any text. For a loosened limit its text: "
        "at most 45 s (api_write_gap)."
    )
    target: Annotated[str, Field(min_length=1, pattern=r"\S")] | None = Field(
        default=None, description="Only in this target; without it, in every one."
    )
    reason: Sentence
    risk: Sentence = Field(description="What can happen because of it.")
    requested_by: Sentence = Field(description="Who asked for it.")
    approver: Sentence = Field(description="Who accepted the risk: somebody else.")
    ticket: Sentence = Field(description="Where the decision and the repair are tracked.")
    issued: date
    expires: date = Field(description="The last day on which it holds.")

    @model_validator(mode="after")
    def _ends_after_it_began(self) -> Self:
        if self.expires <= self.issued:
            raise mistake(("expires",), f"expires on {self.expires}, which is not after it was issued ({self.issued}).")
        return self

    @property
    def days(self) -> int:
        """How long it holds, from the day it was issued to the last on which it holds."""
        return (self.expires - self.issued).days

    def names(self, subject: str) -> bool:
        """Whether it is about this subject, which * may stand for."""
        pattern = ".*".join(re.escape(part) for part in re.split(r"\*+", self.subject))
        return re.fullmatch(pattern, subject, re.DOTALL) is not None


class Waivers(Strict):
    """All of them."""

    waivers: tuple[Waiver, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        seen: set[tuple[str, str, str, str | None]] = set()
        for index, waiver in enumerate(self.waivers):
            key = (waiver.requirement, waiver.clause, waiver.subject, waiver.target)
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
