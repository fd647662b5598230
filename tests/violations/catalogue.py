"""All seeded violations, one module a requirement."""

from __future__ import annotations

from typing import Final

from tests.violations import violations_1_1, violations_1_3, violations_1_4, violations_10_1
from tests.violations.violation import VIOLATIONS, Violation

REQUIREMENTS: Final = ("1.1", "1.3", "1.4", "10.1")
MODULES: Final = (violations_1_1, violations_1_3, violations_1_4, violations_10_1)
ALL: Final[tuple[Violation, ...]] = tuple(VIOLATIONS)
