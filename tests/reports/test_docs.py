"""The screens in the documents are what the commands above them print; `python -m tests.reports.docs` pastes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from policies.profiles import load_profile
from policies.waivers import Waivers
from tests.reports import docs
from tests.reports.gate_runs import CATALOGUE

GATE = docs.ROOT / "docs/gate.md"
MUST = ("gate", "explain", "diff", "history", "preflight", "rbac", "evidence check")
"""The commands whose screens stand in the documents."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("docs")
    docs.recorded(made)
    return made


@pytest.mark.parametrize("document", sorted({d for d, _ in docs.blocks(lab=False)}), ids=lambda file: file.name)
def test_the_screens_in_a_document_are_what_is_printed(
    document: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert document.read_text() == docs.pasted(document, docs.printed, lab=False), "run: python -m tests.reports.docs"


def test_a_screen_that_went_stale_is_seen(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stale = tmp_path / "stale.md"
    stale.write_text("<!-- verify history --target lab -->\n```\nall is well\n```\n")
    monkeypatch.chdir(folder)
    assert "all is well" not in docs.pasted(stale, docs.printed, lab=False)
    assert docs.pasted(stale, docs.printed, lab=True) == stale.read_text()


def test_every_reader_has_its_screen_and_none_is_empty() -> None:
    commands = [command for lab in (False, True) for _, command in docs.blocks(lab=lab)]
    assert [name for name in MUST if not any(c.startswith(f"verify {name} ") for c in commands)] == []
    for document in docs.DOCUMENTS:
        for found in docs.BLOCK.finditer(document.read_text()):
            assert found[3].strip(), f"{found[2]} in {document.name}: run python -m tests.reports.docs --lab"


def test_the_waiver_in_the_document_is_one() -> None:
    example = yaml.safe_load(GATE.read_text().partition("```yaml\n")[2].partition("```")[0])
    (waiver,) = Waivers.model_validate(example, strict=False).waivers
    assert waiver.names("User/eve")


def test_the_profiles_in_the_document_are_the_published_ones() -> None:
    text = GATE.read_text()
    for name, hours in (("nightly", "26 h"), ("golive", "inspect 4 h, probe 24 h"), ("soc2", "31 days")):
        assert re.search(rf"\| `{name}` \|.*{hours}", text)
    nightly, golive, soc2 = (load_profile(name, CATALOGUE) for name in ("nightly", "golive", "soc2"))
    assert set(nightly.fresh_hours.values()) == {26}
    assert golive.fresh_hours == {"inspect": 4, "probe": 24, "load": 7 * 24, "disrupt": 7 * 24}
    assert soc2.fresh_hours == {"inspect": 7 * 24, "probe": 7 * 24, "load": 31 * 24, "disrupt": 31 * 24}
