"""Profiles as published, and what a wrong one is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from policies.catalogue import KINDS, Catalogue, load_catalogue
from policies.documents import DocumentError
from policies.framework import load_framework
from policies.profiles import PROFILES, known_profiles, load_profile

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


def test_the_three_there_are(catalogue: Catalogue) -> None:
    assert known_profiles() == ("golive", "nightly", "soc2")
    for name in known_profiles():
        assert load_profile(name, catalogue).profile == name


def test_golive_demands_every_clause_there_is(catalogue: Catalogue) -> None:
    profile = load_profile("golive", catalogue)
    demands = list(profile.demands(catalogue))
    assert [d.name for d in demands] == [(r.id, c.slug) for r in catalogue for c in r.clauses]
    assert all(demand.must for demand in demands)
    assert profile.kinds == KINDS
    assert set(profile.also_blocks) == {"deviations", "waivers"}


def test_soc2_demands_what_supports_a_criterion(catalogue: Catalogue) -> None:
    demands = load_profile("soc2", catalogue).demands(catalogue)
    assert {demand.requirement.id for demand in demands if demand.must} == set(load_framework(catalogue).requirements)


def test_nightly_demands_every_requirement_that_has_a_check(catalogue: Catalogue) -> None:
    marks = re.compile(r'requirement\("([0-9.]+)", "([a-z0-9-]+)"\)')
    checked = {found for file in (ROOT / "suites").rglob("test_*.py") for found in marks.findall(file.read_text())}
    profile = load_profile("nightly", catalogue)
    must = {demand.requirement.id for demand in profile.demands(catalogue) if demand.must}
    assert must == {requirement for requirement, _ in checked}


def test_a_loosened_waiver_term_of_a_release_is_never_longer_than_of_a_night(catalogue: Catalogue) -> None:
    golive, nightly = (load_profile(name, catalogue).waivers for name in ("golive", "nightly"))
    assert all(golive.most_days[severity] <= nightly.most_days[severity] for severity in nightly.most_days)
    assert set(golive.patterns) <= set(nightly.patterns)
    assert golive.most_subjects <= nightly.most_subjects


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("profile: golive", "profile: nightly", r'profile: stands in the file of profile "golive"'),
        (
            "requirements: [all]",
            'requirements: ["10.9"]',
            r"requirements\[0\]: the catalogue has no requirement or gro",
        ),
        ("requirements: [all]", 'requirements: ["11"]', r"requirements\[0\]: expected text of the form"),
        ("requirements: [all]", "requirements: []", r"requirements: tuple should have at least 1 item"),
        ("must_pass: [all]", 'must_pass: ["10.9"]', r"must_pass\[0\]: the catalogue has no requirement or group"),
        ("kinds: [inspect,", "kinds: [inspect, look,", r"kinds\[1\]: expected one of inspect, probe, load, disrupt"),
        ("{inspect: 4, ", "{", r"fresh_hours: says nothing of inspect"),
        ("{inspect: 4, ", "{inspect: 0, ", r"fresh_hours.inspect: .* greater than 0"),
        ("kinds: [inspect, probe, load, disrupt]", "kinds: [probe]", r"inspect is not among the kinds"),
        ("also_blocks: [dev", "also_block: [dev", r'also_block: unknown key. Did you mean "also_blocks"'),
        ("{critical: 7", "{grave: 7", r"waivers.most_days.grave: as a key, expected one of critical"),
        ("critical: 7", "critical: 7.5", r"waivers.most_days.critical: expected a whole number"),
        ("patterns: [low]", "patterns: low", r"waivers.patterns: expected a list"),
    ],
)
def test_a_wrong_profile_is_told(catalogue: Catalogue, tmp_path: Path, old: str, new: str, expected: str) -> None:
    text = (PROFILES / "golive.yaml").read_text()
    assert old in text
    (tmp_path / "golive.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(DocumentError, match=expected):
        load_profile("golive", catalogue, tmp_path)


@pytest.mark.parametrize("selector", ["all", "1", "1.1"])
def test_what_must_pass_is_looked_at(catalogue: Catalogue, tmp_path: Path, selector: str) -> None:
    text = (PROFILES / "golive.yaml").read_text().replace("requirements: [all]", 'requirements: ["1.1", "2"]', 1)
    (tmp_path / "golive.yaml").write_text(text.replace("must_pass: [all]", f'must_pass: ["{selector}"]', 1))
    if selector == "1":
        with pytest.raises(DocumentError, match=r'must_pass\[0\]: "1" is not among the requirements of this profile'):
            load_profile("golive", catalogue, tmp_path)
        return
    demands = list(load_profile("golive", catalogue, tmp_path).demands(catalogue))
    assert {demand.requirement.group for demand in demands} == {1, 2}
    assert {d.requirement.id for d in demands if d.must} == (
        {d.requirement.id for d in demands} if selector == "all" else {"1.1"}
    )


def test_an_unknown_profile_is_told_with_the_known_ones(catalogue: Catalogue) -> None:
    with pytest.raises(DocumentError, match=r'there is no profile "go-live". Did you mean "golive"'):
        load_profile("go-live", catalogue)
