"""Limits: the numbers a rule compares with. They live in the catalogue; a target may tighten them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

Direction: TypeAlias = Literal["at_most", "at_least", "exactly"]

_TEXT: Final = re.compile(r"(at most|at least|exactly) (\S+) (.+) \((\w+)\)")


@dataclass(frozen=True, slots=True)
class Limit:
    """One number in force: `value` in `unit`, and on which side of it an observation has to lie."""

    name: str
    value: float
    unit: str
    direction: Direction

    def allows(self, observed: float) -> bool:
        """Whether an observation, in the limit's own unit, keeps the limit; the limit itself is allowed."""
        if self.direction == "at_most":
            return observed <= self.value
        if self.direction == "at_least":
            return observed >= self.value
        return observed == self.value

    def looser_than(self, other: Limit) -> bool:
        """Whether this limit allows something that `other` forbids."""
        return not other.allows(self.value)

    def text(self) -> str:
        """`at most 30 s (api_write_gap)`."""
        return f"{self.direction.replace('_', ' ')} {self.value:.12g} {self.unit} ({self.name})"

    @classmethod
    def read(cls, text: str) -> Limit:
        """The limit that `text` wrote, with 12 digits of its value. Raises ValueError."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no limit")
        direction, value, unit, name = found.groups()
        return cls(name, float(value), unit, cast(Direction, direction.replace(" ", "_")))


class Limits(Mapping[str, Limit]):
    """The limits of one clause by name. Asking for one that the clause does not have is a fault in the rule."""

    __slots__ = ("_limits",)

    def __init__(self, limits: Iterable[Limit] = ()) -> None:
        self._limits = {limit.name: limit for limit in limits}

    def __getitem__(self, name: str) -> Limit:
        try:
            return self._limits[name]
        except KeyError:
            known = ", ".join(self._limits) or "none"
            raise KeyError(f"the clause has no limit {name!r} (it has: {known}); add it to the catalogue") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._limits)

    def __len__(self) -> int:
        return len(self._limits)

    def __repr__(self) -> str:
        return f"Limits({list(self._limits.values())!r})"


@dataclass(frozen=True, slots=True)
class Deviation:
    """A limit that a target loosened: allowed, and reported in every run."""

    requirement: str
    catalogue: Limit
    in_force: Limit

    def text(self) -> str:
        """`1.1: at most 60 s (api_write_gap) in this target, at most 30 s (api_write_gap) in the catalogue`."""
        return f"{self.requirement}: {self.in_force.text()} in this target, {self.catalogue.text()} in the catalogue"
