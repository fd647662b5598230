"""What is made of a node's own words, and that no part that cannot be read spoils another."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fixtures import nodes
from fixtures.nodes import look_at_nodes, read_node
from policies.facts.base import Cause, Listing, Unseen
from policies.facts.kubernetes import Meta, Node, NodeAddress, NodeStatus, Snapshot
from policies.facts.nodes import KubeletView, Link, NodeView
from targets.model import load_target

CP1, CP2 = 14284511256454950026, 12682866624811109136
LINKS = [
    {"ifname": "lo", "link_type": "loopback", "mtu": 65536, "addr_info": [{"local": "127.0.0.1"}]},
    {"ifname": "eth0", "link_type": "ether", "mtu": 1500, "addr_info": [{"local": "10.0.0.1"}, {"local": "fe80::1"}]},
    {"ifname": "flannel.1", "link_type": "ether", "mtu": 1450, "linkinfo": {"info_kind": "vxlan"}, "addr_info": []},
    {},
]


def certificate(name: str, until: datetime) -> tuple[bytes, bytes]:
    """A self-signed certificate and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - timedelta(days=90))
        .not_valid_after(until)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), secret


def printed(**sections: str | tuple[int, str]) -> str:
    """A node's answer: sections in their order, each with exit code 0 unless given."""
    usual: dict[str, str | tuple[int, str]] = {
        "clock": "1000.5",
        "certificates": "",
        "kubelet": "arg kubelet\narg --config=/k.yaml\n\nconfig /proc/9/root/k.yaml\nreadOnlyPort: 0",
        "links": json.dumps(LINKS),
        "clock_after": "1000.7",
    }
    text = ""
    for name, section in (usual | sections).items():
        code, body = section if isinstance(section, tuple) else (0, section)
        text += f"@@ {name}\n{body}\n\n@@ end {code}\n"
    return text


def read(text: str) -> NodeView:
    addresses = (NodeAddress("InternalIP", "10.0.0.1"),)
    node = Node(
        Meta("cp1", labels={"node-role.kubernetes.io/control-plane": ""}), status=NodeStatus(addresses=addresses)
    )
    return read_node(node, "203.0.113.1", text, 990.0, 991.0)


def kubelet(text: str) -> KubeletView | Unseen | None:
    view = read(printed(kubelet=text))
    return view.kubelet_unseen or view.kubelet


def gateway(**answers: object) -> str:
    usual: dict[str, object] = {
        "members": {
            "members": [
                {"ID": str(CP1), "name": "cp1", "clientURLs": ["https://10.0.0.1:2379"]},
                {"ID": str(CP2), "clientURLs": [], "isLearner": True},
            ]
        },
        "status": {"header": {"member_id": str(CP1)}, "leader": str(CP1)},
        "alarms": {"header": {}},
    }
    return "\n".join(json.dumps(answer) for answer in (usual | answers).values())


# --- the whole


def test_links_uplink_and_clock() -> None:
    view = read(printed())
    assert view.unseen is None
    assert view.links == (Link("eth0", "", 1500), Link("flannel.1", "vxlan", 1450))
    assert (view.uplink, view.address, view.control_plane) == ("eth0", "203.0.113.1", True)
    # Between 1000.7 - 991 and 1000.5 - 990.
    assert view.clock_offset_s == pytest.approx(10.1)


@pytest.mark.parametrize(
    "text", ["", "Last login: yesterday\n", printed(links=(1, "ip: not found")), printed(clock="x")]
)
def test_an_answer_that_is_none_leaves_the_node_unseen(text: str) -> None:
    view = read(text)
    assert view.unseen is not None
    assert view.unseen.cause is Cause.INVALID


def test_a_greeting_before_the_answer_does_not_matter() -> None:
    assert read("Welcome to cp1\n" + printed()).unseen is None


def test_nodes_that_were_not_listed_are_not_visited() -> None:
    unseen = Unseen(Cause.FORBIDDEN, "nodes", "HTTP 403")
    parts: list[Listing[Any]] = [Listing("x")] * 10
    snapshot = Snapshot(datetime.now(UTC), "https://h", "v1.36.3", 1, Listing("nodes", unseen=unseen), *parts)
    assert look_at_nodes(load_target("lab"), snapshot).unseen == unseen
    without = Snapshot(datetime.now(UTC), "https://h", "v1.36.3", 1, Listing("nodes"), *parts)
    blind = look_at_nodes(load_target("lab").model_copy(update={"ssh": None}), without).unseen
    assert blind is not None
    assert blind.cause is Cause.ABSENT


def test_a_node_without_any_address_is_told() -> None:
    listed = Listing("nodes", (Node(Meta("cp1")),))
    snapshot = Snapshot(datetime.now(UTC), "https://h", "v1.36.3", 1, listed, *([Listing("x")] * 10))
    (view,) = look_at_nodes(load_target("lab"), snapshot).nodes
    assert view.unseen is not None
    assert "ssh.hosts" in view.unseen.remedy


# --- certificates


def test_certificates_of_files_and_kubeconfigs() -> None:
    until = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    chain = certificate("leaf", until)[0] + certificate("ca", until + timedelta(days=1))[0]
    conf = base64.b64encode(certificate("admin", until)[0]).decode()
    text = "".join(f"file /pki/a.crt\n-----BEGIN{part}" for part in chain.decode().split("-----BEGIN")[1:])
    view = read(printed(certificates=f"{text}conf /etc/kubernetes/admin.conf {conf}"))
    assert view.certificates_unseen is None
    assert [(c.path, c.subject) for c in view.certificates] == [
        ("/pki/a.crt", "CN=leaf"),
        ("/pki/a.crt", "CN=ca"),
        ("/etc/kubernetes/admin.conf", "CN=admin"),
    ]
    assert view.certificates[0].not_after == until


@pytest.mark.parametrize(
    "section",
    [
        (2, "awk: cannot open /etc/kubernetes/pki/ca.crt (Permission denied)"),
        "file /pki/a.crt\n-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----",
        "conf /etc/kubernetes/admin.conf bm90aGluZw==",
        "conf /etc/kubernetes/admin.conf !",
    ],
)
def test_a_certificate_that_cannot_be_read_is_told_and_spoils_nothing_else(section: str | tuple[int, str]) -> None:
    view = read(printed(certificates=section))
    assert view.certificates_unseen is not None
    assert "/etc/kubernetes" in view.certificates_unseen.detail or "/pki/a.crt" in view.certificates_unseen.detail
    assert view.kubelet == KubeletView(False, "Webhook", 0)


# --- the kubelet


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("arg kubelet", KubeletView(True, "AlwaysAllow", 10255)),
        ("arg kubelet\narg --anonymous-auth=false\narg --read-only-port\narg 0", KubeletView(False, "AlwaysAllow", 0)),
        ("arg kubelet\narg --config\narg /k\n\nconfig /k\n{}", KubeletView(False, "Webhook", 0)),
        (
            "arg kubelet\narg --config=/k\n\nconfig /k\n"
            "authentication: {anonymous: {enabled: true}}\nauthorization: {mode: AlwaysAllow}\nreadOnlyPort: 10255",
            KubeletView(True, "AlwaysAllow", 10255),
        ),
        (
            "arg kubelet\narg --config=/k\narg --config-dir=/d\n\nconfig /k\nreadOnlyPort: 1\n"
            "\nconfig /d/10.conf\nauthentication: {anonymous: {enabled: true}}\n\nconfig /d/20.conf\nreadOnlyPort: 2",
            KubeletView(True, "Webhook", 2),
        ),
        (
            "arg kubelet\narg --config=/k\narg --anonymous-auth\narg --authorization-mode=AlwaysAllow\n\n"
            'config /k\n{"authentication": {"anonymous": {"enabled": false}}}',
            KubeletView(True, "AlwaysAllow", 0),
        ),
    ],
)
def test_the_effective_kubelet(text: str, expected: KubeletView) -> None:
    assert kubelet(text) == expected


@pytest.mark.parametrize(
    ("text", "cause", "part"),
    [
        ("", Cause.ABSENT, "no kubelet runs"),
        ("arg kubelet\narg --config=/k\n\nmissing /k", Cause.INVALID, "/k is not there"),
        ("arg kubelet\narg --config=/k\n\nconfig /k\n- a list", Cause.INVALID, "cannot be understood"),
        ("arg kubelet\narg --config=/k\n\nconfig /k\n{", Cause.INVALID, "cannot be understood"),
        ("arg kubelet\narg --read-only-port=many", Cause.INVALID, "many"),
    ],
)
def test_a_kubelet_that_cannot_be_seen(text: str, cause: Cause, part: str) -> None:
    unseen = kubelet(text)
    assert isinstance(unseen, Unseen)
    assert unseen.cause is cause
    assert part in unseen.detail


# --- etcd


def test_etcd_as_its_member_sees_it() -> None:
    view = read(printed(etcd=gateway(), health='https://10.0.0.1:2379 0 {"health":"true","reason":""}')).etcd
    assert view is not None
    assert (view.member_id, view.leader_id, view.alarms) == (format(CP1, "x"), format(CP1, "x"), ())
    first, second = view.members
    assert (first.name, first.healthy, first.learner, first.detail) == ("cp1", True, False, "")
    assert (second.name, second.healthy, second.learner, second.detail) == ("", False, True, "it has not started yet")


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("7 curl: (7) Failed to connect", "curl: (7) Failed to connect"),
        ('0 {"health":"false","reason":"ALARM NOSPACE"}', "it says: ALARM NOSPACE"),
        ("0 Not found", "it says: Not found"),
        ("28 ", "curl failed with exit code 28"),
    ],
)
def test_a_member_that_is_not_well_says_why(line: str, detail: str) -> None:
    view = read(printed(etcd=gateway(), health=f"https://10.0.0.1:2379 {line}")).etcd
    assert view is not None
    assert (view.members[0].healthy, view.members[0].detail) == (False, detail)


def test_alarms_and_a_missing_leader() -> None:
    alarms = {"alarms": [{"memberID": str(CP1), "alarm": "NOSPACE"}]}
    view = read(printed(etcd=gateway(alarms=alarms, status={"header": {}}), health="")).etcd
    assert view is not None
    assert view.alarms == (f"{CP1:x}: NOSPACE",)
    assert view.leader_id == "0"


@pytest.mark.parametrize(
    "section",
    [
        (7, "curl: (7) Failed to connect to 127.0.0.1 port 2379"),
        (0, "<html>"),
        (0, '{"members":[]}'),
        (0, gateway(status={"error": "etcdserver: request timed out", "code": 14})),
    ],
)
def test_etcd_that_does_not_answer_is_unreachable(section: tuple[int, str]) -> None:
    view = read(printed(etcd=section, health=""))
    assert view.etcd is None
    assert view.etcd_unseen is not None
    assert view.etcd_unseen.cause is Cause.UNREACHABLE


# --- the script itself


@pytest.mark.parametrize("shell", [s for s in ("dash", "bash") if shutil.which(s)])
def test_the_script_lets_certificates_leave_and_no_key(tmp_path: Path, shell: str) -> None:
    """On folders made for it: rotated kubelet certificates are passed by, keys and tokens stay."""
    pki, own = tmp_path / "etc/kubernetes/pki/etcd", tmp_path / "var/lib/kubelet/pki"
    pki.mkdir(parents=True)
    own.mkdir(parents=True)
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=40)
    cert, key = certificate("a", until)
    (pki.parent / "ca.crt").write_bytes(cert)
    (pki.parent / "ca.key").write_bytes(key)
    (pki / "peer.crt").write_bytes(cert.rstrip(b"\n"))
    (own / "kubelet-client-2020-01-02-03-04-05.pem").write_bytes(certificate("old", until)[0])
    (own / "kubelet-client-current.pem").write_bytes(key + cert)
    conf = f"users:\n- user:\n    client-certificate-data: {base64.b64encode(cert).decode()}\n"
    (tmp_path / "etc/kubernetes/admin.conf").write_text(conf + "    client-key-data: c2VjcmV0\n    token: hush\n")
    script = nodes._SCRIPT.replace("/etc/kubernetes", f"{tmp_path}/etc/kubernetes")
    script = script.replace("/var/lib/kubelet", f"{tmp_path}/var/lib/kubelet")
    answer = subprocess.run([shell, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "KEY" not in answer
    assert "c2VjcmV0" not in answer
    assert "hush" not in answer
    view = read(answer)
    assert view.certificates_unseen is None
    assert {(Path(c.path).name, c.subject) for c in view.certificates} == {
        ("ca.crt", "CN=a"),
        ("peer.crt", "CN=a"),
        ("kubelet-client-current.pem", "CN=a"),
        ("admin.conf", "CN=a"),
    }
    assert {c.not_after for c in view.certificates} == {until}
