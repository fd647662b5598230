"""What must hold, as pure functions ``(facts, limits) -> findings``: one module a system.

A rule yields a finding for each subject it examined, also where all is well, and one without a verdict for each part
that could not be seen. It reads no clock and calls nothing out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVarTuple

from policies.finding import Finding
from policies.limits import Limits
from policies.rules import (
    access,
    alerts,
    control_plane,
    database_backups,
    network,
    pooler,
    postgres,
    postgres_failover,
    rbac,
    redis,
    resources,
)

__all__ = [
    "Judge",
    "access",
    "alerts",
    "control_plane",
    "database_backups",
    "network",
    "pooler",
    "postgres",
    "postgres_failover",
    "rbac",
    "redis",
    "resources",
]

Facts = TypeVarTuple("Facts")


class Judge(Protocol):
    """What a suite gets under the name ``judge``: the rule judges the facts, and the findings become a verdict."""

    def __call__(self, rule: Callable[[*Facts, Limits], Iterator[Finding]], /, *facts: *Facts) -> None:
        """Pass, fail with sentences for an operator, or stay without a verdict."""
