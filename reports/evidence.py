"""Whether the evidence of a run is what the run wrote: digests, signature, chain, and every fact judged again.

Nothing is asked of any network. What is wrong is named by its place: file, line, clause.
"""

from __future__ import annotations

import gzip
import os
import re
import stat
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from policies.facts.base import Fact
from reports.beginning import BEGINNING, beginning_of
from reports.canonical import UNREADABLE, NotCanonicalError, read_compact, read_pretty
from reports.chain import MANIFEST, Linked, breaks, links
from reports.model import Beginning, ClauseResult, Manifest, Verdict
from reports.provenance import changed_since
from reports.rejudge import Decide, code_of, difference, limits_in_force, rule_named
from reports.signing import PublicKey, Signature, SigningError
from reports.store import (
    LAST,
    LATEST,
    LINE_BY_LINE,
    RESULTS,
    SIGNATURE,
    TIMESTAMP,
    RunStore,
    StoreError,
    UnknownFactError,
    whole_lines,
)

if TYPE_CHECKING:  # a client of authorities, which a run without a timestamp does not need
    from reports.timestamp import Authorities

CHECKOUT: Final = Path(__file__).resolve().parent.parent
DECIDES: Final = ("harness/verdict.py", "reports/model.py")
"""What makes a verdict of findings, as paths of the checkout."""

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_FACT: Final = re.compile(r"facts/([0-9a-f]{64})\.json\.gz")
_CLAUSE: Final = re.compile(rb'"clause":"([\w-]+)".*"requirement":"([\d.]+)"')


@dataclass(frozen=True)
class Problem:
    """Something that is not as the run left it."""

    place: str
    """File, line and clause, as far as they can be told: ``findings.jsonl line 7 (1.1 write-gap)``."""
    what: str
    altered: bool = True
    """False where nothing shows that it was altered, but it could not be confirmed: its rule changed since, or it lies
    where it is not locked as asked for."""

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass(frozen=True)
class Checked:
    """What the check of one run came to. It is what the run wrote where there is no problem."""

    run: str
    finished: bool
    """False where the run left no manifest: it was interrupted, or is still under way."""
    signed_by: str
    """Fingerprint of the key whose signature holds; empty where there is none or no key was given to check it with."""
    files: int
    results: int
    again: int
    """Results that were judged again."""
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    """What a reader has to know although nothing is wrong."""
    stamped: datetime | None = None
    """When a trusted authority saw the signature. UTC; None where there is no such timestamp."""

    @property
    def altered(self) -> bool:
        """Whether something is not what the run wrote."""
        return any(problem.altered for problem in self.problems)


@dataclass(frozen=True)
class CheckedStore:
    """What the check of a folder of runs came to."""

    runs: tuple[Checked, ...]
    problems: tuple[Problem, ...]
    """What is wrong with the chain."""

    @property
    def altered(self) -> bool:
        """Whether something is not what the runs wrote, or a run was taken out."""
        return bool(self.problems) or any(run.altered for run in self.runs)

    @property
    def confirmed(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self.problems and not any(run.problems for run in self.runs)


def is_run(path: Path) -> bool:
    """Whether a folder is that of a run, or what is left of one."""
    return path.is_dir() and any((path / name).exists() for name in (MANIFEST, SIGNATURE, RESULTS, "facts"))


def check(
    path: Path,
    keys: Sequence[PublicKey],
    decide: Decide,
    checkout: Path = CHECKOUT,
    *,
    authorities: Authorities | None = None,
    one_folder: bool = True,
) -> CheckedStore:
    """Check a run by its folder, or every run of a folder and that none was taken out.

    ``keys`` are those whose signature is trusted; where there are any, a run that is not signed by one of them is not
    believed. The same holds for ``authorities`` and timestamps. ``checkout`` is asked by which commit a rule changed.
    ``one_folder``: see ``reports.chain.breaks``. Raises StoreError where there is no run, or where a file cannot
    be read.
    """
    folder = path.resolve()
    try:
        if is_run(folder):
            there = links(folder.parent)
            one = _Check(RunStore(folder), keys, decide, checkout, authorities).run()
            return CheckedStore((one,), tuple(_chain_of(folder.name, there, one_folder)))
        runs = [each for each in sorted(folder.iterdir()) if not each.is_symlink() and is_run(each)]
        if not runs:
            raise StoreError(f"{path} holds no run. Name the folder of a run, or the folder of runs that --out named.")
        broken = breaks(links(folder), one_folder=one_folder)
        chain = [Problem(f"chain at run {each.run}", each.what) for each in broken]
        latest = folder / LATEST
        if latest.is_symlink() and not latest.exists():
            chain.append(Problem(LATEST, f"it points at run {latest.readlink()}, which is not there"))
        checked = tuple(_Check(RunStore(each), keys, decide, checkout, authorities).run() for each in runs)
        return CheckedStore(checked, tuple(chain))
    except OSError as error:
        raise StoreError(f"cannot read {error.filename or path}: {error.strerror or error}.") from error


def _chain_of(run: str, there: Mapping[str, Linked], one_folder: bool) -> Iterator[Problem]:
    """What is wrong between a run and its neighbours; a run that was copied away from them says nothing of them."""
    for broken in breaks(there, one_folder=one_folder):
        if run == broken.after or (run == broken.run and len(there) > 1):
            yield Problem(f"chain at run {broken.run}", broken.what)


@dataclass
class _Check:
    store: RunStore
    keys: Sequence[PublicKey]
    decide: Decide
    checkout: Path
    authorities: Authorities | None = None
    manifest: Manifest | None = None
    known: Beginning | None = None
    """What the run was meant to be: its manifest, or what it wrote at its beginning where it was killed."""
    written: bytes | None = None
    """``manifest.json`` as it lies there."""
    signed_by: str = ""
    stamped: datetime | None = None
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Fact] = field(default_factory=dict)
    results: list[tuple[str, ClauseResult]] = field(default_factory=list)
    """Place and content of every line that can be read."""
    again: int = 0
    changed: dict[tuple[str, ...], str] = field(default_factory=dict)
    """How code changed since, by its files."""

    def run(self) -> Checked:
        self.read_manifest()
        self.check_signature()
        self.check_timestamp()
        self.read_results()
        there = self.check_files()
        for place, result in self.results:
            self.judge_again(place, result)
        return Checked(
            run=self.store.run_id,
            finished=self.written is not None,
            signed_by=self.signed_by,
            files=there,
            results=len(self.results),
            again=self.again,
            problems=tuple(dict.fromkeys(self.problems)),
            notes=tuple(self.notes),
            stamped=self.stamped,
        )

    def wrong(self, place: str, what: str) -> None:
        self.problems.append(Problem(place, what))

    def wrong_or_changed(self, place: str, what: str, code: tuple[str, ...]) -> None:
        """Something that is different today: because the code is, or because the evidence was altered."""
        if self.known is None:
            changed = "which commit judged it is not recorded, as the run did not end"
        else:
            if code not in self.changed:
                self.changed[code] = changed_since(self.checkout, self.known.commit, code)
            changed = self.changed[code]
        self.problems.append(Problem(place, f"{what}; {changed}" if changed else what, altered=not changed))

    # --- the manifest and its signature

    def read_manifest(self) -> None:
        signed = (self.store.path / SIGNATURE).exists()
        try:
            self.written = (self.store.path / MANIFEST).read_bytes()
        except FileNotFoundError:
            if signed:
                self.wrong(MANIFEST, "it is not there, although its signature is")
            else:
                self.notes.append("it has no manifest: it was interrupted or is under way, and nothing vouches for it")
            self.read_beginning()
            return
        try:
            read_pretty(self.written)
            self.manifest = msgspec.json.decode(self.written, type=Manifest)
        except NotCanonicalError as error:
            self.wrong(_line(MANIFEST, error.line), str(error))
        except UNREADABLE as error:
            self.wrong(MANIFEST, f"it is no manifest: {error}")
        self.known = self.manifest
        if self.manifest is None:
            return
        if self.manifest.run != self.store.run_id:
            self.notes.append(f"the folder is named otherwise than the run in it, {self.manifest.run}")
        if self.manifest.number == 0:
            self.notes.append("it is from before there was a chain")
        elif self.manifest.previous_run and not (self.store.path.parent / self.manifest.previous_run).exists():
            self.notes.append(f"run {self.manifest.previous_run}, which it follows, does not lie beside it")

    def read_beginning(self) -> None:
        """What a run that was killed can still say of itself."""
        try:
            self.known = beginning_of(self.store.path)
            if self.known is not None:
                read_pretty((self.store.path / BEGINNING).read_bytes())
        except NotCanonicalError as error:
            self.wrong(_line(BEGINNING, error.line), str(error))
        except StoreError as error:
            self.wrong(BEGINNING, str(error))

    def check_signature(self) -> None:
        try:
            raw = (self.store.path / SIGNATURE).read_bytes()
        except FileNotFoundError:
            self.without_signature()
            return
        try:
            signature = Signature.read(raw)
        except NotCanonicalError as error:
            self.wrong(_line(SIGNATURE, error.line), str(error))
            return
        if self.keys:
            try:
                signature.verify(self.keys)
            except SigningError as error:
                self.wrong(SIGNATURE, str(error))
                return
            self.signed_by = signature.key
        else:
            self.notes.append(
                f"it says it is signed by the key {signature.key[:12]}; name the public key with --public-key to see"
            )
        if self.written is not None and sha256(self.written).hexdigest() != signature.subject:
            self.wrong(MANIFEST, f"it is not the one that was signed: {SIGNATURE} names another digest")
        elif self.manifest is not None and self.manifest.key != signature.key:
            named = self.manifest.key[:12] or "none"
            self.wrong(SIGNATURE, f"it is of the key {signature.key[:12]}, and the manifest names {named}")

    def without_signature(self) -> None:
        if self.manifest is None:
            return
        if self.manifest.key:
            self.wrong(SIGNATURE, f"it is not there, although the manifest is signed by key {self.manifest.key[:12]}")
            return
        why = f"not signed: {self.manifest.unsigned or 'no reason is given'}"
        if self.keys:
            self.wrong(MANIFEST, f"it is {why}; whoever can write here could have written it")
        else:
            self.notes.append(f"{why}; whoever can write here could have changed all of it")

    def check_timestamp(self) -> None:
        """The authority's word on when the signature was there."""
        named = self.manifest.authority if self.manifest is not None else ""
        try:
            raw = (self.store.path / TIMESTAMP).read_bytes()
        except FileNotFoundError:
            why = self.manifest.unstamped if self.manifest is not None else ""
            if named:
                self.wrong(TIMESTAMP, f"it is not there, although the manifest names the authority {named}")
            elif self.authorities is not None and self.manifest is not None:
                self.wrong(MANIFEST, f"it has no timestamp: {why or 'no authority was asked'}")
            elif why:
                self.notes.append(f"no timestamp: {why}")
            return
        from reports.timestamp import StampError, read, verify

        if not named:
            self.wrong(TIMESTAMP, "the run did not write it: the manifest names no authority")
            return
        try:
            signature = (self.store.path / SIGNATURE).read_bytes()
            if self.authorities is None:
                at = read(raw, signature)
                said = f"it says it was stamped by {named} on {at:%Y-%m-%d %H:%M:%S} UTC"
                self.notes.append(f"{said}; name the authority's certificate with --timestamp-ca to see")
            else:
                self.stamped = verify(raw, signature, self.authorities)
        except FileNotFoundError:
            self.wrong(TIMESTAMP, "it is of a signature that is not there")
        except StampError as error:
            self.wrong(TIMESTAMP, str(error))

    # --- the files

    def check_files(self) -> int:
        """Every file against its digest; returns how many there are."""
        there = dict(self.files())
        for name in there:
            self.check_fact(name)
        if self.manifest is None:
            if self.written is None:
                self.check_loose_lines()
            return len(there)
        recorded = self.manifest.files
        for name in sorted({*there, *recorded}):
            place = self.place_of(name)
            if name not in there:
                self.wrong(place, "it is not there")
            elif name not in recorded:
                self.wrong(place, "the run did not write it: the manifest does not name it")
            elif there[name] != recorded[name]:
                self.altered(name, place)
        return len(there)

    def files(self) -> Iterator[tuple[str, str]]:
        """Path and SHA-256 of every file, without those that come after them all."""
        for folder, folders, names in os.walk(self.store.path):
            folders.sort()
            for entry in sorted([*names, *(f for f in folders if Path(folder, f).is_symlink())]):
                file = Path(folder, entry)
                name = file.relative_to(self.store.path).as_posix()
                if not stat.S_ISREG(file.lstat().st_mode):
                    self.wrong(name, "it is no plain file, and a run writes nothing else")
                elif name not in LAST:
                    yield name, sha256(file.read_bytes()).hexdigest()

    def altered(self, name: str, place: str) -> None:
        """Name the lines of a file that were altered, where it has lines of its own."""
        manifest = self.manifest
        if manifest is None or name not in manifest.lines:
            self.wrong(place, "it was altered: its SHA-256 is not the one in the manifest")
            return
        lines, rest = whole_lines((self.store.path / name).read_bytes())
        there = [sha256(line).hexdigest() for line in lines]
        recorded = manifest.lines[name]
        before = len(self.problems)
        for number, digest in enumerate(there, start=1):
            if digest not in recorded:
                instead = number <= len(recorded) and recorded[number - 1] not in there
                what = "it was altered" if instead else "it was added"
                self.wrong(_line(name, number, _clause(lines[number - 1])), what)
        for number, digest in enumerate(recorded, start=1):
            if digest not in there and (number > len(there) or there[number - 1] in recorded):
                self.wrong(_line(name, number), "it was taken out")
        if rest:
            self.wrong(_line(name, len(lines) + 1), "it was cut short")
        if len(self.problems) == before:
            self.wrong(place, "its lines were put in another order, or doubled, or the digests of the manifest mended")

    def check_fact(self, name: str) -> None:
        """A fact is named after what it holds."""
        if not name.startswith("facts/"):
            return
        found = _FACT.fullmatch(name)
        if found is None:
            if self.manifest is not None or not Path(name).name.startswith("."):  # a draft of a writer that was killed
                self.wrong(name, "it is no fact: a fact is named after its SHA-256")
            return
        try:
            content = gzip.decompress((self.store.path / name).read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            self.wrong(self.place_of(name), f"it cannot be unpacked: {error}")
            return
        if sha256(content).hexdigest() != found[1]:
            self.wrong(self.place_of(name), "what it holds is not what its name says: it was altered")

    def check_loose_lines(self) -> None:
        """The lines of a run that has no digests yet are at least such as are written here."""
        for name in LINE_BY_LINE:
            try:
                lines, rest = whole_lines((self.store.path / name).read_bytes())
            except FileNotFoundError:
                continue
            for number, line in enumerate(lines, start=1):
                try:
                    read_compact(line)
                except NotCanonicalError as error:
                    self.wrong(_line(name, number, _clause(line)), str(error))
            if rest:
                self.notes.append(f"{_line(name, len(lines) + 1)} was cut short in mid-write, and says nothing")

    def place_of(self, name: str) -> str:
        """A file, and the clauses that rest on it where it is a fact."""
        found = _FACT.fullmatch(name)
        if found is None:
            return name
        clauses = [f"{r.requirement} {r.clause}" for _, r in self.results if found[1] in r.facts]
        return f"{name} ({', '.join(dict.fromkeys(clauses))})" if clauses else name

    # --- the results

    def read_results(self) -> None:
        try:
            lines, _ = whole_lines((self.store.path / RESULTS).read_bytes())
        except FileNotFoundError:
            return
        run = self.manifest.run if self.manifest is not None else self.store.run_id
        for number, line in enumerate(lines, start=1):
            place = _line(RESULTS, number, _clause(line))
            try:
                result = msgspec.json.decode(line, type=ClauseResult)
            except UNREADABLE as error:
                self.wrong(place, f"it cannot be read: {error}")
                continue
            if result.run != run:
                self.wrong(place, f"it is of run {result.run}, not of {run}")
            if result.carried_from and self.known is None:
                self.wrong(place, f"it is carried over from run {result.carried_from}, and nothing says that it may be")
            self.results.append((place, result))

    def judge_again(self, place: str, result: ClauseResult) -> None:
        """The same rule on the same facts under the same limits has to find the same."""
        if not result.rule:
            if result.verdict is Verdict.passed:
                self.wrong(place, "it passed without a rule that judged anything")
            return
        code = code_of(result.rule)
        try:
            facts = [self.load(digest) for digest in result.facts]
            rule, limits = rule_named(result.rule), limits_in_force(result, self.known)
            not_before = self.known.not_before(result) if self.known is not None else _LONG_AGO
        except UnknownFactError as error:
            self.wrong_or_changed(place, str(error), code)
            return
        except LookupError as error:
            self.wrong_or_changed(place, str(error.args[0]), code)
            return
        except (StoreError, ValueError) as error:
            self.wrong(place, str(error))
            return
        self.again += 1
        try:
            findings = tuple(rule(*facts, limits))
        except Exception as error:  # noqa: BLE001  (a rule on facts it was not written for breaks in any way)
            if result.verdict is not Verdict.error or result.findings:
                self.wrong_or_changed(place, f"judged again, the rule breaks: {type(error).__name__}: {error}", code)
            return
        if result.verdict is Verdict.error and not result.findings:
            return
        different = difference(result.findings, findings)
        if different:
            self.wrong_or_changed(place, different, code)
            return
        decided = self.decide(findings, facts, not_before)
        # An error lies over whatever the findings come to, and is never a pass.
        if result.verdict is not Verdict.error and (result.verdict, result.cause) != (decided.verdict, decided.cause):
            what = f"its verdict is {result.verdict}, and its findings come to {decided.verdict}"
            self.wrong_or_changed(place, what, (*code, *DECIDES))

    def load(self, digest: str) -> Fact:
        if digest not in self.facts:
            self.facts[digest] = self.store.load_fact(digest)
        return self.facts[digest]


def _line(name: str, number: int | None, clause: str = "") -> str:
    at = f"{name} line {number}" if number is not None else name
    return f"{at} ({clause})" if clause else at


def _clause(line: bytes) -> str:
    """The clause that a line speaks of, also where the rest of it cannot be read."""
    found = _CLAUSE.search(line)
    return f"{found[2].decode()} {found[1].decode()}" if found else ""
