"""Kubernetes quantities: the published examples, and properties over any number."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.facts.quantity import parse_quantity


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", Fraction(0)),
        ("250m", Fraction(1, 4)),
        ("0.1", Fraction(1, 10)),
        (".5", Fraction(1, 2)),
        ("1.", Fraction(1)),
        ("100n", Fraction(1, 10**7)),
        ("3u", Fraction(3, 10**6)),
        ("1k", Fraction(1000)),
        ("7M", Fraction(7_000_000)),
        ("1G", Fraction(10**9)),
        ("1T", Fraction(10**12)),
        ("1P", Fraction(10**15)),
        ("1E", Fraction(10**18)),
        ("1E3", Fraction(1000)),
        ("12e6", Fraction(12_000_000)),
        ("5e-1", Fraction(1, 2)),
        ("1Ki", Fraction(1024)),
        ("1Mi", Fraction(2**20)),
        ("1.5Gi", Fraction(3 * 2**29)),
        ("1Ti", Fraction(2**40)),
        ("1Pi", Fraction(2**50)),
        ("1Ei", Fraction(2**60)),
        ("+2M", Fraction(2_000_000)),
        ("-1", Fraction(-1)),
    ],
)
def test_examples(text: str, amount: Fraction) -> None:
    """Each is exact."""
    assert parse_quantity(text) == amount


@pytest.mark.parametrize(
    "text", ["", "m", "Gi", "1 Gi", "1K", "1gi", "1mi", "0x10", "1e", "1e9999", "nan", "1,5", "1Gi\n"]
)
def test_what_is_no_quantity(text: str) -> None:
    """The error names the text and shows what was expected."""
    with pytest.raises(ValueError, match="is not a Kubernetes quantity"):
        parse_quantity(text)


@given(
    st.integers(min_value=0, max_value=10**15), st.sampled_from(["", "m", "k", "Ki", "M", "Mi", "G", "Gi", "E", "Ei"])
)
def test_suffixes_multiply(number: int, suffix: str) -> None:
    """A number with a suffix is that many times one with it."""
    assert parse_quantity(f"{number}{suffix}") == number * parse_quantity(f"1{suffix}")


@given(st.text(max_size=12))
def test_any_text_is_a_quantity_or_a_value_error(text: str) -> None:
    """Never another error, whatever a cluster sends."""
    with suppress(ValueError):
        assert isinstance(parse_quantity(text), Fraction)
