"""Commands in containers against a small real WebSocket server that speaks the API's channel protocol."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fixtures.kubernetes import Api, ExecResult
from fixtures.unobservable import Unobservable
from policies.facts.base import Cause

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455
STDOUT, STDERR, STATUS = b"\x01", b"\x02", b"\x03"


def frame(payload: bytes, opcode: int = 2) -> bytes:
    assert len(payload) < 65536
    size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + size + payload


def ended(code: int) -> bytes:
    if code == 0:
        return STATUS + json.dumps({"status": "Success"}).encode()
    cause = {"reason": "ExitCode", "message": str(code)}
    return STATUS + json.dumps({"status": "Failure", "details": {"causes": [cause]}}).encode()


@contextmanager
def container(*frames: bytes) -> Iterator[Api]:
    """An API server whose only container says these frames and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                request = connection.recv(65536).decode()
                [key] = [line.split(": ")[1] for line in request.splitlines() if line.startswith("Sec-WebSocket-Key")]
                accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()  # noqa: S324
                head = (
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
                )
                connection.sendall(head.encode() + b"".join(frames))
                connection.settimeout(0.5)
                try:
                    connection.recv(100)  # the client's own end
                except TimeoutError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Api(f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join()


def run(api: Api) -> ExecResult:
    return api.exec("a", "pod", "probe", ["true"], timeout_s=0.3)


@pytest.mark.parametrize("code", [0, 1, 137])
def test_both_streams_and_the_exit_code_come_back(code: int) -> None:
    frames = [frame(STDOUT + b"one "), frame(STDERR + b"oh"), frame(STDOUT + b"x" * 5000), frame(ended(code))]
    with container(*frames) as api:
        assert run(api) == ExecResult(code, "one " + "x" * 5000, "oh")


def test_output_that_is_not_text_is_kept_readable() -> None:
    with container(frame(STDOUT + b"\xff\xfeok"), frame(ended(0))) as api:
        assert run(api).stdout.endswith("ok")


@pytest.mark.parametrize(
    ("frames", "cause"),
    [
        ([], Cause.UNREACHABLE),
        ([frame(STDOUT + b"half")], Cause.UNREACHABLE),
        ([frame(STDOUT + b"half"), frame(b"", opcode=8)], Cause.UNREACHABLE),
        ([frame(STATUS + b"nonsense")], Cause.UNREACHABLE),
        ([frame(STATUS + b'{"status":"Failure","message":"exec: \\"true\\": not found"}')], Cause.ABSENT),
    ],
)
def test_a_command_whose_end_was_not_seen_has_no_exit_code(frames: list[bytes], cause: Any) -> None:
    with container(*frames) as api, pytest.raises(Unobservable) as caught:
        run(api)
    assert caught.value.unseen.cause is cause
    assert caught.value.unseen.remedy
