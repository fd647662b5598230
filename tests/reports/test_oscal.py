"""A run as OSCAL is OSCAL, says only of what passed that it is satisfied, and points at evidence that is there."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from policies.catalogue import Catalogue, Clause, Requirement
from policies.facts.base import Cause
from policies.finding import Finding
from policies.framework import load_framework
from policies.profiles import load_profile
from policies.waivers import Waiver
from reports.beginning import begun
from reports.model import Beginning, Origin, Verdict
from reports.oscal import assessment_results
from reports.overview import overview
from reports.store import RunStore
from reports.waiving import over_run
from tests.reports.example import CHECKED, LOOSENED, Made, healthy, make_run
from tests.reports.gate_runs import a_waiver

SUBJECT: Final = "Group/system:authenticated"
DEVIATION: Final = "at most 45 s (api_write_gap)"
WAIVERS: Final = (
    a_waiver(clause="secrets-read", subject=SUBJECT),
    a_waiver(requirement="1.1", clause="write-gap", subject=DEVIATION, ticket="OPS-7"),
    a_waiver(clause="default-service-accounts", subject="ServiceAccount/team-1/default", expires="2026-11-23"),
)


@dataclass(frozen=True)
class Exported:
    """A run and what became of it."""

    store: RunStore
    raw: bytes
    catalogue: Catalogue

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.raw)["assessment-results"]
        return found

    @property
    def result(self) -> dict[str, Any]:
        (found,) = self.document["results"]
        assert isinstance(found, dict)
        return found

    @property
    def findings(self) -> dict[str, dict[str, Any]]:
        """By the objective that each is about."""
        return {finding["target"]["target-id"]: finding for finding in self.result.get("findings", [])}

    def props(self, thing: dict[str, Any], name: str) -> list[str]:
        return [prop["value"] for prop in thing.get("props", []) if prop["name"] == name]


def export(store: RunStore, catalogue: Catalogue, waivers: tuple[Waiver, ...] = ()) -> Exported:
    record = store.read()
    day = record.ended.date() if record.ended is not None else date(2026, 11, 24)
    terms = load_profile("golive", catalogue).waivers
    overlay = over_run(record, waivers, terms=terms, catalogue=catalogue, today=day)
    return Exported(store, assessment_results(record, catalogue, load_framework(catalogue), overlay), catalogue)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> dict[str, Exported]:
    root = tmp_path_factory.mktemp("oscal")
    at_once = RunStore.create(root, "20261124-020000-000000")
    killed = make_run(root, catalogue, healthy, finish=False, without=("write-gap", "acknowledged-writes"))
    broken = make_run(root, catalogue, not_restored=("cp2 is still cut off: ssh: no route to host",))
    return {
        "healthy": export(make_run(root, catalogue, healthy, gap_s=3.2, overrides={}), catalogue),
        "every verdict": export(broken, catalogue),
        "interrupted": export(killed, catalogue),
        "killed at once": export(at_once, catalogue),
        "waivers": export(broken, catalogue, WAIVERS),
    }


RUNS: Final = ("healthy", "every verdict", "interrupted", "killed at once", "waivers")


def trestle_accepts(exported: Exported, folder: Path) -> None:
    """Read by compliance-trestle's own models, and passed by all its validators."""
    from trestle.core.validator_factory import validator_factory
    from trestle.oscal import OSCAL_VERSION
    from trestle.oscal.assessment_results import AssessmentResults

    file = folder / "assessment-results.json"
    file.write_bytes(exported.raw)
    model = AssessmentResults.oscal_read(file)
    validators = [one for one in validator_factory.get_all() if type(one).__name__ != "AllValidator"]
    assert len(validators) >= 5
    assert exported.document["metadata"]["oscal-version"] == OSCAL_VERSION
    assert [type(one).__name__ for one in validators if not one.model_is_valid(model, False)] == []


@pytest.mark.parametrize("name", RUNS)
def test_it_is_oscal(runs: dict[str, Exported], name: str, tmp_path: Path) -> None:
    trestle_accepts(runs[name], tmp_path)


@pytest.mark.parametrize(("old", "new"), [(b'"uuid"', b'"guid"'), (b"satisfied", b"fulfilled"), (b'Z"', b'"')])
def test_what_is_no_oscal_is_refused(runs: dict[str, Exported], old: bytes, new: bytes, tmp_path: Path) -> None:
    from trestle.common.err import TrestleError

    healthy_run = runs["healthy"]
    with pytest.raises(TrestleError):
        trestle_accepts(Exported(healthy_run.store, healthy_run.raw.replace(old, new), healthy_run.catalogue), tmp_path)


# --- what is said


@pytest.mark.parametrize("name", RUNS)
def test_only_what_passed_is_satisfied(runs: dict[str, Exported], name: str) -> None:
    exported = runs[name]
    over = overview(exported.store.read(), exported.catalogue)
    expected: dict[str, Verdict] = {}
    for requirement in over.requirements:
        wanted = [clause for clause in requirement.clauses if clause.wanted]
        expected |= {f"finbot-{c.requirement.id}_{c.clause.slug}": c.verdict for c in wanted}
        if wanted:
            expected[f"finbot-{requirement.requirement.id}_all"] = requirement.verdict
    assert exported.findings.keys() == expected.keys()
    for objective, verdict in expected.items():
        finding = exported.findings[objective]
        status = finding["target"]["status"]
        reason = {Verdict.passed: "pass", Verdict.failed: "fail"}.get(verdict, "other")
        assert (status["state"], status["reason"]) == ("satisfied" if reason == "pass" else "not-satisfied", reason)
        assert exported.props(finding, "verdict") == [verdict.value]
        assert bool(status.get("remarks")) is (verdict is not Verdict.passed)
        assert ("implementation-status" in finding["target"]) is (verdict is Verdict.not_applicable)


def test_every_verdict_is_there(runs: dict[str, Exported]) -> None:
    exported = runs["every verdict"]
    assert {v for f in exported.findings.values() for v in exported.props(f, "verdict")} == set(Verdict)
    unseen = exported.findings["finbot-1.3_dns-latency"]
    assert unseen["target"]["status"]["remarks"].startswith("not evaluated: forbidden.")
    assert exported.props(unseen, "cause") == ["forbidden"]
    criteria = exported.findings["finbot-1.1_all"]["props"]
    assert [(p["value"], p["class"]) for p in criteria if p["name"] == "soc2-criterion"] == [("A1.2", "partial")]
    assert exported.props(exported.findings["finbot-1.1_write-gap"], "limit") == [DEVIATION]


def test_what_was_not_reviewed_has_no_finding_and_is_named(runs: dict[str, Exported], catalogue: Catalogue) -> None:
    reviewed = runs["healthy"].result["reviewed-controls"]["control-selections"][0]
    assert [one["control-id"] for one in reviewed["include-controls"]] == [f"finbot-{name}" for name in CHECKED]
    assert "no check reaches it yet: 1.2, 1.5, 2.1" in reviewed["remarks"]
    nothing = runs["killed at once"].result["reviewed-controls"]["control-selections"][0]
    assert len(nothing["exclude-controls"]) == len(catalogue)
    assert "findings" not in runs["killed at once"].result


def test_what_nobody_looked_at_has_no_observation(tmp_path: Path, catalogue: Catalogue) -> None:
    store = make_run(tmp_path, catalogue, healthy, finish=False, without=("write-gap",))
    word = store.read().results[0]
    person = msgspec.structs.replace(
        word, clause="write-gap", verdict=Verdict.manual, facts=(), findings=(), test="", message="for a person: look"
    )
    store.append_result(person)
    exported = export(store, catalogue)
    trestle_accepts(exported, tmp_path)
    finding = exported.findings["finbot-1.1_write-gap"]
    assert "related-observations" not in finding
    assert "for a person: look" in finding["target"]["status"]["remarks"]


def test_an_interrupted_run_says_so(runs: dict[str, Exported]) -> None:
    exported = runs["interrupted"]
    assert exported.props(exported.result, "interrupted")
    assert "end" not in exported.result
    whole = exported.findings["finbot-1.1_all"]["target"]["status"]
    assert whole["state"] == "not-satisfied"
    assert "write-gap (not evaluated: the run ended before its turn came)" in whole["remarks"]
    assert "finbot-1.1_write-gap" not in exported.findings


def test_a_run_that_was_killed_names_its_target_and_its_plan(tmp_path: Path, catalogue: Catalogue) -> None:
    store = make_run(tmp_path, catalogue, healthy, gap_s=3.2)
    manifest = store.read().manifest
    assert manifest is not None
    (store.path / "manifest.json").unlink()
    before = Beginning(
        run=store.run_id,
        target="lab",
        started=manifest.started,
        catalogue_digest=catalogue.digest,
        resumes=(Origin(run="20261123-020000-aaaaaa", started=manifest.started - timedelta(days=1)),),
    )
    with begun(store.path, before):
        exported = export(store, catalogue)
    trestle_accepts(exported, tmp_path)
    assert exported.props(exported.result, "target") == ["lab"]
    assert exported.props(exported.result, "resumes") == ["20261123-020000-aaaaaa"]
    assert exported.result["start"].startswith("2026-11-23")
    plan = exported.document["back-matter"]["resources"][0]
    assert plan["rlinks"][0]["href"] == "beginning.json"
    assert plan["rlinks"][0]["hashes"]


def test_what_is_broken_is_a_risk_with_severity_remedy_and_the_observation(runs: dict[str, Exported]) -> None:
    exported = runs["every verdict"]
    risks = {risk["uuid"]: risk for risk in exported.result["risks"]}
    observations = {one["uuid"]: one for one in exported.result["observations"]}
    (of_clause,) = exported.findings["finbot-1.4_default-service-accounts"]["related-risks"]
    risk = risks[of_clause["risk-uuid"]]
    assert risk["status"] == "open"
    assert {f["name"]: f["value"] for f in risk["characterizations"][0]["facets"]} == {"severity": "critical"}
    remedy = exported.catalogue.remedy("1.4", "default-service-accounts")
    assert [one["description"] for one in risk["remediations"]] == [remedy]
    observation = observations[risk["related-observations"][0]["observation-uuid"]]
    assert len(observation["subjects"]) == 400
    assert {value for one in observation["subjects"] for value in exported.props(one, "result")} == {"fail"}
    assert observation["methods"] == ["EXAMINE"]
    titles = [one["title"] for one in exported.result["risks"]]
    assert "The deployment is not as the run found it" in titles
    assert "1.1: a limit is looser than the catalogue's" in titles


def test_subjects_that_hold_are_not_among_the_broken(runs: dict[str, Exported]) -> None:
    exported = runs["every verdict"]
    fared = {
        one["title"]: (len(one["subjects"]), one["types"])
        for one in exported.result["observations"]
        if one["title"].startswith("1.4 secrets-read")
    }
    assert fared == {
        "1.4 secrets-read: what holds": (120, ["control-objective"]),
        "1.4 secrets-read: what is broken": (2, ["finding"]),
    }


# --- waivers


def test_a_waiver_accepts_the_risk_and_leaves_the_finding(runs: dict[str, Exported]) -> None:
    exported, without = runs["waivers"], runs["every verdict"]
    states = [{name: f["target"]["status"] for name, f in one.findings.items()} for one in (exported, without)]
    assert states[0] == states[1]
    related = exported.findings["finbot-1.4_secrets-read"]["related-risks"]
    risks = {risk["uuid"]: risk for risk in exported.result["risks"]}
    mine = {risks[one["risk-uuid"]]["status"]: risks[one["risk-uuid"]] for one in related}
    assert mine.keys() == {"open", "deviation-approved"}
    accepted = mine["deviation-approved"]
    assert SUBJECT in accepted["description"]
    assert SUBJECT not in mine["open"]["description"]
    facets = {facet["name"]: facet["value"] for facet in accepted["characterizations"][0]["facets"]}
    assert facets["waiver-ticket"] == "SEC-12"
    assert facets["waiver-approver"] == "J. Doe"
    assert facets["waiver-expires"] == "2026-11-27"
    assert accepted["deadline"].startswith("2026-11-27")
    assert accepted["risk-log"]["entries"][0]["status-change"] == "deviation-approved"


def test_a_waiver_out_of_order_accepts_nothing_and_is_named(runs: dict[str, Exported]) -> None:
    exported = runs["waivers"]
    risks = {risk["uuid"]: risk["status"] for risk in exported.result["risks"]}
    related = exported.findings["finbot-1.4_default-service-accounts"]["related-risks"]
    assert [risks[one["risk-uuid"]] for one in related] == ["open"]
    assert "Waiver not in order (expired): 1.4 default-service-accounts" in exported.result["remarks"]


def test_a_loosened_limit_can_be_waived(runs: dict[str, Exported]) -> None:
    def status(exported: Exported) -> list[str]:
        return [r["status"] for r in exported.result["risks"] if "looser than the catalogue" in r["title"]]

    assert LOOSENED == {"1.1": {"api_write_gap": 45.0}}
    assert status(runs["every verdict"]) == ["open"]
    assert status(runs["waivers"]) == ["deviation-approved"]


# --- identifiers and evidence


def identifiers(thing: object, key: str = "uuid") -> Iterator[str]:
    if isinstance(thing, dict):
        for name, value in thing.items():
            if name == key or (key == "-uuid" and name.endswith(key)):
                assert isinstance(value, str)
                yield value
            yield from identifiers(value, key)
    elif isinstance(thing, list):
        for value in thing:
            yield from identifiers(value, key)


@pytest.mark.parametrize("name", RUNS)
def test_every_reference_leads_somewhere(runs: dict[str, Exported], name: str) -> None:
    document = runs[name].document
    own = list(identifiers(document))
    assert len(own) == len(set(own))
    assert set(identifiers(document, "-uuid")) <= set(own)
    inner = {href[1:] for href in identifiers(document, "href") if href.startswith("#")}
    assert inner
    assert inner <= set(own)
    objectives = {part["id"] for part in parts(document)}
    named = {one["objective-id"] for one in selected(document)} | runs[name].findings.keys()
    assert named <= objectives


def parts(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for control in document.get("local-definitions", {}).get("objectives-and-methods", []):
        for whole in control["parts"]:
            yield whole
            yield from whole["parts"]


def selected(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for one in document["results"][0]["reviewed-controls"].get("control-objective-selections", []):
        yield from [*one.get("include-objectives", []), *one.get("exclude-objectives", [])]


@pytest.mark.parametrize("name", RUNS)
def test_the_evidence_that_is_named_is_there(runs: dict[str, Exported], name: str) -> None:
    exported = runs[name]
    evidence = [e for o in exported.result.get("observations", []) for e in o["relevant-evidence"]]
    files = [item["href"] for item in evidence]
    for resource in exported.document["back-matter"]["resources"]:
        for link in resource["rlinks"]:
            files.append(link["href"])
            for digest in link.get("hashes", []):
                assert digest["algorithm"] == "SHA-256"
                content = (exported.store.path / link["href"]).read_bytes()
                assert digest["value"] == hashlib.sha256(content).hexdigest()
    assert all((exported.store.path / file).is_file() for file in files) is (name != "killed at once")
    assert bool(evidence) is (name != "killed at once")


@pytest.mark.parametrize("name", RUNS)
def test_the_same_run_gives_the_same_bytes_anywhere(
    runs: dict[str, Exported], name: str, tmp_path: Path, catalogue: Catalogue
) -> None:
    exported = runs[name]
    elsewhere = tmp_path / exported.store.run_id
    shutil.copytree(exported.store.path, elsewhere)
    assert export(RunStore.open(elsewhere), catalogue, WAIVERS if name == "waivers" else ()).raw == exported.raw


def test_the_same_subject_is_known_again_in_the_next_run(tmp_path: Path, catalogue: Catalogue) -> None:
    def items(exported: Exported) -> set[str]:
        return {item["uuid"] for item in exported.result["local-definitions"]["inventory-items"]}

    one, other = (export(make_run(tmp_path, catalogue, healthy), catalogue) for _ in range(2))
    assert items(one) == items(other)
    assert not set(identifiers(one.document["results"][0]["findings"])) & set(
        identifiers(other.document["results"][0]["findings"])
    )


def test_evidence_that_is_gone_is_said_and_not_guessed(tmp_path: Path, catalogue: Catalogue) -> None:
    store = make_run(tmp_path, catalogue, healthy, gap_s=3.2)
    for file in (store.path / "facts").iterdir():
        file.write_bytes(file.read_bytes()[:-20])
    exported = export(store, catalogue)
    trestle_accepts(exported, tmp_path)
    assert all("cannot be read" in one["remarks"] for one in exported.result["observations"])


# --- text from anywhere

ODD: Final = (
    "",
    " ",
    "\n\n",
    "\x00\x1b[31m\x7f\x85",
    "\u2028\u2029\ufeff\u200b",
    "\u202eevil\u2066",
    "a\r\nb\tc",
    "<script>alert(1)</script>",
    "[click](javascript:alert(1)) ![x](http://10.231.0.1/x)",
    "{{ insert: param, x }} `code` **bold** _it_ ~sub~ ^sup^ \\",
    "\N{PILE OF POO}" * 300,
    "x" * 20_000,
    "\ufffe\uffff",
    "\"quoted\" 'and' &amp; &lt;",
)


def said(text: str) -> Callable[[Requirement, Clause], Made]:
    """A run in which every text that a deployment can choose is this one."""

    def outcome(requirement: Requirement, clause: Clause) -> Made:
        if clause.slug == "mtu":
            return Verdict.error, None, (), text
        if clause.slug == "dns-latency":
            unseen = Finding(text, text, text, None, Cause.INVALID, text)
            return Verdict.not_evaluated, Cause.INVALID, (unseen,), text
        broken = clause.slug == "wildcards"
        finding = Finding(text, text, text, not broken, None, text)
        return Verdict.failed if broken else Verdict.passed, None, (finding,), text if broken else ""

    return outcome


def texts() -> Iterator[str]:
    yield from ODD
    dice = random.Random(4)  # noqa: S311 - no secret
    for _ in range(10):
        points = [
            dice.choice((dice.randrange(0x20), dice.randrange(0x3000), dice.randrange(0xE000, 0x110000)))
            for _ in range(40)
        ]
        yield "".join(map(chr, points))


@pytest.mark.parametrize("text", tuple(texts()), ids=lambda text: ascii(text)[:24])
def test_odd_characters_stay_valid(text: str, tmp_path: Path, catalogue: Catalogue) -> None:
    exported = export(make_run(tmp_path, catalogue, said(text), draw=False), catalogue)
    trestle_accepts(exported, tmp_path)
    titles = [one["title"] for o in exported.result["observations"] for one in o.get("subjects", [])]
    assert titles
    for title in titles:
        for mark in "<[`*{":
            assert title.count(mark) == title.count(f"\\{mark}"), title


def test_subjects_and_sentences_that_look_alike_are_told_apart(tmp_path: Path, catalogue: Catalogue) -> None:
    def outcome(requirement: Requirement, clause: Clause) -> Made:
        alike = ("pod a/b\x01", "pod a/b\x02", "pod a/b", "pod a/b ", "pod a/b")
        return Verdict.passed, None, tuple(Finding(name, "there", "there", True) for name in alike), ""

    exported = export(make_run(tmp_path, catalogue, outcome, not_restored=("cp2 is cut off",) * 2), catalogue)
    trestle_accepts(exported, tmp_path)
    own = list(identifiers(exported.document))
    assert len(own) == len(set(own))
    items = [one["description"] for one in exported.result["local-definitions"]["inventory-items"]]
    assert len([one for one in items if one.startswith("pod a/b")]) == 4


def test_words_of_the_deployment_are_no_markup(tmp_path: Path, catalogue: Catalogue) -> None:
    exported = export(make_run(tmp_path, catalogue, said("a_b <b>[x](y)</b> _c_")), catalogue)
    titles = {s["title"] for o in exported.result["observations"] for s in o.get("subjects", [])}
    assert "a_b \\<b>\\[x\\](y)\\</b> \\_c\\_" in titles
    observed = [p["value"] for o in exported.result["observations"] for s in o.get("subjects", []) for p in s["props"]]
    assert "a_b <b>[x](y)</b> _c_" in observed  # a value is no markup, and stays as it was seen
