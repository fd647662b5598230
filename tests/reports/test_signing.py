"""Keys from wherever they lie sign the same envelope, and a key that does not sign leaves a run that says so."""

from __future__ import annotations

import importlib.util
import stat
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, Key, SecretsHandler, Signature, Signer, SSlibKey

from harness.verdict import decide
from policies.catalogue import Catalogue
from reports.canonical import NotCanonicalError, pretty
from reports.evidence import check
from reports.model import Verdict
from reports.signing import (
    PAYLOAD,
    PublicKey,
    SigningError,
    SigningKey,
    generate,
    load_public_key,
    load_signing_key,
    public_key,
    sign,
)
from reports.signing import Signature as Signed
from reports.store import MANIFEST, PAGE, SIGNATURE, RunStore
from tests.reports.judged import judged_run, one_of_each

Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def few_judged(root: Path, catalogue: Catalogue, key: SigningKey) -> RunStore:
    """A run with three results."""
    return judged_run(root, catalogue, key=key, cases=list(one_of_each())[:3])


def test_a_key_is_made_for_its_owner_alone_and_never_overwritten(tmp_path: Path) -> None:
    public = generate(tmp_path / "key")
    assert public == tmp_path / "key.pub"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert load_signing_key(str(tmp_path / "key")).id == load_public_key(public).id
    with pytest.raises(SigningError, match="never overwritten"):
        generate(tmp_path / "key")
    (tmp_path / "key").unlink()
    with pytest.raises(SigningError, match=r"key\.pub is there already"):
        generate(tmp_path / "key")
    assert not (tmp_path / "key").exists()
    with pytest.raises(SigningError, match="cannot write"):
        generate(tmp_path / "no/such/folder/key")


def test_a_key_in_the_environment_is_the_same_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(tmp_path / "key")
    monkeypatch.setenv("EVIDENCE", (tmp_path / "key").read_text())
    assert load_signing_key("env:EVIDENCE").id == load_signing_key(str(tmp_path / "key")).id
    monkeypatch.setenv("EVIDENCE", "")
    with pytest.raises(SigningError, match="EVIDENCE holds no key"):
        load_signing_key("env:EVIDENCE")


@pytest.mark.parametrize(
    "private",
    [
        ed25519.Ed25519PrivateKey.generate(),
        ec.generate_private_key(ec.SECP256R1()),
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
    ],
    ids=["ed25519", "ecdsa", "rsa"],
)
def test_whatever_signer_the_library_has_signs_a_run(tmp_path: Path, catalogue: Catalogue, private: Private) -> None:
    """The seam for keys that lie elsewhere, tried with the library's own local signer."""
    key = SigningKey(CryptoSigner(private, public_key(private.public_key())))
    store = few_judged(tmp_path, catalogue, key)
    (found,) = check(store.path, [PublicKey(public_key(private.public_key()))], decide).runs
    assert found.problems == ()
    assert found.signed_by == key.id


@pytest.mark.skipif(importlib.util.find_spec("hvac") is not None, reason="Vault's client is installed")
def test_a_key_in_vault_asks_for_its_client() -> None:
    with pytest.raises(SigningError, match="install the package hvac"):
        load_signing_key("hv:verify")


def pem(key: x25519.X25519PrivateKey | Private, passphrase: bytes = b"") -> bytes:
    """A private key as a file."""
    how = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no private key in PEM"),
        (b"\xff\xfe", "no private key in PEM"),
        (pem(ed25519.Ed25519PrivateKey.generate(), b"secret"), "with a passphrase"),
        (pem(x25519.X25519PrivateKey.generate()), "no private key in PEM that can sign"),
    ],
    ids=["empty", "binary", "passphrase", "not for signing"],
)
def test_a_file_that_is_no_key_is_a_sentence(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(SigningError, match=says):
        load_signing_key(str(tmp_path / "key"))
    with pytest.raises(SigningError, match="no public key in PEM"):
        load_public_key(tmp_path / "key")


@pytest.mark.parametrize("name", ["missing", ".", "~nobody-of-this-name/key"])
def test_a_key_that_cannot_be_read_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SigningError, match="cannot read the key"):
        load_signing_key(name)
    with pytest.raises(SigningError, match="cannot read the public key"):
        load_public_key(Path(name))


def test_the_statement_is_a_test_result_over_the_manifest(tmp_path: Path, catalogue: Catalogue) -> None:
    generate(tmp_path / "key")
    store = judged_run(
        tmp_path / "runs", catalogue, key=load_signing_key(str(tmp_path / "key")), made_by="ab12+changes"
    )
    # Read by the library alone, as any other tool of in-toto would.
    envelope = Envelope.from_dict(msgspec.json.decode((store.path / SIGNATURE).read_bytes()))
    assert envelope.payload_type == PAYLOAD == "application/vnd.in-toto+json"
    said = msgspec.json.decode(envelope.payload)
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    digest = sha256((store.path / MANIFEST).read_bytes()).hexdigest()
    assert said["subject"] == [{"name": "manifest.json", "digest": {"sha256": digest}}]
    predicate = said["predicate"]
    assert predicate["result"] == "FAILED"
    assert predicate["configuration"] == [
        {"name": "catalogue", "digest": {"sha256": catalogue.digest}},
        {"name": "suites", "digest": {"gitCommit": "ab12"}},
    ]
    results = store.read().results
    for verdict, name in (
        (Verdict.passed, "passedTests"),
        (Verdict.failed, "failedTests"),
        (Verdict.not_evaluated, "warnedTests"),
    ):
        named = [f"{r.requirement} {r.clause}" for r in results if r.verdict is verdict]
        assert named
        assert predicate[name] == named


class Refusing(Signer):
    """A keeper of keys that is away when it is needed."""

    def __init__(self, key: SSlibKey) -> None:
        self._key = key

    def sign(self, payload: bytes) -> Signature:
        """Does not."""
        raise ConnectionError("the keeper does not answer")

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> Signer:
        """Not used here."""
        raise NotImplementedError

    @property
    def public_key(self) -> Key:
        """The key that it would sign with."""
        return self._key


def test_a_key_that_does_not_sign_leaves_a_whole_run_that_says_so(tmp_path: Path, catalogue: Catalogue) -> None:
    key = SigningKey(Refusing(public_key(ed25519.Ed25519PrivateKey.generate().public_key())))
    store = few_judged(tmp_path, catalogue, key)
    manifest = store.read().manifest
    assert manifest is not None
    assert manifest.key == ""
    assert manifest.unsigned.endswith("did not sign: the keeper does not answer")
    assert not (store.path / SIGNATURE).exists()
    assert "evidence not signed: the key" in (store.path / PAGE).read_text()
    (found,) = check(store.path, [], decide).runs
    assert found.problems == ()


def edited(change: Callable[[dict[str, object]], object]) -> Callable[[bytes], bytes]:
    def edit(raw: bytes) -> bytes:
        said = msgspec.json.decode(raw)
        change(said)
        return pretty(said)

    return edit


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b"\n",
        lambda raw: raw.replace(b"\n", b" ", 1),
        lambda raw: b"[]\n",
        lambda raw: b"\xff" + raw,
        edited(lambda said: said.update(more="x")),
        edited(lambda said: said.update(payload=f"{said['payload']}\n")),
        edited(lambda said: said.update(payload="e30=")),
        edited(lambda said: said.update(payloadType="text/plain")),
        edited(lambda said: said.update(signatures=[])),
        edited(lambda said: said.update(signatures=[{"keyid": "a", "sig": "%"}])),
        edited(lambda said: said.pop("signatures")),
    ],
)
def test_an_envelope_that_is_not_written_as_ours_is_refused(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    generate(tmp_path / "key")
    said = {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "subject": [{"name": "manifest.json", "digest": {"sha256": "0" * 64}}],
    }
    raw = sign(said, load_signing_key(str(tmp_path / "key")))
    Signed.read(raw).verify([load_public_key(tmp_path / "key.pub")])
    with pytest.raises(NotCanonicalError):
        Signed.read(change(raw))
