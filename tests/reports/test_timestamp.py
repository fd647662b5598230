"""A timestamp of an authority proves when a signature was there, offline; one that cannot be had costs nothing else."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from harness.verdict import decide
from policies.catalogue import Catalogue, load_catalogue
from reports.evidence import Checked, check
from reports.model import Manifest
from reports.signing import generate, load_public_key, load_signing_key
from reports.store import MANIFEST, PAGE, SIGNATURE, TIMESTAMP, RunStore
from reports.terminal import show
from reports.timestamp import Authorities, Authority, StampError, load_authorities, read, verify
from tests.reports.authority import OpenSsl, stamping
from tests.reports.judged import judged_run, one_of_each

CONTENT = b'{"payload": "eyJ9"}'


@pytest.fixture(scope="module")
def openssl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSsl]:
    """The authority that answers."""
    with stamping(tmp_path_factory.mktemp("authority")) as running:
        yield running


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authorities:
    """An authority that stamped nothing here."""
    made = OpenSsl(tmp_path_factory.mktemp("other"))
    made.make()
    return load_authorities(made.ca)


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    generate(tmp_path / "key")
    return tmp_path


def run_with(folder: Path, catalogue: Catalogue, authority: Authority, *, key: bool = True) -> RunStore:
    signs = load_signing_key(str(folder / "key")) if key else None
    return judged_run(folder / "runs", catalogue, key=signs, cases=list(one_of_each())[:2], authority=authority)


def checked(store: RunStore, folder: Path, trusted: Authorities | None) -> Checked:
    (found,) = check(store.path, [load_public_key(folder / "key.pub")], decide, authorities=trusted).runs
    return found


def manifest(store: RunStore) -> Manifest:
    said = store.read().manifest
    assert said is not None
    return said


def test_a_run_is_stamped_and_the_stamp_is_checked_offline(
    signed: Path, catalogue: Catalogue, openssl: OpenSsl, other: Authorities
) -> None:
    store = run_with(signed, catalogue, openssl.authority)
    assert (manifest(store).authority, manifest(store).unstamped) == (openssl.url, "")
    found = checked(store, signed, openssl.authority.trusted)
    assert found.problems == ()
    assert found.stamped is not None
    assert timedelta() <= datetime.now(UTC) - found.stamped < timedelta(minutes=5)
    unknown = checked(store, signed, None)
    assert unknown.problems == ()
    assert unknown.stamped is None
    assert any("it says it was stamped by" in note for note in unknown.notes)
    (problem,) = checked(store, signed, other).problems
    assert str(problem).startswith("manifest.tsr: no authority that is trusted gave it")


def test_a_stamp_of_something_else_or_none_at_all_is_named(
    signed: Path, catalogue: Catalogue, openssl: OpenSsl
) -> None:
    store = run_with(signed, catalogue, openssl.authority)
    stamp = store.path / TIMESTAMP
    stamp.write_bytes(openssl.authority.stamp(CONTENT))
    for trusted in (None, openssl.authority.trusted):
        assert [str(p) for p in checked(store, signed, trusted).problems] == [
            "manifest.tsr: it is a timestamp of something else"
        ]
    stamp.unlink()
    (problem,) = checked(store, signed, None).problems
    assert str(problem) == f"manifest.tsr: it is not there, although the manifest names the authority {openssl.url}"
    plain = judged_run(signed / "plain", catalogue, key=load_signing_key(str(signed / "key")), cases=())
    (problem,) = checked(plain, signed, openssl.authority.trusted).problems
    assert str(problem) == "manifest.json: it has no timestamp: no authority was asked"
    (plain.path / TIMESTAMP).write_bytes(openssl.authority.stamp((plain.path / SIGNATURE).read_bytes()))
    (problem,) = checked(plain, signed, openssl.authority.trusted).problems
    assert str(problem) == "manifest.tsr: the run did not write it: the manifest names no authority"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((503, b"busy"), "answered 503"),
        ((200, b"<html>"), "gave no timestamp that holds: it is no timestamp: "),
        ((200, bytes.fromhex("30373035020102")), "gave no timestamp that holds: it is no timestamp"),
    ],
)
def test_an_authority_that_gives_no_stamp_leaves_a_whole_run_that_says_why(
    signed: Path, catalogue: Catalogue, openssl: OpenSsl, answer: tuple[int, bytes], says: str
) -> None:
    openssl.answer = answer
    try:
        store = run_with(signed, catalogue, openssl.authority)
    finally:
        openssl.answer = None
    told_so(store, signed, says)


def test_an_authority_that_is_not_there_costs_the_stamp_alone(
    signed: Path, catalogue: Catalogue, openssl: OpenSsl
) -> None:
    store = run_with(signed, catalogue, Authority("http://127.0.0.1:1/", openssl.authority.trusted))
    told_so(store, signed, "http://127.0.0.1:1/ was not reached (ConnectionError)")


def told_so(store: RunStore, folder: Path, says: str) -> None:
    said = manifest(store)
    assert said.authority == ""
    assert says in said.unstamped
    assert said.key
    assert not (store.path / TIMESTAMP).exists()
    assert says in (store.path / PAGE).read_text()
    assert says in " ".join(console_of(store).split())
    found = checked(store, folder, None)
    assert found.problems == ()
    assert any(note.startswith("no timestamp: ") and says in note for note in found.notes)


def console_of(store: RunStore) -> str:
    """The screen at the end of a run."""
    told = io.StringIO()
    show(store.read(), load_catalogue(), Console(file=told, width=200))
    return told.getvalue()


def test_what_is_not_signed_has_nothing_to_stamp(signed: Path, catalogue: Catalogue, openssl: OpenSsl) -> None:
    store = run_with(signed, catalogue, openssl.authority, key=False)
    assert manifest(store).unstamped == "it is not signed, and a timestamp is one of the signature."
    assert (store.path / MANIFEST).exists()


def test_no_byte_that_a_stamp_rests_on_can_be_altered(openssl: OpenSsl, other: Authorities) -> None:
    """Every byte in turn. What may pass is the name of an algorithm, on which nothing rests; the time never moves."""
    raw = openssl.authority.stamp(CONTENT)
    trusted = openssl.authority.trusted
    at = verify(raw, CONTENT, trusted)
    passed = []
    for place in range(len(raw)):
        altered = bytearray(raw)
        altered[place] ^= 0x01
        try:
            assert verify(bytes(altered), CONTENT, trusted) == at
            passed.append(place)
        except StampError:
            pass
    assert len(passed) <= len("1.2.840.10045.4.3.2")
    with pytest.raises(StampError, match="something else"):
        read(raw, CONTENT + b" ")
    with pytest.raises(StampError, match="no authority that is trusted"):
        verify(raw, CONTENT, other)
    with pytest.raises(StampError, match="no authority that is trusted"):
        verify(raw, CONTENT, trusted, nonce=7)


def test_certificates_that_cannot_be_read_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StampError, match="cannot read the timestamp authority's certificates"):
        load_authorities(tmp_path / "none")
    (tmp_path / "empty").touch()
    with pytest.raises(StampError, match="holds no certificates in PEM"):
        load_authorities(tmp_path / "empty")
