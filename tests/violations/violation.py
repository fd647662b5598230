"""What a seeded violation is: something really made wrong on the live lab, and mended again on every way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tests.violations.lab import Lab

Clause = tuple[str, str]
"""Requirement id and slug."""

Seed = Callable[[Lab], AbstractContextManager[None]]


@dataclass(frozen=True)
class Violation:
    """One violation of one clause."""

    requirement: str
    clause: str
    name: str
    seed: Seed
    """Makes it wrong when entered, as an operator, a broken upgrade or a thief would; mends it when left."""
    says: str
    """Regular expression that finds subject and observation in the clause's message."""
    implies: frozenset[Clause] = frozenset()
    """Other clauses that state the same of the same thing, so that no deployment can violate just one."""
    blinds: frozenset[Clause] = frozenset()
    """Other clauses about the very thing that is now missing: they cannot be judged, and must say so."""
    may_blind: frozenset[Clause] = frozenset()
    """The same, where it depends on which of the system's own timers was first."""

    @property
    def id(self) -> str:
        """``1.1-etcd-members-fourth-voter``, as pytest shows it."""
        return f"{self.requirement}-{self.clause}-{self.name}"

    @property
    def description(self) -> str:
        """What is wrong, in a sentence."""
        return (self.seed.__doc__ or "").strip()


VIOLATIONS: list[Violation] = []


def violates(
    requirement: str,
    clause: str,
    says: str,
    *,
    implies: frozenset[Clause] = frozenset(),
    blinds: frozenset[Clause] = frozenset(),
    may_blind: frozenset[Clause] = frozenset(),
) -> Callable[[Callable[[Lab], Iterator[None]]], Seed]:
    """Registers a generator function that makes something wrong, yields, and mends it in a ``finally``."""

    def register(seed: Callable[[Lab], Iterator[None]]) -> Seed:
        managed = contextmanager(seed)
        name = seed.__name__.replace("_", "-")
        VIOLATIONS.append(Violation(requirement, clause, name, managed, says, implies, blinds, may_blind))
        return managed

    return register
