"""A timestamp authority of a test's own: OpenSSL's, which answers as RFC 3161 says, behind a small HTTP server."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from reports.timestamp import Authority, load_authorities

TIMEOUT_S = 30
SETTINGS = """
[req]
distinguished_name = name
[name]
[tsa]
default_tsa = ours
[ours]
serial = {folder}/serial
signer_cert = {folder}/tsa.crt
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.3.6.1.4.1.4146.2.3
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
[stamps]
extendedKeyUsage = critical,timeStamping
[ca]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
"""


@dataclass
class OpenSsl:
    """Keys and certificates of an authority in a folder; ``answer`` is what it says instead, where that is set."""

    folder: Path
    url: str = ""
    answer: tuple[int, bytes] | None = None

    @property
    def ca(self) -> Path:
        """The certificate that its timestamps hold against."""
        return self.folder / "ca.crt"

    @property
    def authority(self) -> Authority:
        """How a run asks it."""
        return Authority(self.url, load_authorities(self.ca))

    def make(self) -> None:
        """A certificate authority, and a certificate that may stamp and nothing else."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "settings").write_text(SETTINGS.format(folder=self.folder))
        (self.folder / "serial").write_text("01\n")
        new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", "settings")
        self.openssl(
            *new, "-x509", "-days", "30", "-subj", "/CN=Tests", "-keyout", "ca.key", "-out", "ca.crt",
            "-extensions", "ca",
        )  # fmt: skip
        self.openssl(*new, "-subj", "/CN=Stamps", "-keyout", "tsa.key", "-out", "tsa.csr")
        self.openssl(
            "x509", "-req", "-in", "tsa.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
            "-extfile", "settings", "-extensions", "stamps", "-out", "tsa.crt",
        )  # fmt: skip

    def openssl(self, *arguments: str, given: bytes | None = None) -> bytes:
        """What openssl says in the folder."""
        command = ["openssl", *arguments]
        return subprocess.run(
            command, cwd=self.folder, input=given, capture_output=True, timeout=TIMEOUT_S, check=True
        ).stdout

    def reply(self, query: bytes) -> tuple[int, bytes]:
        """Its answer to a query."""
        if self.answer is not None:
            return self.answer
        (self.folder / "query").write_bytes(query)
        return 200, self.openssl("ts", "-reply", "-config", "settings", "-section", "ours", "-queryfile", "query")


@contextmanager
def stamping(folder: Path) -> Iterator[OpenSsl]:
    """An authority that answers until the block ends."""
    authority = OpenSsl(folder)
    authority.make()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            code, content = authority.reply(query)
            self.send_response(code)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        authority.url = f"http://127.0.0.1:{server.server_address[1]}/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield authority
        finally:
            server.shutdown()
            thread.join()
