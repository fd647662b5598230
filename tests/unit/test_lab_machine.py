"""The lab's view of the machine: processes, ports, certificates, waiting."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from typer.testing import CliRunner

from bootstrap.lab import layout, pki, preflight, status
from bootstrap.lab.cgroups import LAB_WEIGHT, WEIGHTS, Cgroup
from bootstrap.lab.cli import app
from bootstrap.lab.commands import run
from bootstrap.lab.errors import LabError
from bootstrap.lab.waiting import wait_until


@pytest.fixture
def authority(tmp_path: Path) -> pki.Authority:
    """A self-signed authority as kubeadm makes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    from datetime import UTC, datetime, timedelta

    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "ca.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pki.Authority(tmp_path / "ca.crt", tmp_path / "ca.key")


def test_a_kubelets_client_certificate_says_who_it_is(authority: pki.Authority) -> None:
    pair = pki.issue(authority, "system:node:w1", ("system:nodes",))
    leaf = x509.load_pem_x509_certificate(pair.certificate.encode())
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate.read_bytes()))
    assert leaf.subject.rfc4514_string() == "CN=system:node:w1,O=system:nodes"
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_serving_certificate_carries_name_and_address(authority: pki.Authority) -> None:
    pair = pki.issue(authority, "w1", serving=("w1", "10.231.0.21"))
    names = (
        x509.load_pem_x509_certificate(pair.certificate.encode())
        .extensions.get_extension_for_class(x509.SubjectAlternativeName)
        .value
    )
    assert names.get_values_for_type(x509.DNSName) == ["w1"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.231.0.21"]


def test_the_kubeconfig_names_the_lab(authority: pki.Authority, tmp_path: Path) -> None:
    pki.write_kubeconfig(tmp_path / "config", authority, "someone", pki.issue(authority, "someone"))
    document = json.loads((tmp_path / "config").read_text())
    assert document["current-context"] == document["contexts"][0]["name"] == layout.NAME
    assert document["clusters"][0]["cluster"]["server"] == layout.ENDPOINT
    assert (tmp_path / "config").stat().st_mode & 0o077 == 0


def test_waiting_says_what_for_and_what_was_seen() -> None:
    with pytest.raises(LabError, match=r"Waited 0 s for six nodes; last seen: five\. Look there\."):
        wait_until(lambda: (None, "five"), 0, "six nodes", hint="Look there.")


def test_waiting_returns_the_first_answer() -> None:
    answers = iter([(None, "no"), (None, "no"), ("yes", "")])
    assert wait_until(lambda: next(answers), 5, "an answer", interval_s=0) == "yes"


def test_a_failed_command_says_what_it_said() -> None:
    with pytest.raises(LabError, match=r"exit code 3: it is broken"):
        run("sh", "-c", "echo it is broken >&2; exit 3")


def test_a_missing_program_is_named() -> None:
    with pytest.raises(LabError, match="no-such-program is not on this machine"):
        run("no-such-program")


def test_a_hanging_command_is_ended() -> None:
    began = time.monotonic()
    with pytest.raises(LabError, match=r"did not end within 0 s"):
        run("sleep", "30", timeout_s=0.2)
    assert time.monotonic() - began < 5


def test_the_age_of_a_process_is_known() -> None:
    assert 0 <= status.age_s(os.getpid()) < 24 * 3600


def test_a_group_that_is_not_there_has_nothing() -> None:
    group = Cgroup("finbot-lab-test-nowhere")
    assert not group.exists()
    assert (group.pids(), group.processes(), group.memory_bytes(), group.cpu_seconds()) == (set(), {}, 0, 0.0)


def test_a_group_at_the_top_weighs_more_than_a_program_beside_it_and_those_within_are_equals() -> None:
    top, node = Cgroup("finbot-lab-test-weight"), Cgroup("finbot-lab-test-weight/node")
    node.create()
    try:
        file, usual = next((name, usual) for name, usual in WEIGHTS.items() if (node.path("cpu") / name).exists())
        weights = [int((group.path("cpu") / file).read_text()) for group in (top, node)]
    finally:
        top.remove()
    assert weights == [usual * LAB_WEIGHT, usual]


@pytest.mark.parametrize(("address", "free"), [("127.0.0.1", True), ("0.0.0.0", False)])  # noqa: S104
def test_a_port_is_taken_only_by_who_listens_on_all_addresses(address: str, free: bool) -> None:
    with socket.socket() as listener:
        listener.bind((address, 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert preflight.only_other_addresses(port, socket.SOCK_STREAM) is free


def test_ssh_to_an_unknown_node_lists_the_known_ones() -> None:
    said = CliRunner().invoke(app, ["ssh", "w9"])
    assert said.exit_code == 1
    assert "cp1, cp2, cp3, w1, w2, w3" in said.output
