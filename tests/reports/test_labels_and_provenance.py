"""What Allure is told, and what a run says of the code that made it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import allure_commons
import pytest

from policies.catalogue import Catalogue
from reports.allure import allure_labels
from reports.provenance import commit, versions


class Listener:
    """Stands where Allure's own listener stands."""

    def __init__(self) -> None:
        self.labels: dict[str, tuple[Any, ...]] = {}
        self.title = ""

    @allure_commons.hookimpl
    def add_label(self, label_type: str, labels: tuple[Any, ...]) -> None:
        self.labels[str(label_type)] = labels

    @allure_commons.hookimpl
    def add_title(self, test_title: str) -> None:
        self.title = test_title


@pytest.fixture
def listener() -> Iterator[Listener]:
    heard = Listener()
    allure_commons.plugin_manager.register(heard)
    yield heard
    allure_commons.plugin_manager.unregister(heard)


def test_groups_are_epics_requirements_features_clauses_stories(catalogue: Catalogue, listener: Listener) -> None:
    allure_labels(catalogue, "1.1", "write-gap")
    assert listener.title.startswith("1.1 write-gap: Losing one")
    assert listener.labels["epic"] == ("1 Infrastructure",)
    assert listener.labels["feature"] == ("1.1 Highly available control plane",)
    assert listener.labels["story"] == ("write-gap",)
    assert listener.labels["severity"] == ("blocker",)
    assert listener.labels["tag"] == ("disrupt",)


def test_without_allure_nothing_happens(catalogue: Catalogue) -> None:
    allure_labels(catalogue, "10.1", "requests")


def test_versions_name_only_what_is_installed() -> None:
    found = versions(("pytest", "no-such-package"))
    assert found["pytest"] == pytest.__version__
    assert set(found) == {"python", "pytest"}


def test_the_commit_says_when_files_differ_from_it(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    assert commit(tmp_path) == ""
    git("init", "--quiet")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "--quiet", "--message", "first")
    head = git("rev-parse", "HEAD")
    assert commit(tmp_path) == head
    (tmp_path / "out").write_text("not tracked")
    assert commit(tmp_path) == head
    (tmp_path / "file").write_text("two")
    assert commit(tmp_path) == f"{head}+changes"
