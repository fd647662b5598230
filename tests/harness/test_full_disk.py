"""A run whose disk fills up: it says so in a sentence, undoes what it broke, and what it wrote until then verifies."""

from __future__ import annotations

import os
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from harness.verdict import decide
from reports.evidence import check
from reports.store import RunStore
from tests.harness.test_run import PLUGINS, Deployment, deployment, said
from tests.unit.small_server import granting, serving

__all__ = ["deployment"]  # a fixture
pytest_plugins = "pytester"

ROOT: Final = Path(__file__).resolve().parents[2]
SIZE: Final = "200k"
SUITE: Final = """
    import contextlib, errno
    from datetime import UTC, datetime
    from pathlib import Path
    import pytest
    from msgspec import structs
    from fixtures.faults import FAULTS, Fault
    from policies.facts.faults import Radius
    from policies.rules import access
    from tests.rules.facts import build

    SWITCH = Path("off")
    FAULTS["switch"] = Fault(
        name="switch",
        touches="turns it off",
        inject=lambda target, api, parameters: SWITCH.touch(),
        undo=lambda target, api, parameters: SWITCH.unlink(missing_ok=True),
        proof=lambda target, api, parameters: "it is off" if SWITCH.exists() else "",
        radius=lambda snapshot, parameters: Radius(nodes=0, pods=0, seconds=1.0),
        redundancy=lambda target, api, snapshot, parameters: "none is needed",
    )

    def fill(when):
        Path("reached").write_text(when)
        if when == "MOMENT":
            with contextlib.suppress(OSError), open("out/filler", "wb") as file:
                while True:
                    file.write(b"x" * 512)
                    file.flush()

    def seen(kind, short):
        return structs.replace(build(kind, short), seen_at=datetime.now(UTC))

    fill("at the start")

    @pytest.mark.requirement("1.4", "kubelet-anonymous")
    def test_inspect(judge):
        fill("before the first fact")
        judge(access.cross_namespace, seen("trials", {"trials": {"z": [200, 403]}}))
        fill("before the first result")

    @pytest.mark.requirement("1.4", "cross-namespace")
    def test_probe(judge):
        fill("before the second fact")
        judge(access.cross_namespace, seen("trials", {"trials": {"a": [200, 403]}}))

    @pytest.mark.requirement("1.1", "write-gap")
    @pytest.mark.disrupts("switch")
    def test_fault(inject, judge):
        fill("before the fault")
        with inject("switch", {}):
            Path("was-off").write_text(str(SWITCH.exists()))
            fill("while the fault is in force")
        fill("after the fault")
        judge(access.cross_namespace, seen("trials", {"trials": {"b": [200, 403]}}))
        fill("before the end")
"""
MOMENTS: Final = (
    "at the start",
    "before the first fact",
    "before the first result",
    "before the second fact",
    "before the fault",
    "while the fault is in force",
    "after the fault",
    "before the end",
)


@pytest.fixture
def small_disk(pytester: pytest.Pytester) -> Iterator[Path]:
    """A file system of its own for what a run leaves, as large as a few facts."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    out = pytester.path / "out"
    out.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", out], check=True)
    try:
        yield out
    finally:
        subprocess.run(["umount", out], check=True)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_full_disk(moment: str, small_disk: Path, deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    deployment.pytester.makepyfile(test_suite=textwrap.dedent(SUITE).replace("MOMENT", moment))
    plugins = [part for plugin in PLUGINS for part in ("-p", plugin)]
    with serving(granting) as server:
        deployment.at(server.url, disrupt={"allowed": True})
        result = deployment.pytester.runpytest_subprocess(
            *plugins, "-q", "-p", "no:hypothesispytest", "--assert=plain", "--target", str(deployment.target)
        )
    (small_disk / "filler").unlink()
    assert result.ret == pytest.ExitCode.USAGE_ERROR, said(result)
    assert "No space left on device. Free space" in said(result)
    assert "Traceback" not in said(result)
    assert "INTERNALERROR" not in said(result)
    assert (deployment.pytester.path / "was-off").exists() is (
        MOMENTS.index(moment) > MOMENTS.index("before the fault")
    )
    assert not (deployment.pytester.path / "off").exists()
    (run,) = (folder for folder in (small_disk / "runs").glob("2*") if folder.is_dir())
    (checked,) = check(run, [], decide).runs
    assert checked.problems == ()
    assert RunStore.open(run).read().damage == ()
