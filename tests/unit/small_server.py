"""A small real HTTP or HTTPS server on this machine, to see what the client makes of answers, silence and nonsense."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Asked:
    """One request as the server received it."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: Any
    client_certificate: bool


Reply = Callable[[Asked], tuple[int, Any]]


@dataclass
class SmallServer:
    """Its address and what it was asked."""

    url: str
    asked: list[Asked] = field(default_factory=list)


def status(code: int, message: str) -> dict[str, Any]:
    """A Kubernetes Status object."""
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}


def granting(asked: Asked) -> tuple[int, Any]:
    """A cluster that grants everything, holds nothing and keeps nothing; a Reply, or the last case of one."""
    match asked.path.rpartition("/")[2]:
        case "token":
            return 201, {"status": {"token": "t"}}
        case "selfsubjectaccessreviews":
            return 201, {"status": {"allowed": True}}
        case "verify-journal" | "verify-disrupt" if asked.method == "GET":
            return 404, status(404, "not found")
    return 200, {"gitVersion": "v1.36.3", "kind": "AnyList", "metadata": {"resourceVersion": "1"}, "items": []}


@contextmanager
def serving(reply: Reply, tls: ssl.SSLContext | None = None) -> Iterator[SmallServer]:
    """Serve ``reply`` (status, JSON or bytes) until the block ends."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            url = urlsplit(self.path)
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            certificate = isinstance(self.connection, ssl.SSLSocket) and bool(
                self.connection.getpeercert(binary_form=True)
            )
            request = Asked(
                self.command, url.path, dict(parse_qsl(url.query)), dict(self.headers.items()), body, certificate
            )
            asked.append(request)
            code, content = reply(request)
            payload = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = answer  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "https" if tls is not None else "http"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield SmallServer(f"{scheme}://127.0.0.1:{server.server_port}", asked)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Pki:
    """Files of a throw-away authority: its certificate, a server's for 127.0.0.1 and a client's, each with its key."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path

    def server_context(self) -> ssl.SSLContext:
        """The server's side, which asks for a client certificate and does not insist."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server, self.server_key)
        context.load_verify_locations(self.ca)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context


def make_pki(folder: Path) -> Pki:
    """Write an authority and two certificates under ``folder``."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)

    def certificate(name: str, key: ec.EllipticCurvePrivateKey, authority: bool) -> x509.Certificate:
        names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(names)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if not authority:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        return builder.sign(ca_key, hashes.SHA256())

    def write(name: str, key: ec.EllipticCurvePrivateKey, authority: bool = False) -> tuple[Path, Path]:
        cert_file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
        subject = "test authority" if authority else name
        cert_file.write_bytes(certificate(subject, key, authority).public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cert_file, key_file

    ca, _ = write("ca", ca_key, authority=True)
    server, server_key = write("server", ec.generate_private_key(ec.SECP256R1()))
    client, client_key = write("client", ec.generate_private_key(ec.SECP256R1()))
    return Pki(ca, server, server_key, client, client_key)
