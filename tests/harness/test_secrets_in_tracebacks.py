"""A check or the harness itself breaks with a token in its hands: nothing that the run writes or prints holds it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reports.model import Verdict
from tests.harness.test_run import Deployment, deployment, said
from tests.unit.small_server import Asked, granting, serving

__all__ = ["deployment"]

pytest_plugins = "pytester"

CANARY = "canary-of-the-scanner-4f9a1c77"
# Everything that pytest has to show more of a failure.
TALKATIVE = ("-vv", "--showlocals", "--tb=long", "--full-trace", "-rA", "-o", "junit_logging=all", "--log-level=DEBUG")
SUITE = """
    import logging
    import pytest

    @pytest.mark.requirement("7.3", "recent")
    def test_it(scanner, judge):
        token = scanner._authorization()
        print("asked for", len(token), "characters")
        {}
"""
IN_A_HOOK = """
    def pytest_runtest_logreport(report):
        token = "{canary}"
        raise RuntimeError("it was refused: Bearer " + token)
"""


@pytest.fixture
def handing_out(deployment: Deployment) -> Iterator[Deployment]:
    """A deployment whose API grants everything and hands out the canary as every token."""

    def answer(request: Asked) -> tuple[int, Any]:
        if request.path.endswith("/token"):
            return 201, {"status": {"token": CANARY}}
        return granting(request)

    with serving(answer) as server:
        deployment.at(server.url)
        yield deployment


def holding_it(folder: Path, result: pytest.RunResult) -> list[str]:
    """The files of a folder, and the output, that hold the canary."""
    files = [str(file) for file in folder.rglob("*") if file.is_file() and CANARY.encode() in file.read_bytes()]
    return files + (["output"] if CANARY in said(result) else [])


@pytest.mark.parametrize(
    "statement",
    [
        "raise RuntimeError(f'refused: {token}')",
        "raise RuntimeError('refused') from ValueError(f'refused: {token}')",
        "{}[token]",
        "assert token == ''",
        "scanner.request('GET', '/version', timeout_s='soon')",
    ],
)
def test_a_check_that_breaks_tells_no_token(handing_out: Deployment, statement: str) -> None:
    result = handing_out.run(textwrap.dedent(SUITE).format(statement), *TALKATIVE)
    (clause,) = handing_out.record.results
    assert (clause.verdict, result.ret) == (Verdict.error, 1), said(result)
    assert "the check itself failed" in clause.message
    assert holding_it(handing_out.pytester.path / "out", result) == []


def test_an_error_of_the_harness_tells_no_token(handing_out: Deployment) -> None:
    handing_out.pytester.makeconftest(textwrap.dedent(IN_A_HOOK).format(canary=CANARY))
    result = handing_out.run(textwrap.dedent(SUITE).format("raise Exception"), *TALKATIVE)
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    assert "INTERNALERROR" in said(result)
    assert "it was refused: Bearer [redacted hmac-sha256:" in said(result)
    assert holding_it(handing_out.pytester.path / "out", result) == []
