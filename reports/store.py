"""The evidence of one run: a folder that is written once, line by line, and is readable whenever the writer dies.

``<root>/<run id>/`` holds ``facts/<sha256>.json.gz`` (each observation once), ``findings.jsonl`` (a result a line),
``journal.jsonl`` (faults injected and undone) and, last, ``manifest.json``. ``<root>/latest`` points at the newest run.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib
import os
import secrets
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from msgspec import Struct

from policies.facts.base import Fact
from reports.model import ClauseResult, Manifest, RunRecord, RunSummary

LATEST: Final = "latest"
MANIFEST: Final = "manifest.json"
RESULTS: Final = "findings.jsonl"
JOURNAL: Final = "journal.jsonl"
PAGE: Final = "report.html"
FACTS_PACKAGE: Final = "policies.facts."


class StoreError(Exception):
    """The evidence cannot be written or read; `str()` is a sentence that says what to do."""


class _Envelope(Struct, frozen=True):
    type: str
    fact: msgspec.Raw


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}. "
            "Free space or give write permission there, or keep runs elsewhere with --out."
        ) from error


class RunStore:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def run_id(self) -> str:
        """UTC start and a random end, such as ``20261124-112034-4f9a1c``: sorts by time, fits a Kubernetes label."""
        return self.path.name

    @classmethod
    def create(cls, root: Path, run_id: str | None = None) -> Self:
        """A new run under ``root``, which ``root/latest`` then points at. Raises StoreError."""
        path = root / (run_id or f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}")
        with _writing(path):
            (path / "facts").mkdir(parents=True)
            pointer = root / f".{path.name}.latest"
            pointer.symlink_to(path.name)
            pointer.replace(root / LATEST)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """An earlier run, by its folder (``latest`` is followed). Raises StoreError."""
        resolved = path.resolve()
        if not (resolved / "facts").is_dir():
            raise StoreError(f"{path} holds no run. Start one with `verify run --target NAME`, or name another folder.")
        return cls(resolved)

    # --- writing

    def record_fact(self, fact: Fact) -> str:
        """Keep an observation; returns its SHA-256, which is also its name. The same fact is kept once."""
        kind = type(fact)
        canonical = msgspec.json.encode(
            {"type": f"{kind.__module__}.{kind.__qualname__}", "fact": fact}, order="sorted"
        )
        digest = hashlib.sha256(canonical).hexdigest()
        file = self._fact_file(digest)
        if not file.exists():
            # No time and no name inside, so that equal facts are equal files.
            write_whole(file, gzip.compress(canonical, mtime=0))
        return digest

    def append_result(self, result: ClauseResult) -> None:
        """Keep the result of a clause; it is on the disk when this returns."""
        self._append(RESULTS, result)

    def journal(self, entry: object) -> None:
        """Keep a line of the undo journal; it is on the disk when this returns."""
        self._append(JOURNAL, entry)

    def finish(self, summary: RunSummary) -> Manifest:
        """Write the manifest with the digests of all files there are. Nothing of the run is written after it."""
        manifest = Manifest(**msgspec.structs.asdict(summary), files=self.digests())
        encoded = msgspec.json.encode(manifest, order="sorted")
        write_whole(self.path / MANIFEST, msgspec.json.format(encoded, indent=1) + b"\n")
        return manifest

    def digests(self) -> dict[str, str]:
        """SHA-256 of every file by its path in the folder, without the manifest and the page drawn from it."""
        found: dict[str, str] = {}
        with _writing(self.path):
            for file in sorted(self.path.rglob("*")):
                name = file.relative_to(self.path).as_posix()
                if file.is_file() and name not in {MANIFEST, PAGE}:
                    found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        return found

    def _append(self, name: str, value: object) -> None:
        file = self.path / name
        with _writing(file), file.open("ab") as out:
            out.write(msgspec.json.encode(value, order="sorted") + b"\n")
            out.flush()
            os.fsync(out.fileno())

    # --- reading

    def read(self) -> RunRecord:
        """The run as far as it was written. Raises StoreError where the manifest is there and cannot be read."""
        results, damage = self._results()
        return RunRecord(
            run=self.run_id, path=str(self.path), manifest=self._manifest(), results=results, damage=damage
        )

    def load_fact(self, digest: str) -> Fact:
        """An observation by its SHA-256. Raises StoreError where it is missing, altered or of an unknown type."""
        file = self._fact_file(digest)
        try:
            canonical = gzip.decompress(file.read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            raise StoreError(
                f"cannot read the fact {file}: {error}. The evidence of this run is incomplete."
            ) from error
        if hashlib.sha256(canonical).hexdigest() != digest:
            raise StoreError(f"the fact {file} is not what its name says. It was altered after it was recorded.")
        try:
            envelope = msgspec.json.decode(canonical, type=_Envelope)
            fact: Fact = msgspec.json.decode(envelope.fact, type=_fact_type(envelope.type))
        except (msgspec.DecodeError, LookupError) as error:
            sentence = f"the fact {file} cannot be understood: {error}. Read it with the version that wrote it."
            raise StoreError(sentence) from error
        return fact

    def _fact_file(self, digest: str) -> Path:
        return self.path / "facts" / f"{digest}.json.gz"

    def _manifest(self) -> Manifest | None:
        file = self.path / MANIFEST
        try:
            return msgspec.json.decode(file.read_bytes(), type=Manifest)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            sentence = f"cannot read {file}: {error}. It was altered, or written by another version."
            raise StoreError(sentence) from error

    def _results(self) -> tuple[tuple[ClauseResult, ...], tuple[str, ...]]:
        file = self.path / RESULTS
        try:
            lines = file.read_bytes().split(b"\n")
        except FileNotFoundError:
            return (), ()
        except OSError as error:
            raise StoreError(f"cannot read {file}: {error.strerror or error}.") from error
        results: list[ClauseResult] = []
        damage: list[str] = []
        lines.pop()  # empty after the last newline; anything else was cut short in mid-write, and is no result
        for number, line in enumerate(lines, start=1):
            try:
                results.append(msgspec.json.decode(line, type=ClauseResult))
            except msgspec.DecodeError as error:
                damage.append(f"line {number} of {RESULTS} cannot be read ({error}); its result is missing here.")
        return tuple(results), tuple(damage)


def _fact_type(name: str) -> Any:
    """The class of a fact by its full name; only facts of ours, whatever the file says."""
    module, _, kind = name.rpartition(".")
    if module.startswith(FACTS_PACKAGE) and kind.isidentifier():
        with contextlib.suppress(ImportError):
            found = getattr(importlib.import_module(module), kind, None)
            if isinstance(found, type) and issubclass(found, Fact):
                return found
    raise LookupError(f"{name!r} is no type of fact")


def write_whole(file: Path, content: bytes) -> None:
    """The whole file or none of it, on the disk when this returns."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with _writing(file):
        try:
            with draft.open("xb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
