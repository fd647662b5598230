"""All seeded violations, one module a requirement."""

from __future__ import annotations

from typing import Final

from tests.violations import (
    violations_1_1,
    violations_1_3,
    violations_1_4,
    violations_5_2,
    violations_5_3,
    violations_5_5,
    violations_10_1,
)
from tests.violations.violation import VIOLATIONS, Violation

REQUIREMENTS: Final = ("1.1", "1.3", "1.4", "5.2", "5.3", "5.5", "10.1")
GROUPS: Final = (("1.1", "1.3", "1.4", "10.1"), ("5.1", "5.3"), ("5.2", "5.5"), ("5.4",), ("8.3",))
MODULES: Final = (
    violations_1_1,
    violations_1_3,
    violations_1_4,
    violations_5_2,
    violations_5_3,
    violations_5_5,
    violations_10_1,
)
ALL: Final[tuple[Violation, ...]] = tuple(VIOLATIONS)
UNTRIED: Final = frozenset(each.id for each in ALL if each.requirement.startswith("5."))
"""Seen red by their own fixture and rule, and not yet among all the others and healed, as a day's share is: they take
their turn by name (-k) or with --all-violations until they were."""


def together(requirement: str) -> tuple[str, ...]:
    """The requirements that are looked at together with this one, for they may see the same violation."""
    group = next(group for group in GROUPS if requirement in group)
    return tuple(each for each in group if each in REQUIREMENTS)
