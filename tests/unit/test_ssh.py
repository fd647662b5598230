"""Commands over SSH against a real sshd on this machine: each way of failing has its own cause and its own sentence."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures import ssh
from fixtures.unobservable import Unobservable
from fixtures.waiting import wait_until
from policies.facts.base import Cause
from targets.model import Target, load_target

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_sshd = pytest.mark.skipif(SSHD is None, reason="no sshd on this machine (package openssh-server)")


@dataclass
class Server:
    folder: Path
    port: int

    def target(self, **settings: object) -> Target:
        """The lab's target, whose nodes are this sshd on loopback: the lab's bridge may be there or not."""
        values = {
            "user": getpass.getuser(),
            "key": str(self.folder / "key"),
            "known_hosts": str(self.folder / "known hosts"),
            "port": self.port,
        } | settings
        target = load_target("lab")
        assert target.ssh is not None
        cluster = target.cluster.model_copy(update={"source_address": None})
        return target.model_copy(update={"cluster": cluster, "ssh": target.ssh.model_copy(update=values)})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def keygen(file: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    return file.with_suffix(".pub").read_text().strip()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    assert SSHD is not None
    folder = tmp_path_factory.mktemp("ssh server")
    port = free_port()
    (folder / "authorized").write_text(keygen(folder / "key") + "\n")
    (folder / "known hosts").write_text(f"[127.0.0.1]:{port} {keygen(folder / 'host')}\n")
    keygen(folder / "stranger")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it leaves its rights behind
    options = {
        "HostKey": f'"{folder}/host"',
        "AuthorizedKeysFile": f'"{folder}/authorized"',
        "ListenAddress": "127.0.0.1",
        "Port": str(port),
        "StrictModes": "no",
        "UsePAM": "no",
        "PidFile": "none",
    }
    (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    with subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "config"], stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: answers(port), 10, "sshd to listen", interval_s=0.05)
        yield Server(folder, port)
        process.terminate()


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def refused(target: Target, script: str = "true", timeout_s: float = 15) -> Unobservable:
    with pytest.raises(Unobservable) as caught:
        ssh.run(target, "cp1", "127.0.0.1", script, timeout_s)
    return caught.value


@needs_sshd
def test_what_a_script_prints_comes_back_whatever_it_holds(server: Server) -> None:
    script = """printf '%s\\n' "it's 100 % \\$HOME"; printf 'gr\\303\\274n \\377'"""
    assert ssh.run(server.target(), "cp1", "127.0.0.1", script) == "it's 100 % $HOME\ngrün �"


@needs_sshd
def test_a_script_that_fails_is_invalid_and_says_its_error(server: Server) -> None:
    unseen = refused(server.target(), "echo some; echo 'no such table' >&2; exit 3").unseen
    assert (unseen.cause, unseen.what) == (Cause.INVALID, "cp1 over SSH (127.0.0.1)")
    assert "exit code 3: no such table" in unseen.detail


@needs_sshd
def test_a_key_that_is_not_let_in_is_forbidden(server: Server) -> None:
    unseen = refused(server.target(key=str(server.folder / "stranger"))).unseen
    assert unseen.cause is Cause.FORBIDDEN
    assert "Permission denied" in unseen.detail
    assert "authorized_keys" in unseen.remedy


@needs_sshd
def test_another_host_key_is_forbidden_and_never_accepted(server: Server) -> None:
    other = server.folder / "other hosts"
    other.write_text(f"[127.0.0.1]:{server.port} {(server.folder / 'stranger.pub').read_text()}")
    before = other.read_text()
    unseen = refused(server.target(known_hosts=str(other))).unseen
    assert unseen.cause is Cause.FORBIDDEN
    assert "known_hosts" in unseen.remedy
    assert "@@@" not in unseen.detail
    assert other.read_text() == before


@needs_sshd
def test_an_unknown_host_is_forbidden(server: Server) -> None:
    unseen = refused(server.target(known_hosts=str(server.folder / "nothing here"))).unseen
    assert unseen.cause is Cause.FORBIDDEN
    assert "Host key verification failed" in unseen.detail


@needs_sshd
def test_a_command_that_hangs_is_ended(server: Server) -> None:
    started = time.monotonic()
    unseen = refused(server.target(), "exec sleep 60", timeout_s=1).unseen
    assert time.monotonic() - started < 5
    assert (unseen.cause, unseen.detail) == (Cause.UNREACHABLE, "no answer within 1 s")


def anywhere(port: int, folder: Path) -> Target:
    return Server(folder, port).target()


def test_a_port_that_is_closed_is_unreachable(tmp_path: Path) -> None:
    unseen = refused(anywhere(free_port(), tmp_path)).unseen
    assert unseen.cause is Cause.UNREACHABLE
    assert "Connection refused" in unseen.detail
    assert "sshd" in unseen.remedy


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        unseen = refused(anywhere(int(silent.getsockname()[1]), tmp_path)).unseen
    assert unseen.cause is Cause.UNREACHABLE
    assert time.monotonic() - started < 2 * ssh.CONNECT_TIMEOUT_S


def test_a_target_without_ssh_is_told_what_to_fill_in() -> None:
    unseen = refused(load_target("lab").model_copy(update={"ssh": None})).unseen
    assert unseen.cause is Cause.ABSENT
    assert "known_hosts" in unseen.remedy


def test_a_node_is_reached_where_the_target_says(tmp_path: Path) -> None:
    target = Server(tmp_path, 22).target(hosts={"cp1": "cp1.example.net"})
    assert ssh.host_of(target, "cp1", "10.0.0.1") == "cp1.example.net"
    assert ssh.host_of(target, "cp2", "10.0.0.2") == "10.0.0.2"
