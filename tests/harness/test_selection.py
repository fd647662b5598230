"""Choosing checks by requirement and kind."""

from __future__ import annotations

import pytest

from harness.selection import SelectionError, choose
from policies.catalogue import load_catalogue
from policies.documents import DocumentError

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


# --- profiles


def test_a_profile_chooses_requirements_and_kinds() -> None:
    soc2, nightly = (choose(CATALOGUE, [], [], name) for name in ("soc2", "nightly"))
    assert not soc2.takes("10.4", "inspect", frozenset())
    assert soc2.takes("10.1", "load", frozenset())
    assert nightly.takes("10.4", "inspect", frozenset())
    assert not nightly.takes("10.1", "load", frozenset())
    assert (soc2.profile, soc2.requirements) == ("soc2", frozenset())  # which of them were asked for by id stays known


def test_requirements_and_kinds_narrow_a_profile() -> None:
    choice = choose(CATALOGUE, ["1.4"], ["inspect"], "nightly")
    assert choice.takes("1.4", "inspect", frozenset())
    assert not choice.takes("1.4", "probe", frozenset())
    assert not choice.takes("1.1", "inspect", frozenset())


@pytest.mark.parametrize(
    ("requirements", "kinds", "profile", "sentence"),
    [
        (["10.4"], [], "soc2", "10.4 is not looked at by profile soc2"),
        ([], ["load"], "nightly", "load is not looked at by profile nightly; it has inspect, probe, disrupt"),
    ],
)
def test_what_a_profile_does_not_look_at_cannot_be_asked_of_it(
    requirements: list[str], kinds: list[str], profile: str, sentence: str
) -> None:
    with pytest.raises(SelectionError, match=sentence):
        choose(CATALOGUE, requirements, kinds, profile)


def test_an_unknown_profile_is_a_sentence_that_names_the_one_meant() -> None:
    with pytest.raises(DocumentError, match=r'there is no profile "nightli".*nightly'):
        choose(CATALOGUE, [], [], "nightli")
