"""`verify restore` removes what runs left, and leaves alone what a run still works with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from fixtures.scratch import labels
from harness.cli import app
from reports.beginning import begun
from reports.model import Beginning
from targets.model import load_target
from tests.unit.small_server import Asked, serving, status

RUN = "20261124-020000-ab12"


@dataclass
class Cluster:
    """A deployment in which a run made one namespace."""

    created: datetime
    namespaces: set[str] = field(default_factory=lambda: {"verify-probe"})

    def __call__(self, asked: Asked) -> tuple[int, Any]:
        path = asked.path.partition("?")[0]
        if path.endswith("/token"):
            return 201, {"status": {"token": "t"}}
        if path == "/api/v1/namespaces":
            return 200, {"items": [self._object(name) for name in sorted(self.namespaces)]}
        if path == "/api/v1/pods":
            return 200, {"items": []}
        if asked.method == "DELETE":
            self.namespaces.discard(path.rpartition("/")[2])
            return 200, {}
        return 404, status(404, "not found")

    def _object(self, name: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "labels": labels(RUN), "creationTimestamp": f"{self.created:%FT%TZ}"}}


@dataclass
class Restoring:
    """The command, against that deployment."""

    cluster: Cluster
    target: Path
    runs: Path

    def __call__(self, *arguments: str) -> Result:
        result = CliRunner().invoke(app, ["restore", "--target", str(self.target), "--out", str(self.runs), *arguments])
        assert result.exit_code == 0, result.output
        return result


@pytest.fixture
def restoring(tmp_path: Path) -> Iterator[Restoring]:
    """As it is while the namespace has just been made."""
    cluster = Cluster(datetime.now(UTC))
    with serving(cluster) as server:
        kubeconfig = {
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server.url}}],
            "users": [{"name": "u", "user": {"token": "operator"}}],
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
        document = load_target("lab").model_dump(mode="json", by_alias=True, exclude_defaults=True)
        document["cluster"] = {"kubeconfig": str(tmp_path / "kubeconfig"), "context": "here"}
        (tmp_path / "target.yaml").write_text(yaml.safe_dump(document))
        runs = tmp_path / "runs"
        (runs / RUN).mkdir(parents=True)
        yield Restoring(cluster, tmp_path / "target.yaml", runs)


def begin(restoring: Restoring) -> ExitStack:
    """The run, at work on this machine until the stack is closed."""
    stack = ExitStack()
    stack.enter_context(begun(restoring.runs / RUN, Beginning(run=RUN, target="lab", started=datetime.now(UTC))))
    return stack


def test_what_a_run_at_work_has_made_is_left_to_it(restoring: Restoring) -> None:
    with begin(restoring):
        said = restoring("--all").output  # whatever is asked for: this is known
    assert restoring.cluster.namespaces == {"verify-probe"}
    assert f"leave namespace verify-probe: run {RUN} is at work" in " ".join(said.split())


def test_what_a_run_that_ended_has_left_is_removed(restoring: Restoring) -> None:
    begin(restoring).close()
    assert "remove namespace verify-probe" in restoring().output
    assert restoring.cluster.namespaces == set()


def test_a_run_of_another_machine_may_be_at_work_for_an_hour(restoring: Restoring) -> None:
    said = " ".join(restoring().output.split())
    assert restoring.cluster.namespaces == {"verify-probe"}
    assert f"made 0 min ago by run {RUN}" in said
    assert "Where it has ended, add --all" in said
    restoring("--all")
    assert restoring.cluster.namespaces == set()


def test_after_an_hour_it_is_not(restoring: Restoring) -> None:
    restoring.cluster.created -= timedelta(minutes=61)
    restoring()
    assert restoring.cluster.namespaces == set()
