"""Kubernetes quantities: ``250m``, ``1.5Gi``, ``2e3``.

Source: k8s.io/apimachinery/pkg/api/resource, type Quantity.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

_DECIMAL: Final = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
}
_BINARY: Final = {f"{letter}i": Fraction(2 ** (10 * power)) for power, letter in enumerate("KMGTPE", start=1)}
_MULTIPLIERS: Final = _DECIMAL | _BINARY
# An exponent is told from the suffix E (exa) by the digits that follow it. Three digits are more than any quantity
# needs, and keep a hostile one (1e999999999) from taking the machine's memory.
_FORM: Final = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:[eE]([+-]?[0-9]{1,3})|([numkMGTPE]|[KMGTPE]i)?)")


@lru_cache(maxsize=4096)
def parse_quantity(text: str) -> Fraction:
    """The exact number of cores, bytes or pieces. Raises ValueError for what is not a quantity."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a Kubernetes quantity; expected a number with a suffix, such as 250m or 1Gi")
    number, exponent, suffix = match.groups()
    if exponent is not None:
        return Fraction(number) * Fraction(10) ** int(exponent)
    return Fraction(number) * _MULTIPLIERS[suffix or ""]
