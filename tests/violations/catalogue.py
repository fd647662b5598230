"""All seeded violations, one module a requirement."""

from __future__ import annotations

from tests.violations import violations_1_1, violations_1_3, violations_1_4, violations_10_1
from tests.violations.violation import VIOLATIONS, Violation

MODULES = (violations_1_1, violations_1_3, violations_1_4, violations_10_1)
ALL: tuple[Violation, ...] = tuple(VIOLATIONS)
