"""All seeded violations, one module a requirement."""

from __future__ import annotations

from typing import Final

from tests.violations import (
    violations_1_1,
    violations_1_3,
    violations_1_4,
    violations_5_1,
    violations_5_2,
    violations_5_3,
    violations_5_4,
    violations_5_5,
    violations_8_3,
    violations_10_1,
)
from tests.violations.violation import VIOLATIONS, Violation

REQUIREMENTS: Final = ("1.1", "1.3", "1.4", "5.1", "5.2", "5.3", "5.4", "5.5", "8.3", "10.1")
GROUPS: Final = (("1.1", "1.3", "1.4", "10.1"), ("5.1", "5.3"), ("5.2", "5.5"), ("5.4",), ("8.3",))
MODULES: Final = (
    violations_1_1,
    violations_1_3,
    violations_1_4,
    violations_5_1,
    violations_5_2,
    violations_5_3,
    violations_5_4,
    violations_5_5,
    violations_8_3,
    violations_10_1,
)
ALL: Final[tuple[Violation, ...]] = tuple(VIOLATIONS)
UNTRIED: Final = frozenset(
    {
        "5.1-instances-scaled-to-two",
        "5.1-streaming-commits-of-the-application-do-not-wait",
        "5.1-node-loss-write-gap-nodes-are-given-more-time",
        "5.2-schedule-schedule-weekly",
        "5.2-schedule-no-schedule",
        "5.2-newest-no-backup-for-two-days",
        "5.2-retention-bucket-that-tidies-itself",
        "5.3-lag-time-replica-delayed-on-purpose",
        "5.3-lag-bytes-replica-cut-from-the-primary",
        "5.3-read-only-service-read-only-selects-every-instance",
        "5.3-read-only-service-read-only-selects-nobody",
        "5.3-read-write-service-read-write-selects-replicas",
        "5.3-slots-slot-of-a-subscriber-that-is-gone",
        "5.3-slots-slot-that-was-never-used",
        "5.4-replicas-all-in-one-node",
        "5.4-replicas-no-room-for-the-second",
        "5.4-multiplexing-pooled-by-session",
        "5.4-multiplexing-more-server-connections-than-declared",
        "5.4-client-tls-tls-switched-off",
        "5.4-client-tls-one-pooler-without-tls",
        "5.5-archiving-segment-gone-between-two-backups",
    }
)
"""Seen red by their own fixture and rule, and not yet among all the others and healed, as a day's share is: they take
their turn by name (-k) or with --all-violations until they were."""


def together(requirement: str) -> tuple[str, ...]:
    """The requirements that are looked at together with this one, for they may see the same violation."""
    group = next(group for group in GROUPS if requirement in group)
    return tuple(each for each in group if each in REQUIREMENTS)
