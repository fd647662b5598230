"""Canaries: secrets with a name for where they live, and a search for them in everything that was written.

A secret is looked for by stretches of bytes that only it has: as they are, as base64 (at each of the three places
within a group, and that encoded once more), as hex, percent-encoded and in UTF-16, with the line breaks that a wrapped
text has taken out, and inside of what is packed with gzip or zip. What is planted has letters and digits only in its
stretch, which every way of quoting leaves as they are; a private key is looked for by its private numbers, for the
other half of it stands in certificates.
"""

from __future__ import annotations

import base64
import gzip
import io
import secrets
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

STRETCH: Final = 16  # bytes; not there by chance, and of two in a row one is within a line of PEM
DEEPEST: Final = 4  # archives within archives


@dataclass(frozen=True)
class Canary:
    """One secret. Any of its ``stretches`` betrays it."""

    place: str
    """Where it lives, for a reader."""
    stretches: tuple[bytes, ...] = field(repr=False)
    text: str = field(default="", repr=False)
    """All of it, for what is planted."""

    @classmethod
    def new(cls, place: str) -> Canary:
        """A random one to be planted, with characters in it that every format has to quote."""
        core = secrets.token_hex(12)
        return cls(place, (core.encode(),), f'{core}/+<&"%')

    @classmethod
    def of_bytes(cls, place: str, secret: bytes) -> Canary:
        """One that is there already: 32 bytes or more."""
        assert len(secret) >= 2 * STRETCH, f"{place}: {len(secret)} bytes are too few to look for"
        return cls(place, (secret[:STRETCH], secret[STRETCH : 2 * STRETCH]))

    @classmethod
    def of_key(cls, place: str, pem: str) -> Canary:
        """One that is there already: a private key in PEM or as OpenSSH writes it."""
        load = load_ssh_private_key if "OPENSSH" in pem else load_pem_private_key
        key = load(pem.encode(), password=None)
        if isinstance(key, RSAPrivateKey):
            number = key.private_numbers().d
            return cls.of_bytes(place, number.to_bytes((number.bit_length() + 7) // 8))
        if isinstance(key, EllipticCurvePrivateKey):
            return cls.of_bytes(place, key.private_numbers().private_value.to_bytes(key.key_size // 8))
        assert isinstance(key, Ed25519PrivateKey), f"{place}: a key of another kind, {type(key).__name__}"
        return cls.of_bytes(place, key.private_bytes_raw())


def encoded(stretch: bytes) -> Mapping[str, bytes]:
    """The ways in which a stretch may stand in a file, by name."""
    ways = {
        "raw": stretch,
        "hex": stretch.hex().encode(),
        "HEX": stretch.hex().upper().encode(),
        "percent": "".join(f"%{byte:02x}" for byte in stretch).encode(),
        "PERCENT": "".join(f"%{byte:02X}" for byte in stretch).encode(),
        "utf-16": bytes(byte for each in stretch for byte in (each, 0)),
    }
    for place, once in enumerate(in_base64(stretch)):
        ways[f"base64+{place}"] = once
        ways[f"base64url+{place}"] = once.translate(bytes.maketrans(b"+/", b"-_"))
        # A Secret's data, or a key in PEM, in something that is encoded as well.
        ways |= {f"base64+{place} in base64+{outer}": twice for outer, twice in enumerate(in_base64(once))}
    return ways


def in_base64(raw: bytes) -> tuple[bytes, ...]:
    """The characters that these bytes alone fill, with none, one and two bytes before them, whatever follows."""
    return tuple(
        base64.b64encode(b"\0" * before + raw)[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        for before in range(3)
    )


def looked_through(name: str, content: bytes, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """A file as it is, without its line breaks, and what is packed in it."""
    yield name, content
    yield f"{name} (unwrapped)", content.replace(b"\\n", b"").translate(None, b"\r\n\t ")
    if depth == DEEPEST:
        return
    if content.startswith(b"\x1f\x8b"):
        try:
            yield from looked_through(f"{name} (gzip)", gzip.decompress(content), depth + 1)
        except (OSError, EOFError, zlib.error):
            return
    if content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            for member in packed.namelist():
                yield from looked_through(f"{name} (zip: {member})", packed.read(member), depth + 1)


def found(canaries: Iterable[Canary], folder: Path) -> list[str]:
    """``<place> in <file>, <way>`` for every secret that a file of the folder holds, its name included."""
    wanted = [(c.place, way, form) for c in canaries for s in c.stretches for way, form in encoded(s).items()]
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and not file.is_symlink()]
    assert files, f"{folder} is empty: there is nothing to look through"
    told: dict[str, None] = {}
    for file in files:
        shown = str(file.relative_to(folder))
        for name, content in (("its name", shown.encode()), *looked_through(shown, file.read_bytes())):
            told |= {f"{place} in {name}, {way}": None for place, way, form in wanted if form in content}
    return list(told)
