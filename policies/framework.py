"""Frameworks: which criteria of an auditor's catalogue the requirements support, and how far."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from policies.catalogue import Catalogue, RequirementId, Sentence
from policies.documents import DocumentError, KeyPath, Problem, Strict, did_you_mean, mistake, read

SOC2: Final = Path(__file__).parent / "frameworks" / "soc2.yaml"

Support: TypeAlias = Literal["full", "partial", "supporting"]

# Every id there is in the Trust Services Criteria 2017, by series; published mappings name some that do not exist.
_SERIES: Final = {
    "CC1": 5, "CC2": 3, "CC3": 4, "CC4": 2, "CC5": 3, "CC6": 8, "CC7": 5, "CC8": 1, "CC9": 2,
    "A1": 3, "C1": 2, "PI1": 5, "P1": 1, "P2": 1, "P3": 2, "P4": 3, "P5": 2, "P6": 7, "P7": 1, "P8": 1,
}  # fmt: skip
TSC_2017: Final = frozenset(f"{series}.{n}" for series, last in _SERIES.items() for n in range(1, last + 1))


class Supports(Strict):
    """What one requirement contributes."""

    criteria: Annotated[dict[str, Support], Field(min_length=1)] = Field(description="How far, by criterion.")
    people: Sentence = Field(description="The part that only people can do.")


class Framework(Strict):
    """A framework's criteria and the requirements that support them."""

    framework: Sentence
    edition: Sentence
    criteria: dict[str, Sentence] = Field(description="The criteria in scope, in our own short words.")
    requirements: dict[RequirementId, Supports]
    operational: dict[RequirementId, Sentence] = Field(
        default={}, description="Requirements that support no criterion, and why."
    )

    def of(self, requirement_id: str) -> Supports | None:
        """What a requirement contributes; None where it is operational."""
        return self.requirements.get(requirement_id)

    def supporters(self, criterion: str) -> dict[str, Support]:
        """The requirements that support a criterion, and how far, by requirement id."""
        return {
            requirement_id: supports.criteria[criterion]
            for requirement_id, supports in self.requirements.items()
            if criterion in supports.criteria
        }

    @model_validator(mode="after")
    def _ids_are_real(self) -> Self:
        for criterion in self.criteria:
            if criterion not in TSC_2017:
                sentence = f'"{criterion}" is no criterion of the Trust Services Criteria 2017.'
                raise mistake(("criteria", criterion), sentence + did_you_mean(criterion, TSC_2017))
        for requirement_id, supports in self.requirements.items():
            for criterion in supports.criteria:
                if criterion not in self.criteria:
                    at: KeyPath = ("requirements", requirement_id, "criteria", criterion)
                    sentence = f'"{criterion}" is not among the criteria in scope.'
                    raise mistake(at, sentence + did_you_mean(criterion, self.criteria))
            if requirement_id in self.operational:
                sentence = "cannot support criteria and be operational as well."
                raise mistake(("operational", requirement_id), sentence)
        return self


def load_framework(catalogue: Catalogue, path: Path = SOC2) -> Framework:
    """The framework, checked against the catalogue: each requirement supports something or is operational.

    Raises `DocumentError`.
    """
    document = read(path)
    framework = document.parse(Framework)

    def problems() -> Iterator[Problem]:
        known = {requirement.id for requirement in catalogue}
        for section in ("requirements", "operational"):
            for requirement_id in document.data.get(section, {}):
                if requirement_id not in known:
                    sentence = f'there is no requirement "{requirement_id}" in the catalogue.'
                    yield document.problem((section, requirement_id), sentence)
        for requirement_id in sorted(known - framework.requirements.keys() - framework.operational.keys()):
            sentence = f'requirement "{requirement_id}" is missing; map it, or say why it is operational.'
            yield document.problem(("requirements",), sentence)

    if found := list(problems()):
        raise DocumentError(found)
    return framework
