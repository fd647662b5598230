"""Client pods: what is made of them in the API, and the launcher that runs their programs, run for real."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from fixtures import clients
from fixtures.clients import client
from fixtures.kubernetes import Api
from fixtures.unobservable import Unobservable
from policies.facts.base import Cause
from targets.model import Target, load_target
from tests.unit.small_server import Asked, serving, status

LAB: Final = load_target("lab")

# --- the launcher

COUNT = """
import json, signal, sys, time
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
argument = json.loads(sys.argv[1])
if argument.get("fails"):
    raise ValueError("the table is not there")
if argument.get("deaf"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
for number in range(argument["to"]):
    print(json.dumps(number), flush=True)
sys.stdout.write('"half')
sys.stdout.flush()
while not stopped:
    time.sleep(0.01)
print(' a line"')
"""

Launch = Callable[..., str]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """The launcher in a home of its own, beside a program that counts and then waits for its end."""
    package = tmp_path / "fixtures/in_pod"
    package.mkdir(parents=True)
    for file in (package.parent / "__init__.py", package / "__init__.py"):
        file.touch()
    shutil.copy(clients.PROGRAMS / "launch.py", package)
    (package / "count.py").write_text(COUNT)
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "fixtures.in_pod.launch"]
    pod = subprocess.Popen([*command, "hold"], env=environment, cwd=tmp_path)

    def say(*words: str) -> str:
        done = subprocess.run(
            [*command, *words], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    try:
        until((tmp_path / "ready").exists)
        yield say
    finally:
        pod.terminate()
        assert pod.wait(10) == 0, "the pod's main process ends when it is told to"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def how(text: str) -> Any:
    return json.loads(text.partition("\n")[0])


def test_a_program_goes_on_and_its_whole_lines_are_read(launch: Launch) -> None:
    launch("begin", "count", '{"to": 3}', "count-1")
    until(lambda: launch("read", "count-1", "0").endswith("2\n"))
    assert launch("read", "count-1", "2").partition("\n")[2] == "1\n2\n", (
        "from where the reader is, without half a line"
    )
    assert how(launch("read", "count-1", "0"))["ended"] is None
    assert how(launch("end", "count-1", "10")) | {"now": 0} == {"ended": 0, "error": "", "now": 0}
    assert launch("read", "count-1", "6").partition("\n")[2] == '"half a line"\n'
    assert how(launch("end", "count-1", "10"))["ended"] == 0, "ending it twice is ending it once"


def test_a_program_that_fails_leaves_its_last_word(launch: Launch) -> None:
    launch("begin", "count", '{"fails": true}', "count-1")
    until(lambda: how(launch("read", "count-1", "0"))["ended"] is not None)
    assert how(launch("read", "count-1", "0")) | {"now": 0} == {
        "ended": 1,
        "error": "ValueError: the table is not there",
        "now": 0,
    }


def test_a_program_that_does_not_listen_is_ended_by_force(launch: Launch) -> None:
    launch("begin", "count", '{"to": 1, "deaf": true}', "count-1")
    until(lambda: launch("read", "count-1", "0").endswith("0\n"))
    assert how(launch("end", "count-1", "0.1"))["ended"] == -9


# --- the pod


class Pods:
    """An API that makes one pod, and says of it what it is told to."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said
        self.made: dict[str, Any] = {}
        self.removed: list[str] = []

    def __call__(self, asked: Asked) -> tuple[int, Any]:
        match asked.method:
            case "POST":
                self.made = asked.body
                return 201, asked.body
            case "DELETE":
                self.removed.append(asked.path)
                return 200, {}
        return 200, {"status": self.said}


READY: Final = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def test_only_what_is_asked_for_is_mounted_and_the_pod_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_check", lambda *_: None)  # asks in the pod itself
    pods = Pods(READY)
    secrets = {"db": "verify", "ca": "db-ca"}
    with (
        serving(pods) as server,
        client(
            Api(server.url), LAB, "r1", namespace="production", purpose="sql", secrets=secrets, avoid_node="w1"
        ) as pod,
    ):
        assert str(pod).startswith("pod production/verify-r1-sql-")
        assert not pods.removed
    assert len(pods.removed) == 1
    spec = pods.made["spec"]
    sources = {volume["name"]: volume.get("secret") for volume in spec["volumes"]}
    assert sources["secret-db"] == {"secretName": "verify", "optional": True}
    assert sources["secret-ca"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]
    (container,) = spec["containers"]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/work", "/secrets/db", "/secrets/ca"}
    assert container["image"] == LAB.client_image
    assert max(len(variable["value"]) for variable in container["env"]) < 128 * 1024, "what a variable may hold"
    assert '"w1"' in json.dumps(spec["affinity"])
    assert spec["automountServiceAccountToken"] is False
    assert spec["activeDeadlineSeconds"]


@pytest.mark.parametrize(
    ("said", "part"),
    [
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/6 nodes are available"}]},
            "it is not scheduled: 0/6 nodes are available",
        ),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}]},
            f"its container is held up: ErrImagePull of {LAB.client_image}: no such image",
        ),
        ({"phase": "Pending"}, "it is Pending"),
    ],
)
def test_a_pod_that_does_not_get_ready_says_why_and_is_removed(
    said: dict[str, Any], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "READY_WITHIN_S", 0.1)
    pods = Pods(said)
    with serving(pods) as server, pytest.raises(Unobservable) as caught:
        enter(server.url, LAB)
    assert caught.value.unseen.cause is Cause.UNREACHABLE
    assert part in caught.value.unseen.detail
    assert len(pods.removed) == 1


def enter(url: str, target: Target) -> None:
    with client(Api(url), target, "r1", namespace="production", purpose="sql"):
        pytest.fail("it was ready")


def test_without_an_image_or_the_right_nothing_is_made() -> None:
    with pytest.raises(Unobservable) as caught:
        enter("http://127.0.0.1:1", LAB.model_copy(update={"client_image": None}))
    assert caught.value.unseen.cause is Cause.ABSENT
    with serving(lambda _: (403, status(403, "no"))) as server, pytest.raises(Unobservable) as refused:
        enter(server.url, LAB)
    assert refused.value.unseen.cause is Cause.FORBIDDEN
