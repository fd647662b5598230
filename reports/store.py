"""The evidence of one run: a folder that is written once, line by line, and is readable whenever the writer dies.

``<root>/<run id>/`` holds ``facts/<sha256>.json.gz`` (each observation once), ``findings.jsonl`` (a result a line),
``journal.jsonl`` (faults injected and undone), the page and, last, ``manifest.json`` with its signature.
``<root>/latest`` points at the newest run.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import importlib
import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
from msgspec import Struct

from policies.facts.base import Fact
from reports import chain
from reports.canonical import UNREADABLE, compact, pretty
from reports.chain import Link, next_link
from reports.model import ClauseResult, Manifest, RunRecord, RunSummary

if TYPE_CHECKING:  # cryptography, which a run without a key does not need
    from reports.signing import SigningKey
    from reports.timestamp import Authority

LATEST: Final = "latest"
MANIFEST: Final = chain.MANIFEST
SIGNATURE: Final = "manifest.dsse.json"
TIMESTAMP: Final = "manifest.tsr"
LAST: Final = (TIMESTAMP, SIGNATURE, MANIFEST)
"""What is written after everything else, in this order, and is not in the manifest: that comes last."""
RESULTS: Final = "findings.jsonl"
JOURNAL: Final = "journal.jsonl"
PAGE: Final = "report.html"
NOTHING_TO_STAMP: Final = "it is not signed, and a timestamp is one of the signature."
LINE_BY_LINE: Final = (RESULTS, JOURNAL)
FACTS_PACKAGE: Final = "policies.facts."


class StoreError(Exception):
    """The evidence cannot be written or read; `str()` is a sentence that says what to do."""


class UnknownFactError(StoreError):
    """A fact that is whole, of a type or with fields that this version does not know."""


class _Envelope(Struct, frozen=True):
    type: str
    fact: msgspec.Raw


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritten(path, error) from error


def unwritten(path: Path, error: OSError) -> StoreError:
    """What is said where a file of a run cannot be written."""
    return StoreError(
        f"cannot write {path}: {error.strerror or error}. "
        "Free space or give write permission there, or keep runs elsewhere with --out."
    )


class RunStore:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spent_s = 0.0
        """Seconds spent on writing down facts, results and journal; closing the run is not in it."""

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
        began = time.monotonic()
        kind = type(fact)
        canonical = compact({"type": f"{kind.__module__}.{kind.__qualname__}", "fact": fact})
        digest = hashlib.sha256(canonical).hexdigest()
        file = self._fact_file(digest)
        if not file.exists():
            # No time and no name inside, so that equal facts are equal files.
            write_whole({file: gzip.compress(canonical, mtime=0)})
        self.spent_s += time.monotonic() - began
        return digest

    def append_result(self, result: ClauseResult) -> None:
        """Keep the result of a clause; it is on the disk when this returns."""
        self._append(RESULTS, result)

    def journal(self, entry: object) -> None:
        """Keep a line of the undo journal; it is on the disk when this returns."""
        self._append(JOURNAL, entry)

    def finish(
        self,
        summary: RunSummary,
        draw: Callable[[RunRecord], object] | None = None,
        key: SigningKey | None = None,
        unsigned: str = "",
        authority: Authority | None = None,
    ) -> Manifest:
        """Close the run: draw its page, write the manifest with the digests of all files there are, sign and stamp it.

        ``draw`` draws the page into the folder; ``unsigned`` says why there is no key. Nothing of the run is written
        after this. A key that does not sign leaves the run unsigned, an authority that does not answer leaves it
        without a timestamp, and the manifest says why. Raises StoreError.
        """
        with self._alone_at_the_end() as link:
            said = msgspec.structs.asdict(summary) | msgspec.structs.asdict(link)
            base = Manifest(**said, unsigned=unsigned, unstamped=NOTHING_TO_STAMP if authority else "")
            if key is not None:
                from reports.signing import SigningError
                from reports.timestamp import StampError

                signed = msgspec.structs.replace(base, key=key.id, unsigned="", unstamped="")
                try:
                    if authority is not None:
                        try:
                            stamped = msgspec.structs.replace(signed, authority=authority.url)
                            return self._seal(stamped, draw, key, authority)
                        except StampError as error:
                            signed = msgspec.structs.replace(signed, unstamped=str(error))
                    return self._seal(signed, draw, key)
                except SigningError as error:
                    base = msgspec.structs.replace(base, unsigned=str(error))
            return self._seal(base, draw)

    def _seal(
        self,
        base: Manifest,
        draw: Callable[[RunRecord], object] | None,
        key: SigningKey | None = None,
        authority: Authority | None = None,
    ) -> Manifest:
        record = self.read()
        try:
            if draw is not None:
                draw(msgspec.structs.replace(record, manifest=msgspec.structs.replace(base, files=self.digests())))
        finally:  # a page that cannot be drawn is no reason to leave the evidence open
            manifest = msgspec.structs.replace(base, files=self.digests(), lines=self._line_digests())
            written = pretty(manifest)
            last = {self.path / MANIFEST: written}
            if key is not None:
                from reports.signing import sign, statement

                signature = sign(statement(manifest, written, record.results), key)
                last = {self.path / SIGNATURE: signature, **last}
                if authority is not None:
                    last = {self.path / TIMESTAMP: authority.stamp(signature), **last}
            write_whole(last)
        return manifest

    @contextlib.contextmanager
    def _alone_at_the_end(self) -> Iterator[Link]:
        """Two runs that end together end one after the other, each in the chain of their folder."""
        root = self.path.parent
        with _writing(root):
            folder = os.open(root, os.O_RDONLY)
            try:
                # Where the file system has no locks, two runs may follow the same one, which the check will say.
                with contextlib.suppress(OSError):
                    fcntl.flock(folder, fcntl.LOCK_EX)
                yield next_link(root, self.run_id)
            finally:
                os.close(folder)

    def digests(self) -> dict[str, str]:
        """SHA-256 of every file by its path in the folder, without the manifest, its signature and its timestamp."""
        found: dict[str, str] = {}
        with _writing(self.path):
            for file in sorted(self.path.rglob("*")):
                name = file.relative_to(self.path).as_posix()
                if file.is_file() and name not in LAST:
                    found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        return found

    def _line_digests(self) -> dict[str, tuple[str, ...]]:
        found = {}
        for file in (self.path / name for name in LINE_BY_LINE):
            if file.exists():
                lines, _ = whole_lines(file.read_bytes())
                found[file.name] = tuple(hashlib.sha256(line).hexdigest() for line in lines)
        return found

    def _append(self, name: str, value: object) -> None:
        began = time.monotonic()
        file = self.path / name
        with _writing(file), file.open("ab") as out:
            out.write(compact(value) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        self.spent_s += time.monotonic() - began

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
        except (*UNREADABLE, LookupError) as error:
            sentence = f"the fact {file} cannot be understood: {error}. Read it with the version that wrote it."
            raise UnknownFactError(sentence) from error
        return fact

    def _fact_file(self, digest: str) -> Path:
        return self.path / "facts" / f"{digest}.json.gz"

    def _manifest(self) -> Manifest | None:
        file = self.path / MANIFEST
        try:
            return msgspec.json.decode(file.read_bytes(), type=Manifest)
        except FileNotFoundError:
            return None
        except (OSError, *UNREADABLE) as error:
            sentence = f"cannot read {file}: {error}. It was altered, or written by another version."
            raise StoreError(sentence) from error

    def _results(self) -> tuple[tuple[ClauseResult, ...], tuple[str, ...]]:
        file = self.path / RESULTS
        try:
            lines, _ = whole_lines(file.read_bytes())  # one that was cut short in mid-write is no result
        except FileNotFoundError:
            return (), ()
        except OSError as error:
            raise StoreError(f"cannot read {file}: {error.strerror or error}.") from error
        results: list[ClauseResult] = []
        damage: list[str] = []
        for number, line in enumerate(lines, start=1):
            try:
                results.append(msgspec.json.decode(line, type=ClauseResult))
            except UNREADABLE as error:
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


def whole_lines(raw: bytes) -> tuple[list[bytes], bytes]:
    """The lines of a file that is written line by line, and what a writer that was killed left of its last one."""
    *lines, rest = raw.split(b"\n")
    return lines, rest


def write_whole(contents: Mapping[Path, bytes]) -> None:
    """Each file whole or not at all, on the disk when this returns; they appear in their order, right after each other.

    All are in the same folder. Raises StoreError.
    """
    drafts = {file: file.with_name(f".{file.name}.{secrets.token_hex(4)}") for file in contents}
    with _writing(next(iter(contents))):
        try:
            for file, draft in drafts.items():
                with draft.open("xb") as out:
                    out.write(contents[file])
                    out.flush()
                    os.fsync(out.fileno())
            for file, draft in drafts.items():
                draft.replace(file)
        finally:
            for draft in drafts.values():
                draft.unlink(missing_ok=True)
        folder = os.open(next(iter(contents)).parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
