"""The numbers that a run measured: what its findings say of a limit, in the limit's own unit."""

from __future__ import annotations

import re
from collections.abc import Mapping

from policies.limits import Limit
from reports.model import ClauseResult


def measured(result: ClauseResult) -> Mapping[str, tuple[float, Limit]]:
    """The value nearest to breaking each limit of a clause, by the limit's name, with the limit then in force.

    Read from the findings' own words: one that expects the limit and observed a number in its unit. A limit of which no
    finding says a number is not in it.
    """
    found: dict[str, tuple[float, Limit]] = {}
    for name, text in result.limits.items():
        limit = Limit.read(text)
        if limit.direction == "exactly":
            continue
        number = re.compile(rf"(?<![\w.])(-?\d+(?:\.\d+)?) ?{re.escape(limit.unit)}(?!\w)")
        values = [
            float(seen[1])
            for finding in result.findings
            if f"({name})" in finding.expected and (seen := number.search(finding.observed))
        ]
        if values:
            found[name] = (max(values) if limit.direction == "at_most" else min(values), limit)
    return found
