"""The lab for every test here: brought up or repaired before the first, and as it was found after each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.lab.product import ROOT, VERIFY, Ended, verify
from tests.violations.lab import Lab

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here need the lab."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="session")
def running_lab() -> Lab:
    """The lab, brought up where it is not."""
    subprocess.run([VERIFY, "lab", "up"], cwd=ROOT, check=True, stdout=sys.stderr)
    return Lab()


@pytest.fixture
def lab(running_lab: Lab) -> Iterator[Lab]:
    """The lab in its steady state, before and after."""
    running_lab.settle()
    yield running_lab
    running_lab.settle()


@dataclass(frozen=True)
class HealthyRun:
    """A whole run against the healthy lab, which takes its minutes: several tests look at the same one."""

    began: datetime
    ended: Ended
    folder: Path
    """Where runs were kept; ``latest`` is this one."""


@pytest.fixture(scope="session")
def healthy_run(running_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> HealthyRun:
    """The run."""
    running_lab.settle()
    folder, began = tmp_path_factory.mktemp("healthy"), datetime.now(UTC)
    return HealthyRun(began, verify("run", "--target", "lab", out=folder), folder)
