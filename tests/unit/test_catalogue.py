"""The catalogue as published, and what a wrong one is told."""

import shutil
from pathlib import Path

import pytest

from policies.allowlist import load_allowlist
from policies.catalogue import KINDS, REQUIREMENTS, Catalogue, UnknownNameError, load_catalogue
from policies.documents import DocumentError
from policies.framework import SOC2, TSC_2017, load_framework
from policies.limits import Limit, Limits
from policies.waivers import load_waivers

# The kinds of check each requirement asks for: inspect, probe, load, disrupt.
KINDS_ASKED = {
    1: "ID ID IP IP IP", 2: "IPD IPD IP IP IPD", 3: "IPD IPD IP IP IP", 4: "IPD P IP IP IP", 5: "PD IP P IPD P",
    6: "IP IP ID ID ID", 7: "IP D I IP IP", 8: "IL IL PD IP IL", 9: "IP IP IP IP I", 10: "IP ID I IP IP",
}  # fmt: skip


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


def test_ten_groups_of_five(catalogue: Catalogue) -> None:
    assert [group.group for group in catalogue.groups] == list(range(1, 11))
    assert [requirement.id for requirement in catalogue] == [f"{g}.{n}" for g in range(1, 11) for n in range(1, 6)]
    assert len(catalogue) == 50


def test_each_requirement_has_the_kinds_it_asks_for(catalogue: Catalogue) -> None:
    for group in catalogue.groups:
        kinds = ["".join(kind[0].upper() for kind in r.kinds) for r in group.requirements]
        assert kinds == KINDS_ASKED[group.group].split()


def test_order_of_kinds_is_the_order_of_a_run() -> None:
    assert KINDS == ("inspect", "probe", "load", "disrupt")


def test_every_breach_can_be_answered(catalogue: Catalogue) -> None:
    for requirement in catalogue:
        for clause in requirement.clauses:
            assert len(catalogue.remedy(requirement.id, clause.slug)) > 40
            assert clause.statement.endswith(".")
            for spec in clause.limits.values():
                assert spec.why.endswith(".")


def test_every_limit_is_reachable_through_its_clause(catalogue: Catalogue) -> None:
    for requirement in catalogue:
        for clause in requirement.clauses:
            limits = catalogue.limits(requirement.id, clause.slug)
            assert len(limits) == len(clause.limits) + len(clause.uses)


def test_limits_are_borrowed_within_a_requirement_and_across(catalogue: Catalogue) -> None:
    assert catalogue.limits("1.1", "control-plane-components")["control_plane_nodes"].value == 3
    assert catalogue.limits("8.2", "speed-held")["p95"] == catalogue.limits("8.1", "p95")["p95"]
    held = catalogue.limits("8.2", "speed-held", {"8.1": {"p95": 150}})
    assert held["p95"].text() == "at most 150 ms (p95)"


def test_a_target_tightens_silently_and_loosens_visibly(catalogue: Catalogue) -> None:
    overrides = {
        "1.1": {"api_write_gap": 20, "control_plane_nodes": 1},
        "1.2": {"group_max": 30},
        "2.4": {"rate": 1000},
    }
    assert catalogue.limits("1.1", "write-gap", overrides)["api_write_gap"].value == 20
    assert [deviation.text() for deviation in catalogue.deviations(overrides)] == [
        "1.1: at least 1 nodes (control_plane_nodes) in this target, "
        "at least 3 nodes (control_plane_nodes) in the catalogue",
        "1.2: exactly 30 nodes (group_max) in this target, exactly 20 nodes (group_max) in the catalogue",
    ]


@pytest.mark.parametrize(
    ("direction", "allowed", "refused"),
    [("at_most", [0, 30], [30.1]), ("at_least", [30, 31], [29.9]), ("exactly", [30], [29.9, 30.1])],
)
def test_a_limit_allows_itself(direction: str, allowed: list[float], refused: list[float]) -> None:
    limit = Limit("x", 30, "s", direction)  # type: ignore[arg-type]
    assert all(map(limit.allows, allowed))
    assert not any(map(limit.allows, refused))


def test_a_limit_that_a_clause_lacks_is_named() -> None:
    with pytest.raises(KeyError, match=r"has no limit 'y' .it has: x."):
        Limits([Limit("x", 1, "s", "at_most")])["y"]


def test_unknown_names_suggest_known_ones(catalogue: Catalogue) -> None:
    with pytest.raises(UnknownNameError, match=r'^there is no requirement "1\.9"\.'):
        catalogue.requirement("1.9")
    with pytest.raises(UnknownNameError, match='Did you mean "write-gap"'):
        catalogue.clause("1.1", "write-gaps")
    with pytest.raises(UnknownNameError, match='Did you mean "api_write_gap"'):
        catalogue.deviations({"1.1": {"api_write_gab": 3}})
    assert [name for _, name, _ in catalogue.unknown_names({"1.1": {"gap": 1}}, [("1.1", "x"), ("1.3", None)])] == [
        "gap",
        "x",
    ]


def test_digest_is_of_the_meaning_not_the_layout(catalogue: Catalogue, tmp_path: Path) -> None:
    shutil.copytree(REQUIREMENTS, tmp_path / "r")
    file = tmp_path / "r" / "r10_cost.yaml"
    file.write_text("# a comment\n" + file.read_text())
    assert load_catalogue(tmp_path / "r").digest == catalogue.digest
    file.write_text(file.read_text().replace("value: 120", "value: 121", 1))
    assert load_catalogue(tmp_path / "r").digest != catalogue.digest


GOOD = """\
group: 1
title: Group
requirements:
  - id: "1.1"
    title: One
    statement: It holds.
    severity: high
    remediation: Mend it.
    clauses:
      - slug: a
        statement: A holds.
        kind: inspect
        limits:
          gap:
            value: 3
            unit: s
            direction: at_most
            why: Because.
      - slug: b
        statement: B holds.
        kind: probe
        uses: [gap]
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("        kind: inspect\n", "", "r01.yaml:10: requirements[0].clauses[0].kind: is missing."),
        (
            "kind: inspect",
            "kind: look",
            "r01.yaml:12: requirements[0].clauses[0].kind: expected one of inspect, probe, load,",
        ),
        ("            unit: s\n", "", "r01.yaml:14: requirements[0].clauses[0].limits.gap.unit: is missing."),
        ("unit: s", "unit: ''", "r01.yaml:16: requirements[0].clauses[0].limits.gap.unit: "),
        (
            "why: Because.",
            "wyh: Because.",
            'r01.yaml:18: requirements[0].clauses[0].limits.gap.wyh: unknown key. Did you mean "why"?',
        ),
        ("slug: b", "slug: a", 'r01.yaml:19: requirements[0].clauses[1].slug: duplicate slug "a" in requirement 1.1.'),
        (
            "uses: [gap]",
            "uses: [gab]",
            'r01.yaml:22: requirements[0].clauses[1].uses[0]: requirement 1.1 has no limit "gab". Did',
        ),
        (
            "uses: [gap]",
            "uses: [9.9/p95]",
            'r01.yaml:22: requirements[0].clauses[1].uses[0]: there is no requirement "9.9".',
        ),
        ('"1.1"', "1.1", "r01.yaml:4: requirements[0].id: expected text; found the number 1.1: put it in quotes."),
        ('"1.1"', '"2.1"', "r01.yaml:4: requirements[0].id: requirement 2.1 stands in the file of group 1."),
        ("slug: a", "slug: A b", "r01.yaml:10: requirements[0].clauses[0].slug: expected text of the form"),
        (
            "          gap:",
            "          Gap!:",
            'r01.yaml:14: requirements[0].clauses[0].limits["Gap!"]: as a key, expected text of',
        ),
        (
            "value: 3",
            "value: .nan",
            "r01.yaml:15: requirements[0].clauses[0].limits.gap.value: expected a finite number; found .nan.",
        ),
    ],
)
def test_a_wrong_catalogue_is_told_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert GOOD.count(old) >= 1
    (tmp_path / "r01.yaml").write_text(GOOD.replace(old, new, 1))
    with pytest.raises(DocumentError) as caught:
        load_catalogue(tmp_path)
    assert str(caught.value).splitlines()[0].startswith(expected)


def test_a_limit_stated_twice(tmp_path: Path) -> None:
    limit = GOOD[GOOD.index("        limits:") : GOOD.index("      - slug: b")]
    (tmp_path / "r01.yaml").write_text(GOOD.replace("        uses: [gap]\n", limit))
    with pytest.raises(DocumentError, match=r"requirement 1\.1 states this limit twice"):
        load_catalogue(tmp_path)


def test_a_duplicate_id_and_a_duplicate_group(tmp_path: Path) -> None:
    (tmp_path / "r01.yaml").write_text(GOOD + GOOD[GOOD.index("  - id") :])
    with pytest.raises(DocumentError, match=r"requirements\[1\].id: duplicate id 1.1"):
        load_catalogue(tmp_path)
    for name in ("r01.yaml", "r02.yaml"):
        (tmp_path / name).write_text(GOOD)
    with pytest.raises(DocumentError, match=r"r02.yaml:1: group: .*r01.yaml is group 1 already"):
        load_catalogue(tmp_path)


def test_mistakes_of_all_files_come_together(tmp_path: Path) -> None:
    (tmp_path / "r01.yaml").write_text(GOOD.replace("kind: inspect", "kind: look"))
    (tmp_path / "r02.yaml").write_text("")
    with pytest.raises(DocumentError) as caught:
        load_catalogue(tmp_path)
    assert len(caught.value.problems) == 2


def test_no_catalogue(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="this is no catalogue"):
        load_catalogue(tmp_path / "nowhere")


def test_soc2_maps_every_requirement_to_criteria_that_exist(catalogue: Catalogue) -> None:
    framework = load_framework(catalogue)
    assert set(framework.criteria) <= TSC_2017
    assert set(framework.operational) == {"10.3", "10.4", "10.5"}
    assert len(framework.requirements) + len(framework.operational) == 50
    assert all(framework.supporters(criterion) for criterion in framework.criteria)
    supports = framework.of("5.2")
    assert supports is not None
    assert set(supports.criteria) == {"A1.2", "A1.3", "CC7.5"}
    assert framework.of("10.3") is None
    assert len(TSC_2017) == 61


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  CC4.1: ", "  CC4.3: ", '"CC4.3" is no criterion of the Trust Services Criteria 2017'),
        ('"1.1":\n    criteria: {A1.2:', '"1.1":\n    criteria: {A1.4:', '"A1.4" is not among the criteria in scope'),
        ('  "10.5":', '  "10.6":', 'requirement "10.5" is missing; map it'),
        ('  "10.5":', '  "10.1":', "cannot support criteria and be operational as well"),
        ("{A1.2: partial}", "{A1.2: mostly}", "expected one of full, partial, supporting"),
    ],
)
def test_a_wrong_mapping_is_told(catalogue: Catalogue, tmp_path: Path, old: str, new: str, expected: str) -> None:
    text = SOC2.read_text()
    assert old in text
    (tmp_path / "soc2.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(DocumentError, match=expected):
        load_framework(catalogue, tmp_path / "soc2.yaml")


WAIVER = """\
waivers:
  - requirement: "1.4"
    clause: wildcards
    subject: ServiceAccount/ci/deployer
    reason: Legacy pipeline.
    risk: It can change any object in ci.
    requested_by: M. Roe
    approver: J. Doe
    ticket: SEC-12
    issued: 2026-01-01
    expires: 2026-03-01
"""


def test_published_waivers_are_in_order(catalogue: Catalogue) -> None:
    load_waivers(catalogue)


def test_a_waiver_is_read(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "waivers.yaml").write_text(WAIVER)
    (waiver,) = load_waivers(catalogue, tmp_path / "waivers.yaml").waivers
    assert (waiver.clause, waiver.expires.isoformat()) == ("wildcards", "2026-03-01")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("clause: wildcards", "clause: wildcard", r'waivers\[0\].clause: requirement 1.4 has no clause "wildcard"'),
        ('"1.4"', '"1.9"', r'waivers\[0\].requirement: there is no requirement "1.9"|waivers\[0\].clause'),
        (
            "expires: 2026-03-01",
            "expires: 2025-03-01",
            r"waivers\[0\].expires: expires on 2025-03-01, which is not after",
        ),
        ("    approver: J. Doe\n", "", r"waivers\[0\].approver: is missing"),
        ("2026-01-01", "soon", r"expected a date \(2026-01-31\)"),
    ],
)
def test_a_wrong_waiver_is_told(catalogue: Catalogue, tmp_path: Path, old: str, new: str, expected: str) -> None:
    (tmp_path / "waivers.yaml").write_text(WAIVER.replace(old, new))
    with pytest.raises(DocumentError, match=expected):
        load_waivers(catalogue, tmp_path / "waivers.yaml")


def test_a_subject_is_waived_once(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "waivers.yaml").write_text(WAIVER + WAIVER.removeprefix("waivers:\n"))
    with pytest.raises(DocumentError, match="is waived already"):
        load_waivers(catalogue, tmp_path / "waivers.yaml")


def test_kubernetes_own_holders_are_listed_once_each_with_reason() -> None:
    holders = load_allowlist().allow
    assert len({holder.subject for holder in holders}) == len(holders)
    assert any(holder.subject == "Group/system:masters" for holder in holders)
