"""The recipe of docs/evidence.md, run as it is printed there, with nothing but openssl, sha256sum and a shell."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from policies.catalogue import Catalogue
from reports.signing import generate, load_public_key, load_signing_key
from tests.reports.authority import stamping
from tests.reports.judged import judged_run, one_of_each

DOCUMENT = Path(__file__).parents[2] / "docs/evidence.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> Path:
    """Two signed runs in ``runs``, the newer with a timestamp, and the keys."""
    root = tmp_path_factory.mktemp("recipe")
    for name in ("key.pem", "other.pem"):
        generate(root / name)
    key, cases = load_signing_key(str(root / "key.pem")), list(one_of_each())[:4]
    judged_run(root / "runs", catalogue, key=key, cases=cases)
    with stamping(root / "authority") as openssl:
        judged_run(root / "runs", catalogue, key=key, cases=cases, authority=openssl.authority)
    return root


@pytest.fixture
def recipe(folder: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the recipe on the newest run of a copy, after something was changed in it."""
    (block,) = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    shutil.copytree(folder, tmp_path / "copy", symlinks=True)

    def run(
        change: Callable[[Path], object] = lambda run: None, key: str = "key.pem"
    ) -> subprocess.CompletedProcess[str]:
        path = (tmp_path / "copy/runs/latest").resolve()
        change(path)
        variables = {
            "TIMESTAMP_CA": str(folder / "authority/ca.crt"),
            "RUN": str(path),
            "KEY": str(folder / f"{key}.pub"),
            "PATH": "/usr/bin:/bin",
            "TMPDIR": str(tmp_path),
        }
        return subprocess.run(
            ["sh", "-c", block], env=variables, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def test_it_holds_for_a_run_that_nobody_touched(recipe: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = recipe()
    said = [line for line in done.stderr.splitlines() if not line.startswith("Using configuration from ")]
    assert (done.returncode, said) == (0, [])
    assert "Signature Verified Successfully" in done.stdout
    assert "Verification: OK" in done.stdout
    assert done.stdout.count(".json: OK") == 2  # the manifest, and that of the run before
    assert done.stdout.endswith("all of it holds\n")


def replaced(name: str, old: str, new: str) -> Callable[[Path], object]:
    def change(run: Path) -> None:
        file = run / name
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new, 1))

    return change


def before(run: Path) -> Path:
    """The manifest of the run before."""
    (other,) = (r for r in run.parent.iterdir() if not r.is_symlink() and r != run)
    return other / "manifest.json"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (replaced("findings.jsonl", "suites/", "suitez/"), "findings.jsonl: FAILED"),
        (replaced("report.html", "<h1", "<h2"), "report.html: FAILED"),
        (replaced("manifest.json", '"exit_code": 1', '"exit_code": 0'), "manifest.json: FAILED"),
        (replaced("manifest.dsse.json", '"payload": "e', '"payload": "f'), "Signature Verification Failure"),
        (lambda run: shutil.copy(run / "manifest.json", run / "manifest.tsr"), "Verification: FAILED"),
        (lambda run: (run / "junit.xml").unlink(), "junit.xml: FAILED open or read"),
        (lambda run: (run / "more").touch(), "> more"),
        (lambda run: before(run).write_text("{}"), "manifest.json: FAILED"),
    ],
)
def test_it_names_what_was_altered(
    recipe: Callable[..., subprocess.CompletedProcess[str]], change: Callable[[Path], object], says: str
) -> None:
    done = recipe(change)
    assert done.returncode != 0
    assert says in done.stdout + done.stderr


def test_it_refuses_another_key(recipe: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = recipe(key="other.pem")
    assert done.returncode != 0
    assert "Signature Verification Failure" in done.stdout + done.stderr


def test_a_fingerprint_is_what_openssl_says(folder: Path) -> None:
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", folder / "key.pem.pub", "-outform", "DER"], capture_output=True, check=True
    )
    said = subprocess.run(["sha256sum"], input=der.stdout, capture_output=True, check=True).stdout.split()[0].decode()
    assert load_public_key(folder / "key.pem.pub").id == said
