"""The seeded violations as a list: no clause without one."""

from __future__ import annotations

import re

from policies.catalogue import load_catalogue
from tests.violations.catalogue import ALL, REQUIREMENTS


def test_every_clause_is_violated_at_least_once() -> None:
    catalogue = load_catalogue()
    clauses = {(r, clause.slug) for r in REQUIREMENTS for clause in catalogue.requirement(r).clauses}
    assert {(violation.requirement, violation.clause) for violation in ALL} == clauses
    assert len(ALL) >= 30


def test_each_violation_says_what_is_wrong_and_what_is_to_be_read() -> None:
    assert len({violation.id for violation in ALL}) == len(ALL)
    for violation in ALL:
        assert violation.description.endswith("."), violation.id
        assert re.compile(violation.says)
