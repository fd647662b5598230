"""Limits: which side of one an observation has to lie on, and how they read."""

from __future__ import annotations

import re

import pytest

from policies.limits import Deviation, Direction, Limit, Limits

AT_MOST = Limit("api_write_gap", 30, "s", "at_most")
AT_LEAST = Limit("control_plane_nodes", 3, "nodes", "at_least")
EXACTLY = Limit("lost_writes", 0.5, "% of all", "exactly")


@pytest.mark.parametrize(
    ("limit", "observed", "allowed"),
    [
        (AT_MOST, 29.9, True),
        (AT_MOST, 30, True),
        (AT_MOST, 30.1, False),
        (AT_LEAST, 2, False),
        (AT_LEAST, 3, True),
        (AT_LEAST, 4, True),
        (EXACTLY, 0.4, False),
        (EXACTLY, 0.5, True),
        (EXACTLY, 0.6, False),
    ],
)
def test_the_limit_itself_is_allowed(limit: Limit, observed: float, allowed: bool) -> None:
    """And what lies on its good side."""
    assert limit.allows(observed) is allowed


@pytest.mark.parametrize(
    ("direction", "value", "looser"),
    [
        ("at_most", 31, True),
        ("at_most", 30, False),
        ("at_most", 29, False),
        ("at_least", 29, True),
        ("at_least", 30, False),
        ("at_least", 31, False),
        ("exactly", 30, False),
        ("exactly", 31, True),
    ],
)
def test_looser_is_what_allows_more(direction: Direction, value: float, looser: bool) -> None:
    """A target may tighten a limit without a word; to loosen it is a deviation."""
    assert Limit("x", value, "s", direction).looser_than(Limit("x", 30, "s", direction)) is looser


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (AT_MOST, "at most 30 s (api_write_gap)"),
        (AT_LEAST, "at least 3 nodes (control_plane_nodes)"),
        (EXACTLY, "exactly 0.5 % of all (lost_writes)"),
        (Limit("x", 123456789012, "bytes", "at_most"), "at most 123456789012 bytes (x)"),
    ],
)
def test_a_limit_reads_back_as_it_was_written(limit: Limit, text: str) -> None:
    """Evidence keeps the text alone."""
    assert limit.text() == text
    assert Limit.read(text) == limit


@pytest.mark.parametrize("text", ["", "at most s (x)", "about 30 s (x)", "at most 30 s", "at most 30 s (x) and more"])
def test_what_is_no_limit_is_refused_by_its_own_text(text: str) -> None:
    """Whoever edits evidence is told where."""
    with pytest.raises(ValueError, match=f"^{re.escape(repr(text))} is no limit$"):
        Limit.read(text)


def test_a_limit_that_the_clause_does_not_have_is_named_with_those_it_has() -> None:
    """A fault in the rule, said so that it is mended in the catalogue."""
    with pytest.raises(KeyError) as absent:
        Limits([AT_MOST, AT_LEAST])["gap"]
    assert absent.value.args == (
        "the clause has no limit 'gap' (it has: api_write_gap, control_plane_nodes); add it to the catalogue",
    )
    with pytest.raises(KeyError) as none_at_all:
        Limits()["gap"]
    assert none_at_all.value.args == ("the clause has no limit 'gap' (it has: none); add it to the catalogue",)


def test_limits_are_a_mapping() -> None:
    """By name, in their order."""
    limits = Limits([AT_MOST, AT_LEAST])
    assert dict(limits) == {"api_write_gap": AT_MOST, "control_plane_nodes": AT_LEAST}
    assert len(limits) == 2
    assert repr(limits) == f"Limits([{AT_MOST!r}, {AT_LEAST!r}])"


def test_a_deviation_names_both() -> None:
    """What is in force, and what the catalogue says."""
    assert Deviation("1.1", AT_MOST, Limit("api_write_gap", 60, "s", "at_most")).text() == (
        "1.1: at most 60 s (api_write_gap) in this target, at most 30 s (api_write_gap) in the catalogue"
    )
