"""An API server of the lab's own binaries, alone on loopback: nothing is in it. It needs neither the lab nor root."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bootstrap.lab.build import build
from fixtures.kubernetes import Api
from fixtures.unobservable import Unobservable
from fixtures.waiting import NotYet, WaitTimeout, wait_until
from tests.program import Program, ProgramError, started

CONTEXT = "finbot-alone"
READY_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Alone:
    """The running server."""

    kubeconfig: Path
    api: Api
    """As its administrator."""


@contextmanager
def alone(folder: Path, say: Callable[[str], None]) -> Iterator[Alone]:
    """etcd and API server, with all they write in ``folder``; ended on the way out.

    Raises ProgramError where one of them does not come up.
    """
    programs = build(["etcd", "kube-apiserver"], say)
    store, peers, port = _free_ports(3)
    token = secrets.token_hex(16)
    (folder / "tokens.csv").write_text(f"{token},administrator,administrator,system:masters\n")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    (folder / "accounts.key").write_bytes(key)
    kubeconfig = folder / "kubeconfig"
    server = f"https://127.0.0.1:{port}"
    with ExitStack() as running:

        def start(name: str, *arguments: str) -> Program:
            return running.enter_context(started(programs.binary(name), *arguments, log=folder / f"{name}.log"))

        certificate = folder / "apiserver.crt"
        start(
            "etcd",
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls=http://127.0.0.1:{store}",
            f"--advertise-client-urls=http://127.0.0.1:{store}",
            f"--listen-peer-urls=http://127.0.0.1:{peers}",
            "--unsafe-no-fsync",  # nothing here has to survive, and no read waits for the disk
            "--quota-backend-bytes=2147483648",
        )
        server_process = start(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{store}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={folder}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder / 'accounts.key'}",
            f"--service-account-signing-key-file={folder / 'accounts.key'}",
        )
        _await(certificate.exists, "the API server's certificate", server_process)
        kubeconfig.write_text(_kubeconfig(server, certificate, token))
        api = Api.from_kubeconfig(kubeconfig, CONTEXT)
        _await(lambda: _ready(api), f"the API server {server}", server_process)
        yield Alone(kubeconfig, api)


def _await(condition: Callable[[], bool], what: str, program: Program) -> None:
    def met() -> bool:
        program.check()
        return condition()

    try:
        wait_until(met, READY_TIMEOUT_S, what)
    except WaitTimeout as error:
        raise ProgramError(f"{error}. The end of {program.log.name}: {program.last_words()}") from error


def _ready(api: Api) -> bool:
    try:
        answer = api.request("GET", "/readyz")
    except Unobservable as error:
        raise NotYet(str(error)) from error
    if not answer.ok:
        raise NotYet(f"HTTP {answer.status}: {answer.message}")
    return True


def _free_ports(count: int) -> list[int]:
    """Ports of loopback that nothing listens on now."""
    with ExitStack() as open_ones:
        sockets = [open_ones.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _kubeconfig(server: str, certificate: Path, token: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": CONTEXT, "cluster": {"server": server, "certificate-authority": str(certificate)}}],
            "users": [{"name": CONTEXT, "user": {"token": token}}],
            "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
            "current-context": CONTEXT,
        }
    )
