"""Judging again: what a run recorded, put before the rules once more under the limits of that run."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from policies import rules
from policies.facts.base import Cause, Fact
from policies.finding import Finding
from policies.limits import Limit, Limits
from reports.canonical import compact
from reports.model import Beginning, ClauseResult, Verdict

RULES: Final = "policies.rules"
RULES_FOLDER: Final = Path(rules.__file__).parent
SHARED: Final = ("policies/facts", "policies/finding.py", "policies/limits.py")
"""What every rule rests on, as paths of the checkout."""

_IMPORTED: Final = re.compile(r"^from policies\.rules\.(\w+) import", re.MULTILINE)

Rule: TypeAlias = Callable[..., Iterable[Finding]]


class Decided(Protocol):
    """What findings come to."""

    @property
    def verdict(self) -> Verdict:
        """The verdict."""

    @property
    def cause(self) -> Cause | None:
        """Why there is none, where it is ``not_evaluated``."""


Decide: TypeAlias = Callable[[Sequence[Finding], Iterable[Fact], datetime], Decided]
"""Findings, the facts under them and the start of the run, to a verdict: the harness has the one place for it."""


def rule_named(name: str) -> Rule:
    """The rule that a result names, such as ``control_plane.write_gap``; only rules of ours. Raises LookupError."""
    module, _, function = name.partition(".")
    if module.isidentifier() and function.isidentifier() and not function.startswith("_"):
        try:
            found: Any = getattr(importlib.import_module(f"{RULES}.{module}"), function, None)
        except ImportError:
            found = None
        if inspect.isfunction(found) and found.__module__ == f"{RULES}.{module}":
            return found
    raise LookupError(f"there is no rule {name!r}")


@cache
def code_of(rule: str) -> tuple[str, ...]:
    """The files of the checkout that decide what a rule finds: its own, those of ours that it imports, the facts."""
    own = rule.partition(".")[0]
    modules = {own}
    with contextlib.suppress(OSError):
        modules.update(_IMPORTED.findall((RULES_FOLDER / f"{own}.py").read_text("utf-8")))
    return tuple(f"policies/rules/{module}.py" for module in sorted(modules)) + SHARED


def limits_in_force(result: ClauseResult, run: Beginning | None) -> Limits:
    """The limits that a clause was judged under. Raises ValueError where line and manifest do not say the same.

    ``run`` is the manifest, or the beginning of a run that was killed; where there is neither the line alone has them.
    """
    if run is None:
        return Limits(Limit.read(text) for text in result.limits.values())
    named = run.limits.get(result.requirement, {})
    for name, text in result.limits.items():
        if name not in named or named[name].text() != text:
            there = named[name].text() if name in named else "no such limit"
            raise ValueError(f"the limit is {text!r} here and {there!r} in the manifest")
    return Limits(named[name] for name in result.limits)


def difference(recorded: Sequence[Finding], again: Sequence[Finding]) -> str:
    """The first finding that is not the same byte for byte, in words; empty where all are."""
    for before, now in zip_longest(recorded, again):
        if before is None:
            return f"judged again, there is a finding more: {_words(now)}"
        if now is None:
            return f"judged again, a finding is not there: {_words(before)}"
        if compact(before) != compact(now):
            return f"recorded is: {_words(before)}; judged again it is: {_words(now)}"
    return ""


def _words(finding: Finding) -> str:
    held = {True: "holds", False: "does not hold", None: f"not seen, {finding.cause}"}[finding.ok]
    return f"{finding.subject}: {finding.observed}, {finding.expected} ({held})"
