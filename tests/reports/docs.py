"""The screens in the documents, made by running the commands that stand over them.

    python -m tests.reports.docs          # run them all and paste what they print
    python -m tests.reports.docs --lab    # also those that ask the lab, which must be up

A screen is a block of text under a comment that holds its command, ``<!-- verify gate --profile nightly -->``. The
commands find three runs of a lab in ``out/runs``, a key and a file of waivers, made here from cases of the rules.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from typer.testing import CliRunner

from harness.cli import app
from policies.catalogue import load_catalogue
from reports.signing import load_signing_key
from tests.reports.gate_runs import CLAUSES
from tests.reports.judged import all_cases, judged_run
from tests.rules.cases import Case

ROOT: Final = Path(__file__).resolve().parents[2]
DOCUMENTS: Final = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK: Final = re.compile(r"(<!-- (verify [^\n]*) -->\n```\w*\n)(.*?)(```\n)", re.DOTALL)
ON_THE_LAB: Final = ("verify preflight",)
WIDTH: Final = "80"
NIGHT: Final = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
LOOSENED: Final = {"1.1": {"api_write_gap": 45.0}}
SEED: Final = b"for the examples in the docs: 32"


def blocks(*, lab: bool) -> Iterator[tuple[Path, str]]:
    """Every document with a screen, and the screen's command: those that ask the lab, or the others."""
    for document in DOCUMENTS:
        for found in BLOCK.finditer(document.read_text()):
            if found[2].startswith(ON_THE_LAB) is lab:
                yield document, found[2]


def pasted(document: Path, printed: Callable[[str], str], *, lab: bool) -> str:
    """A document with the screens of its commands as they are printed now; those of the other kind stay."""

    def paste(found: re.Match[str]) -> str:
        if found[2].startswith(ON_THE_LAB) is not lab:
            return found[0]
        return found[1] + printed(found[2]) + found[4]

    return BLOCK.sub(paste, document.read_text())


def printed(command: str) -> str:
    """What a command prints on eighty columns, in the folder where this is called."""
    environment = {"COLUMNS": WIDTH, "NO_COLOR": "1", "VERIFY_PUBLIC_KEY": "", "TERM": "dumb"}
    result = CliRunner().invoke(app, command.split()[1:], env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    lines = (line.rstrip() for line in result.stdout.splitlines())
    return "\n".join(lines).strip("\n") + "\n"


CHANGING: Final = (
    r"\b(cp\d|w\d(, w\d)*)\b",
    r"\b10\.231\.0\.[12]\d\b",
    r"finbot-db-(\d|daily-\d+|pooler-\w+-\w+)\b",
    r"\d{8}-\d{6}\.db",
    r"\d+(\.\d+)? h old",
    r"\b\d+ pods?,",
)
"""What differs from hour to hour in the lab: who leads, where pods are and what they are called, the newest backup."""


def steady(text: str) -> str:
    """A screen of the lab without what differs from hour to hour there, and without its lines' ends."""
    text = " ".join(text.split())
    for changing in CHANGING:
        text = re.sub(changing, "…", text)
    return text


def recorded(folder: Path) -> None:
    """Lay down what the commands read: ``out/runs``, ``verify-key.pem.pub`` and ``waivers.yaml``."""
    catalogue = load_catalogue()
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    private = folder / "verify-key.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "verify-key.pem.pub").write_bytes(public)
    gate = (ROOT / "docs/gate.md").read_text()
    (folder / "waivers.yaml").write_text(gate.partition("```yaml\n")[2].partition("```")[0])
    signing = load_signing_key(str(private))
    for run_id, cases, hours, overrides in (
        ("20261123-020000-51c0de", _cases(_GAP, _MANY), 24.0, None),
        ("20261124-020000-7a11ed", _cases(_LONGER_GAP, _ONE, _UNSEEN), 0.0, LOOSENED),
        ("20261124-113000-90d01e", [_case(*_FINE)], -9.5, LOOSENED),
    ):
        judged_run(
            folder / "out/runs",
            catalogue,
            key=signing,
            cases=cases,
            started=NIGHT - timedelta(hours=hours),
            run_id=run_id,
            overrides=overrides,
            made_by="8f1f2c1e0d0c9e0d8d3f6f3f8a0f5b7a3c1d2e3f",
        )


_GAP: Final = ("write-gap", "no gap beyond the writer's own rhythm")
_LONGER_GAP: Final = ("write-gap", "a short gap")
_ONE: Final = ("wildcards", "a wildcard verb, on one kind and named")
_MANY: Final = ("wildcards", "selectors of every kind that select")
_UNSEEN: Final = ("mtu", "a node that could not be reached")
_FINE: Final = ("mtu", "room for the header; a node without pods has its tunnel")


def _case(clause: str, name: str) -> Case:
    return next(case for case in all_cases() if (case.clause, case.name) == (clause, name))


def _cases(*chosen: tuple[str, str]) -> list[Case]:
    """A case of each clause that has a check: the one chosen, or else the first that passes."""
    own = {(case.requirement, case.clause): case for case in (_case(*each) for each in chosen)}
    passing = [case for case in all_cases() if case.expect == "passed" and not case.overrides]
    fine = {(case.requirement, case.clause): case for case in reversed(passing)}
    return [own.get(name, fine[name]) for name in CLAUSES]


def main(lab: bool) -> None:
    """Paste every screen anew."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        recorded(Path())
        for document in dict.fromkeys(document for document, _ in blocks(lab=False)):
            document.write_text(pasted(document, printed, lab=False))
    if lab:
        with chdir(ROOT):
            for document in dict.fromkeys(document for document, _ in blocks(lab=True)):
                document.write_text(pasted(document, printed, lab=True))


if __name__ == "__main__":
    main("--lab" in sys.argv[1:])
