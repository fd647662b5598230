"""Choosing checks by requirement and kind."""

from __future__ import annotations

import pytest

from harness.selection import SelectionError, choose
from policies.catalogue import load_catalogue

CATALOGUE = load_catalogue()


def test_lists_and_repetition_mean_the_same() -> None:
    assert choose(CATALOGUE, ["1.1,1.4"], ["inspect,probe"]) == choose(CATALOGUE, ["1.4", "1.1"], ["probe", "inspect"])


def test_a_disruption_takes_the_inspection_of_its_requirement_along() -> None:
    choice = choose(CATALOGUE, [], ["disrupt"])
    disrupted = frozenset({"1.1"})
    assert choice.takes("1.1", "disrupt", disrupted)
    assert choice.takes("1.1", "inspect", disrupted)
    assert not choice.takes("1.4", "inspect", disrupted)
    assert not choice.takes("1.4", "probe", disrupted)


@pytest.mark.parametrize(
    ("requirements", "kinds", "sentence"),
    [(["1.99"], [], 'no requirement "1.99"'), (["etcd"], [], "no requirement"), ([], ["inspekt"], 'no kind "inspekt"')],
)
def test_an_unknown_name_is_a_sentence(requirements: list[str], kinds: list[str], sentence: str) -> None:
    with pytest.raises(SelectionError, match=sentence):
        choose(CATALOGUE, requirements, kinds)
