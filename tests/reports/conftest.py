"""Example runs, drawn once."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.catalogue import Catalogue, load_catalogue
from reports.html import render
from tests.reports.example import healthy, make_run, waivers


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    """The real one."""
    return load_catalogue()


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> dict[str, Path]:
    """report.html of a healthy run, of one with every verdict and hostile text, and of one that was killed."""
    root = tmp_path_factory.mktemp("runs")
    runs = {
        "healthy": make_run(root, catalogue, healthy, gap_s=3.2, overrides={}),
        "troubled": make_run(root, catalogue, not_restored=("cp2 is still cut off: ssh: no route to host",)),
        "killed": make_run(root, catalogue, healthy, finish=False, without=("write-gap", "acknowledged-writes")),
    }
    return {name: render(store.read(), catalogue, waivers=waivers()) for name, store in runs.items()}
