"""`verify keygen` and `verify evidence check` as they are typed."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from policies.catalogue import Catalogue
from reports.signing import load_public_key, load_signing_key
from reports.store import MANIFEST
from tests.reports.judged import START, judged_run, one_of_each, summarise


def typed(*arguments: str | Path) -> tuple[int, str]:
    """Exit code and everything that was printed."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, done.output


@pytest.fixture
def root(tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two signed runs under ``out/runs`` of the folder that is worked in, where the key lies too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VERIFY_PUBLIC_KEY", raising=False)
    code, said = typed("keygen", "--out", "key.pem")
    assert code == 0
    assert "public key:  key.pem.pub\n" in said
    assert f"fingerprint: {load_public_key(tmp_path / 'key.pem.pub').id}" in said
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    for _ in range(2):
        judged_run(tmp_path / "out/runs", catalogue, key=load_signing_key("key.pem"), cases=list(one_of_each())[:3])
    return tmp_path / "out/runs"


def test_all_is_well(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = typed("evidence", "check", "--public-key", "key.pem.pub")
    assert code == 0
    assert [line[:3] for line in said.splitlines()] == ["ok ", "ok "]
    assert "3 of 3 results judged again, signed by " in said
    # Two runs of one second stand in any order.
    newest = next(line for line in said.splitlines() if (root / "latest").resolve().name in line)
    assert typed("evidence", "check", root / "latest", "--public-key", "key.pem.pub") == (0, newest + "\n")
    monkeypatch.setenv("VERIFY_PUBLIC_KEY", "key.pem.pub")
    assert typed("evidence", "check") == (0, said)


def test_what_was_altered_is_named(root: Path) -> None:
    page = (root / "latest").resolve() / "report.html"
    page.write_bytes(page.read_bytes().replace(b"1.1", b"1.2", 1))
    code, said = typed("evidence", "check", root)
    assert code == 1
    assert f"ALTERED  {page.parent.name}: " in said
    assert "  altered  report.html: it was altered" in said
    first = next(path for path in root.iterdir() if not path.is_symlink() and path != page.parent)
    shutil.rmtree(first)
    assert f"the manifest of run {first.name}, number 1, is not there" in typed("evidence", "check", root)[1]


def test_an_interrupted_run_is_called_so(root: Path, catalogue: Catalogue) -> None:
    store = judged_run(root, catalogue, cases=list(one_of_each())[:2], finish=False)
    code, said = typed("evidence", "check", root / "latest")
    assert code == 0
    assert f"ok       {store.run_id}: " in said
    assert "2 of 2 results judged again, interrupted" in said


def test_a_rule_that_may_have_changed_since_is_neither_well_nor_altered(root: Path, catalogue: Catalogue) -> None:
    failed = next(case for case in one_of_each() if case.expect == "failed")
    store = judged_run(root, catalogue, cases=[failed], made_by="f" * 40, finish=False)
    results = store.path / "findings.jsonl"
    results.write_bytes(results.read_bytes().replace(b'"ok":false', b'"ok":true'))
    store.finish(summarise(store.run_id, catalogue, "f" * 40, START))
    code, said = typed("evidence", "check", store.path)
    assert code == 10
    assert f"not confirmed {store.run_id}: " in said
    assert "  unsure   findings.jsonl line 1 (" in said
    assert "it was judged by commit ffffffffff, which is not in this checkout" in said


def test_a_wrong_call_is_a_sentence(root: Path) -> None:
    for arguments, says in (
        (["evidence", "check", "nothing"], "cannot read"),
        (["evidence", "check", "."], "holds no run"),
        (["evidence", "check", root, "--public-key", "key.pem"], "no public key in PEM"),
        (["keygen", "--out", "key.pem"], "never overwritten"),
    ):
        code, said = typed(*arguments)
        assert code == 4
        assert says in said
        assert "Traceback" not in said


def test_the_page_of_a_run_that_ended_is_not_drawn_over(root: Path, catalogue: Catalogue) -> None:
    run = (root / "latest").resolve()
    before = (run / "report.html").read_bytes()
    assert typed("report", run) == (0, f"report: {run / 'report.html'}\n")
    assert typed("report", run, "--to", "anew.html") == (0, "report: anew.html\n")
    assert (run / "report.html").read_bytes() == before
    assert run.name in Path("anew.html").read_text()
    assert typed("evidence", "check", run, "--public-key", "key.pem.pub")[0] == 0
    (run / "report.html").unlink()
    code, said = typed("report", run)
    assert (code, "--to FILE" in said) == (4, True)
    (run / MANIFEST).unlink()
    assert typed("report", run)[0] == 0
    assert (run / "report.html").exists()
