"""What the script finds in a folder of etcd snapshots, and when a backup is young enough."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fixtures import backups, ssh
from fixtures.kubernetes import Api
from fixtures.unobservable import Unobservable
from policies.facts.base import Cause, Listing, Unseen
from policies.facts.kubernetes import Meta, Node, NodeAddress, NodeStatus, Snapshot
from targets.model import Backups, Disrupt, NodeFiles, Target, load_target
from tests.unit.small_server import serving

HOUR_S = 3600
API = Api("https://192.0.2.1:6443")  # etcd's snapshots are asked of no API
DATABASE = os.urandom(512) * 8


def snapshot_file(path: Path, hours: float, content: bytes = DATABASE + hashlib.sha256(DATABASE).digest()) -> None:
    """A file as etcdctl writes it, so old."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time.time() - hours * HOUR_S,) * 2)


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """One whose control-plane nodes are folders of this machine: {node} in the path of their backups."""

    def run(_target: Target, node: str, _address: str, script: str, _timeout_s: float) -> str:
        here = script.replace("/backups", shlex.quote(str(tmp_path / node)), 1)
        return subprocess.run(["sh", "-c", here], capture_output=True, text=True, check=True).stdout

    monkeypatch.setattr(ssh, "run", run)
    files = NodeFiles(folder="/backups", max_age_hours=26)
    return load_target("lab").model_copy(update={"disrupt": Disrupt(backups=Backups(etcd=files))})


def nodes() -> Snapshot:
    labels = {"node-role.kubernetes.io/control-plane": ""}
    listed = tuple(
        Node(
            Meta(name, labels=labels if name != "w1" else {}),
            status=NodeStatus(None, (NodeAddress("InternalIP", "::1"),)),
        )
        for name in ("cp1", "cp2", "cp3", "w1")
    )
    rest: list[Listing[Any]] = [Listing("x")] * 10
    return Snapshot(datetime.now(UTC), "https://h", "v1.36.3", 1, Listing("nodes", listed), *rest)


def test_the_newest_on_another_node_counts(target: Target, tmp_path: Path) -> None:
    snapshot_file(tmp_path / "cp1/old.db", 30)
    snapshot_file(tmp_path / "cp1/with space.db", 5)
    snapshot_file(tmp_path / "cp2/own.db", 1)
    snapshot_file(tmp_path / "cp3/newest.db.part", 0)
    snapshot_file(tmp_path / "w1/elsewhere.db", 0)
    words = backups.young_enough(target, API, "etcd", nodes(), {"node": "cp2"})
    assert words == f"cp1:{tmp_path}/cp1/with space.db is 5.0 h old, at most 26 h are allowed, its hash holds"


@pytest.mark.parametrize(
    ("hours", "content", "words"),
    [
        (27, None, "is 27.0 h old, at most 26 h are allowed"),
        (1, DATABASE + hashlib.sha256(b"other").digest(), "it is not whole"),
        (1, DATABASE[:-1] + b"x" + hashlib.sha256(DATABASE).digest(), "it is not whole"),
        (1, DATABASE, "it is not whole"),
        (1, (DATABASE + hashlib.sha256(DATABASE).digest())[:700], "it is not whole"),
        (1, b"", "it is not whole"),
    ],
    ids=["too old", "another hash", "a changed byte", "no hash", "cut short", "empty"],
)
def test_no_other_is_good_enough(
    hours: float, content: bytes | None, words: str, target: Target, tmp_path: Path
) -> None:
    file = tmp_path / "cp1/one.db"
    snapshot_file(file, hours, DATABASE + hashlib.sha256(DATABASE).digest() if content is None else content)
    (tmp_path / "cp3").mkdir()
    with pytest.raises(Unobservable) as caught:
        backups.young_enough(target, API, "etcd", nodes(), {"node": "cp2"})
    assert caught.value.unseen.cause is Cause.UNSAFE
    assert words in caught.value.unseen.detail
    assert "etcdctl snapshot save" in caught.value.unseen.remedy


def test_a_backup_that_lies_only_on_the_node_itself_is_none(target: Target, tmp_path: Path) -> None:
    snapshot_file(tmp_path / "cp2/own.db", 1)
    with pytest.raises(Unobservable, match=r"etcd snapshots on cp1: no file \*\.db"):
        backups.young_enough(target, API, "etcd", nodes(), {"node": "cp2"})


# --- PostgreSQL


def made(name: str, hours: float, phase: str = "completed", cluster: str = "finbot-db") -> dict[str, Any]:
    """A Backup object that ended so long ago."""
    stopped = datetime.now(UTC) - timedelta(hours=hours)
    status = {"phase": phase, "stoppedAt": stopped.isoformat(timespec="seconds")}
    return {"metadata": {"name": name}, "spec": {"cluster": {"name": cluster}}, "status": status}


def newest(*found: dict[str, Any], pod: str = "finbot-db-1") -> str:
    """What is said of the newest before a pod is killed."""
    with serving(lambda _: (200, {"items": list(found)})) as server:
        parameters = {"namespace": "production", "pod": pod, "uid": "u"}
        return backups.young_enough(load_target("lab"), Api(server.url), "postgres", nodes(), parameters)


def test_the_newest_complete_backup_of_the_database_counts() -> None:
    words = newest(made("old", 30), made("good", 5), made("running", 0, "running"), made("other", 1, cluster="x"))
    assert words == "good is 5.0 h old, at most 26 h are allowed"


@pytest.mark.parametrize(
    ("found", "words"),
    [([], "there is none that is complete"), ([made("a", 1, "failed")], "none"), ([made("a", 27)], "a is 27.0 h old")],
)
def test_without_a_young_backup_no_instance_is_harmed(found: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(Unobservable, match=words) as caught:
        newest(*found)
    assert caught.value.unseen.cause is Cause.UNSAFE


def test_what_holds_no_data_of_the_database_needs_no_backup() -> None:
    assert newest(pod="redis-0") == "none is needed: no instance of the database is touched"


def test_whether_an_instance_is_touched_has_to_be_seen() -> None:
    hidden = Listing[Any]("pods", unseen=Unseen(Cause.FORBIDDEN, "pods", "HTTP 403"))
    with pytest.raises(Unobservable, match="HTTP 403"):
        backups.young_enough(load_target("lab"), API, "postgres", replace(nodes(), pods=hidden), {"node": "w1"})
