"""An RFC 3161 timestamp over the signature of a run: an authority's word that it was there at a time.

A key that is stolen later can sign what it likes, but not in the past. The token is verified without any network,
against the authority's certificate, also long after that has expired: what counts is the time of the stamp.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

TIMEOUT_S: Final = 10.0
QUERY: Final = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
GRANTED: Final = 0
STATUS: Final = {1: "granted otherwise than asked", 2: "refused", 3: "waiting"}
SHA256: Final = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")


class StampError(Exception):
    """A timestamp that could not be had, or that does not hold; `str()` is a sentence that says what to do."""


@dataclass(frozen=True)
class Authorities:
    """Whose timestamps are trusted: certificates of authorities, and of whoever issued these."""

    certificates: tuple[x509.Certificate, ...]


@dataclass(frozen=True)
class Authority:
    """What is asked for a timestamp, and what its answer must hold against."""

    url: str
    trusted: Authorities

    def stamp(self, content: bytes) -> bytes:
        """A timestamp over ``content``, verified. Raises StampError."""
        import requests

        request = TimestampRequestBuilder().data(content).hash_algorithm(HashAlgorithm.SHA256).build()
        try:
            answer = requests.post(self.url, request.as_bytes(), headers=QUERY, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            why = type(error).__name__  # the rest of it spells out the client's insides
            raise StampError(f"the timestamp authority {self.url} was not reached ({why}): look at its URL.") from error
        if not answer.ok:
            raise StampError(f"the timestamp authority {self.url} answered {answer.status_code}: look at its URL.")
        try:
            verify(answer.content, content, self.trusted, nonce=request.nonce)
        except StampError as error:
            raise StampError(f"the timestamp authority {self.url} gave no timestamp that holds: {error}") from error
        return answer.content


def load_authorities(file: Path) -> Authorities:
    """The certificates in a PEM file. Raises StampError."""
    try:
        return Authorities(tuple(x509.load_pem_x509_certificates(file.read_bytes())))
    except OSError as error:
        sentence = f"cannot read the timestamp authority's certificates {file}: {error.strerror or error}."
        raise StampError(f"{sentence} Name the PEM file that the authority publishes.") from error
    except ValueError as error:
        sentence = f"{file} holds no certificates in PEM: name the file that the timestamp authority publishes."
        raise StampError(sentence) from error


def read(raw: bytes, content: bytes) -> datetime:
    """The time that a timestamp gives for ``content``, on nobody's word but its own. UTC. Raises StampError."""
    try:
        response = decode_timestamp_response(raw)
        if response.status != GRANTED:
            said = STATUS.get(response.status, f"status {response.status}")
            raise StampError(f"it is no timestamp: {said}, {'; '.join(response.status_string) or 'without a reason'}")
        signed = response.signed_data
        # What no signature covers, but RFC 5652 says; a set can be asked once.
        if signed.version != 3 or any(signer.version != 1 for signer in signed.signer_infos):
            raise StampError("it is not encoded as a timestamp is")
        imprint = response.tst_info.message_imprint
        same = (imprint.hash_algorithm, imprint.message) == (SHA256, sha256(content).digest())
        at = response.tst_info.gen_time
    except ValueError as error:
        raise StampError(f"it is no timestamp: {error}") from error
    if not same:
        raise StampError("it is a timestamp of something else")
    return at


def verify(raw: bytes, content: bytes, trusted: Authorities, nonce: int | None = None) -> datetime:
    """The time at which a trusted authority saw ``content``. UTC. Raises StampError."""
    at = read(raw, content)
    own = [c for c in trusted.certificates if c.issuer == c.subject]
    between = [c for c in trusted.certificates if c.issuer != c.subject]
    try:
        verifier = VerifierBuilder(roots=own or between, intermediates=between if own else [], nonce=nonce).build()
        verifier.verify_message(decode_timestamp_response(raw), content)
    except (VerificationError, ValueError) as error:
        raise StampError(f"no authority that is trusted gave it: {error}") from error
    return at
