"""What is run against each changed rule: every case, word for word, in one test a rule, so that it is quick."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.rules.cases import Case, load_cases
from tests.rules.record import recorded, told

CASES: defaultdict[str, list[Case]] = defaultdict(list)
for each in load_cases():
    CASES[each.rule].append(each)


@pytest.mark.parametrize("rule", CASES)
def test_every_case_of_the_rule(rule: str) -> None:
    """As recorded; that what is recorded is right is for tests/rules."""
    for case in CASES[rule]:
        assert told(case) == recorded()[str(case)], case.name
