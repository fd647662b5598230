"""Certificates and kubeconfigs that kubeadm does not make here: the kubelets', and the operator's."""

from __future__ import annotations

import base64
import ipaddress
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bootstrap.lab.layout import ENDPOINT, NAME
from bootstrap.lab.templates import write

VALID_DAYS = 365
"""As kubeadm's own certificates."""


@dataclass(frozen=True)
class Authority:
    """A certificate authority on disk, PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM."""

    certificate: str
    key: str


def issue(authority: Authority, common_name: str, groups: tuple[str, ...] = (), serving: tuple[str, ...] = ()) -> Pair:
    """A leaf certificate. `serving` lists the names and addresses of a server; without it the leaf is a client's."""
    ca = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    ca_key = serialization.load_pem_private_key(authority.key.read_bytes(), None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{authority.key} is not an elliptic curve key")
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_encipherment=False,
                content_commitment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH if serving else ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
    )
    if serving:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in serving]), critical=False
        )
    leaf = builder.sign(ca_key, hashes.SHA256())
    return Pair(
        leaf.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        ).decode(),
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def write_kubeconfig(path: Path, authority: Authority, user: str, credential: Pair | str) -> None:
    """A kubeconfig for the lab's endpoint. `credential`: a pair to embed, or the path of one file that holds both."""

    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    keys = (
        {"client-certificate": credential, "client-key": credential}
        if isinstance(credential, str)
        else {
            "client-certificate-data": encoded(credential.certificate),
            "client-key-data": encoded(credential.key),
        }
    )
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": NAME,
                "cluster": {
                    "server": ENDPOINT,
                    "certificate-authority-data": encoded(authority.certificate.read_text()),
                },
            }
        ],
        "users": [{"name": user, "user": keys}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": user}}],
        "current-context": NAME,
    }
    write(path, json.dumps(document, indent=2) + "\n", 0o600)
