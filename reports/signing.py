"""The signature of a run: a DSSE envelope over an in-toto statement that names the manifest by its SHA-256.

The keys and the envelope are securesystemslib's, in-toto's own library, so that a key may lie in a file, in a variable
of the environment or in Vault, and other tools of in-toto read what is written here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.exceptions import Error, UnsupportedLibraryError, VerificationError

from reports.canonical import UNREADABLE, NotCanonicalError, pretty, read_pretty
from reports.model import ClauseResult, Manifest, Verdict

if TYPE_CHECKING:
    # Loaded where a signature is made or read: they bring boto3 along, a quarter of a second that other runs save.
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import Key, Signer, SSlibKey

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://in-toto.io/attestation/test-result/v0.1"
PAYLOAD: Final = "application/vnd.in-toto+json"
KEY_VARIABLE: Final = "VERIFY_KEY"
"""Environment variable that names the key where neither the command line nor the target does."""
ENVIRONMENT: Final = "env:"
VAULT: Final = "hv:"  # securesystemslib's own scheme for a key in Vault
MAKE_ONE: Final = "make one with `verify keygen --out FILE` and name it with --key"

_RESULTS: Final = {0: "PASSED", 10: "WARNED"}
_LISTS: Final = {
    Verdict.passed: "passedTests",
    Verdict.failed: "failedTests",
    Verdict.error: "failedTests",
    Verdict.not_evaluated: "warnedTests",
    Verdict.manual: "warnedTests",
}


class SigningError(Exception):
    """A key that cannot be used, or a signature that does not hold; `str()` is a sentence that says what to do."""


# --- keys


@dataclass(frozen=True)
class PublicKey:
    """What signatures are checked with."""

    key: Key

    @property
    def id(self) -> str:
        """Its fingerprint: the SHA-256 of the key in DER, as ``openssl pkey -pubin -outform DER | sha256sum`` says."""
        return str(self.key.keyid)


@dataclass(frozen=True)
class SigningKey:
    """What signs: any signer of securesystemslib whose key's id is the fingerprint."""

    signer: Signer

    @property
    def id(self) -> str:
        """The fingerprint of its public key."""
        return str(self.signer.public_key.keyid)

    @property
    def public(self) -> PublicKey:
        """What its signatures are checked with."""
        return PublicKey(self.signer.public_key)


def public_key(key: PublicKeyTypes) -> SSlibKey:
    """The library's form of a key, under its fingerprint. Raises ValueError for a kind that it does not know."""
    from securesystemslib.signer import SSlibKey

    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return SSlibKey.from_crypto(key, keyid=sha256(der).hexdigest())


def load_public_key(file: Path) -> PublicKey:
    """The public key in a PEM file. Raises SigningError."""
    try:
        return PublicKey(public_key(load_pem_public_key(file.read_bytes())))
    except OSError as error:
        sentence = f"cannot read the public key {file}: {error.strerror or error}. Name the .pub file of the key."
        raise SigningError(sentence) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        sentence = f"{file} is no public key in PEM: name the .pub file that `verify keygen` wrote."
        raise SigningError(sentence) from error


def load_signing_key(source: str) -> SigningKey:
    """The key that ``source`` names: a PEM file, ``env:NAME`` (PEM in a variable) or ``hv:NAME`` (Vault's transit).

    Vault is reached as VAULT_ADDR and VAULT_TOKEN say. Raises SigningError.
    """
    if source.startswith(VAULT):
        return _in_vault(source.removeprefix(VAULT))
    if source.startswith(ENVIRONMENT):
        name = source.removeprefix(ENVIRONMENT)
        pem = os.environ.get(name, "").encode()
        if not pem:
            raise SigningError(f"the environment variable {name} holds no key: put a private key in PEM there.")
        return _from_pem(pem, f"the environment variable {name}")
    try:
        return _from_pem(Path(source).expanduser().read_bytes(), source)
    except (OSError, RuntimeError) as error:  # a home that is not known is a RuntimeError
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise SigningError(f"cannot read the key {source}: {why}. Name another one, or {MAKE_ONE}.") from error


def generate(out: Path) -> Path:
    """Make an Ed25519 key: the private one in ``out`` (mode 0600), the public one beside it; returns the latter.

    Raises SigningError, and never overwrites: a key that is lost cannot sign again.
    """
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    beside = out.with_name(f"{out.name}.pub")
    try:
        for file in (out, beside):
            if file.exists():  # before any is written; O_EXCL below is for whoever writes at the same moment
                raise FileExistsError(errno.EEXIST, "there already", str(file))
        for file, content, mode in (
            (out, private, 0o600),
            (beside, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644),
        ):
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
                opened.write(content)
    except FileExistsError as error:
        sentence = f"{error.filename} is there already, and a key is never overwritten: name another file with --out."
        raise SigningError(sentence) from error
    except OSError as error:
        sentence = f"cannot write {error.filename or out}: {error.strerror or error}. Name another file with --out."
        raise SigningError(sentence) from error
    return beside


def _from_pem(pem: bytes, where: str) -> SigningKey:
    from securesystemslib.signer import CryptoSigner

    try:
        key = load_pem_private_key(pem, password=None)
        return SigningKey(CryptoSigner(key, public_key(key.public_key())))
    except TypeError as error:  # cryptography's word for a key that needs a passphrase
        raise SigningError(f"{where} holds a key with a passphrase: store it without one, or in Vault.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SigningError(f"{where} holds no private key in PEM that can sign: {MAKE_ONE}.") from error


def _in_vault(name: str) -> SigningKey:
    from securesystemslib.signer import VaultSigner

    try:
        uri, found = VaultSigner.import_(name)
        key = public_key(Ed25519PublicKey.from_public_bytes(bytes.fromhex(found.keyval["public"])))
        return SigningKey(VaultSigner.from_priv_key_uri(uri, key))
    except UnsupportedLibraryError as error:
        raise SigningError("a key in Vault needs Vault's client: install the package hvac beside this one.") from error
    except Exception as error:  # whatever Vault's client raises, the network's errors among them
        sentence = f"cannot use the key {name} in Vault: {error}. Look at VAULT_ADDR, VAULT_TOKEN and the key's policy."
        raise SigningError(sentence) from error


# --- the signature


def statement(manifest: Manifest, written: bytes, results: Sequence[ClauseResult]) -> dict[str, Any]:
    """The in-toto statement that is signed: its subject is the manifest, its predicate what the run said.

    A clause is named ``1.1 write-gap``; what could not be evaluated or waits for a person is a warned test, and what
    does not apply is none. ``result`` is PASSED for exit code 0 alone, WARNED for 10, FAILED for any other.
    """
    lists: dict[str, list[str]] = {"passedTests": [], "warnedTests": [], "failedTests": []}
    for result in results:
        if result.verdict in _LISTS:
            lists[_LISTS[result.verdict]].append(f"{result.requirement} {result.clause}")
    configuration: list[dict[str, Any]] = [{"name": "catalogue", "digest": {"sha256": manifest.catalogue_digest}}]
    if manifest.commit:
        configuration.append({"name": "suites", "digest": {"gitCommit": manifest.commit.partition("+")[0]}})
    return {
        "_type": STATEMENT,
        "subject": [{"name": "manifest.json", "digest": {"sha256": sha256(written).hexdigest()}}],
        "predicateType": PREDICATE,
        "predicate": {
            "result": _RESULTS.get(manifest.exit_code, "FAILED"),
            "configuration": configuration,
            **lists,
        },
    }


def sign(said: dict[str, Any], key: SigningKey) -> bytes:
    """The signed envelope as a file. Raises SigningError where the key's keeper does not sign."""
    from securesystemslib.dsse import Envelope

    envelope = Envelope(msgspec.json.encode(said, order="sorted"), PAYLOAD, {})
    try:
        envelope.sign(key.signer)
    except Exception as error:  # a signer far away raises whatever its client raises
        raise SigningError(f"the key {key.id[:12]} did not sign: {error}") from error
    return pretty(envelope.to_dict())


@dataclass(frozen=True)
class Signature:
    """An envelope read back; nothing of it is believed until ``verify`` has returned."""

    envelope: Envelope
    key: str
    """The fingerprint that it gives for its key."""
    subject: str
    """The SHA-256 that it gives for the manifest."""

    @classmethod
    def read(cls, raw: bytes) -> Signature:
        """Raises NotCanonicalError where any byte is not as it is written here."""
        from securesystemslib.dsse import Envelope

        said = read_pretty(raw)
        try:
            envelope = Envelope.from_dict(msgspec.json.decode(raw))  # which changes what it is given
            payload = msgspec.json.decode(envelope.payload)
            (key,) = envelope.signatures
            (subject,) = payload["subject"]
            found = cls(envelope, key, subject["digest"]["sha256"])
            proper = [envelope.payload_type, payload["_type"], payload["predicateType"]]
        except (Error, *UNREADABLE, ValueError, LookupError, TypeError, AttributeError) as error:
            raise NotCanonicalError("it is no DSSE envelope with one signature over an in-toto statement") from error
        if proper != [PAYLOAD, STATEMENT, PREDICATE] or subject["name"] != "manifest.json":
            raise NotCanonicalError("it is signed over something else than the manifest of a run")
        if envelope.to_dict() != said:
            raise NotCanonicalError("it holds more than an envelope, or base64 that is not written so")
        return found

    def verify(self, keys: Sequence[PublicKey]) -> None:
        """Returns where one of the keys signed it. Raises SigningError."""
        key = next((key for key in keys if key.id == self.key), None)
        if key is None:
            known = ", ".join(key.id[:12] for key in keys)
            raise SigningError(f"it is signed by the key {self.key[:12]}, which is not one that you trust ({known})")
        try:
            self.envelope.verify([key.key], 1)
        except VerificationError as error:
            raise SigningError(f"its signature was not made by the key {key.id[:12]} over what it holds") from error
