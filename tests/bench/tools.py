"""The three that are compared: how each is run against the same kubeconfig, and the proof that it really looked.

Prowler and Trivy come from PyPI, pinned with hashes in ``prowler.lock`` and ``trivy.lock``, each in an environment of
its own in the lab's cache. They are made anew with
``uv pip compile --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-find-links --no-annotate``.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bootstrap.lab.build import content_key, forget_older
from bootstrap.lab.layout import KUBECONFIG, NAME, cache
from reports.model import Verdict
from reports.store import RunStore, StoreError
from targets.model import TARGETS
from tests.bench.measured import BenchError, Measured, measure

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BIN = Path(sys.executable).parent
INSTALL_TIMEOUT_S = 1200  # Prowler brings the clients of all clouds: 1.4 GB
RUN_TIMEOUT_S = 300


@dataclass(frozen=True)
class Tool:
    """One of those compared."""

    name: str
    looks_at: str
    agent: str
    """How its requests name it: the start of their User-Agent."""
    command: Callable[[Path], list[str]]
    """The command line, given an empty folder for what it writes."""
    proof: Callable[[Measured, Path], str]
    """What it found, in words. Raises `BenchError` where it found nothing, for then it did not look."""


@dataclass(frozen=True)
class Ran:
    """One run of a tool, and what it found."""

    measured: Measured
    found: str


def run(tool: Tool, folder: Path) -> Ran:
    """One run, timed from outside as a whole process. Raises `BenchError` where the tool did not really look."""
    folder.mkdir(parents=True)
    measured = measure(tool.command(folder), timeout_s=RUN_TIMEOUT_S, cwd=folder)
    try:
        return Ran(measured, tool.proof(measured, folder))
    except BenchError as error:
        last = "\n    ".join(measured.output.strip().splitlines()[-5:])
        raise BenchError(f"{error}; exit code {measured.exit_code}, its last words:\n    {last}") from error


# --- ours


def ours() -> Tool:
    """The read-only part of `verify`: preflight, snapshot, inspect, evidence and report."""
    return Tool(
        name="verify",
        looks_at="inspect clauses of 1.1, 1.3, 1.4, 10.1: API objects, effective RBAC, and every node over SSH "
        "(etcd, certificates, kubelet, links, clock); writes evidence and report.html",
        agent="finbot-verify",
        command=lambda folder: verify_command(_lab_by(folder), folder / "runs"),
        proof=lambda measured, folder: verdicts(folder / "runs"),
    )


def lab_target() -> dict[str, Any]:
    """The lab's target without the bucket that its runs are kept in: the others send their results nowhere either."""
    target: dict[str, Any] = yaml.safe_load((TARGETS / "lab.yaml").read_text())
    del target["evidence"]["store"]
    return target


def _lab_by(folder: Path) -> str:
    file = folder / "lab.yaml"
    file.write_text(yaml.safe_dump(lab_target()))
    return str(file)


def verify_command(target: str, folder: Path) -> list[str]:
    """The read-only part against a target, with its evidence under ``folder``."""
    return [str(BIN / "verify"), "run", "--target", target, "--kind", "inspect", "--out", str(folder)]


def verdicts(folder: Path) -> str:
    """The verdicts of the run under ``folder`` and the number of findings. Raises `BenchError` where there are none."""
    try:
        record = RunStore.open(folder / "latest").read()
    except StoreError as error:
        raise BenchError(str(error)) from error
    count = Counter(result.verdict for result in record.results)
    subjects = sum(len(result.findings) for result in record.results)
    if not count[Verdict.passed] + count[Verdict.failed] or not subjects:
        raise BenchError("verify judged nothing")
    words = ", ".join(f"{count[verdict]} {verdict.value.replace('_', ' ')}" for verdict in Verdict if count[verdict])
    return f"{words}; {subjects:,} findings"


# --- the other two


def prowler() -> Tool:
    """Prowler with its Kubernetes checks. It writes CSV alone, the least it can."""
    program = installed("prowler") / "prowler"
    return Tool(
        name="prowler",
        looks_at="its CIS checks of pods (flags of the control plane's static pods among them) and RBAC; no node",
        agent="OpenAPI-Generator/",
        command=lambda folder: [
            *(str(program), "kubernetes", "--kubeconfig-file", str(KUBECONFIG), "--context", NAME),
            *("--no-banner", "--no-color", "-M", "csv", "-o", str(folder)),
        ],
        proof=lambda measured, folder: _prowler_found(folder),
    )


def _prowler_found(folder: Path) -> str:
    for table in folder.glob("*.csv"):
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        status = Counter(row["STATUS"] for row in rows)
        if status["FAIL"] + status["PASS"]:
            checks = len({row["CHECK_ID"] for row in rows})
            return f"{status['PASS']:,} pass, {status['FAIL']:,} fail of {checks} checks"
    raise BenchError("Prowler wrote no finding")


def trivy() -> Tool:
    """Trivy's configuration and RBAC checks, the ones built into it, for nothing can be fetched."""
    program = installed("trivy") / "trivy"
    return Tool(
        name="trivy",
        looks_at="its configuration checks of workloads and the control plane, and its RBAC checks; "
        "no image, and no node (its collector would start a pod on each)",
        agent="trivy/",
        command=lambda folder: [
            *(str(program), "k8s", "--kubeconfig", str(KUBECONFIG)),
            *("--scanners", "misconfig,rbac", "--report", "summary", "--disable-node-collector", "--skip-images"),
            *("--skip-check-update", "--skip-db-update", "--skip-java-db-update", "--skip-version-check"),
            *("--offline-scan", "--disable-telemetry", "--no-progress", "--cache-dir", str(folder / "cache")),
            NAME,
        ],
        proof=_trivy_found,
    )


def _trivy_found(measured: Measured, folder: Path) -> str:
    if measured.exit_code != 0:
        raise BenchError("Trivy failed")
    workloads, _, rbac = measured.output.partition("RBAC Assessment")
    found = [len(re.findall(r"│ [A-Z][A-Za-z]+/", table)) for table in (workloads, rbac)]
    if not all(found):
        raise BenchError("Trivy listed no workload, or no role")
    return f"{found[0]} workloads and {found[1]} roles with findings"


def installed(name: str) -> Path:
    """The bin folder of a tool's own environment, made from its lock where it is not there yet."""
    lock = HERE / f"{name}.lock"
    home = cache() / "bench"
    place = home / f"{name}-{content_key({'lock': lock.read_text(), 'python': sys.version})}"
    ready = place / "ready"
    if not ready.exists():
        print(f"  installing {name} from {lock.name}", flush=True)
        home.mkdir(parents=True, exist_ok=True)
        _install(name, [sys.executable, "-m", "venv", "--clear", str(place)])
        sync = [str(BIN / "uv"), "pip", "sync", "--quiet", "--require-hashes", str(lock)]
        _install(name, [*sync, "--python", str(place / "bin/python")])
        ready.touch()
    place.touch()
    forget_older(home, name)
    return place / "bin"


def _install(name: str, argv: list[str]) -> None:
    try:
        subprocess.run(argv, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.CalledProcessError as error:
        raise BenchError(f"{name} cannot be installed: {error.stderr.strip()[-500:]}") from error
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{name} could not be installed within {INSTALL_TIMEOUT_S} s") from error
