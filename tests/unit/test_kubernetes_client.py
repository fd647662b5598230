"""The API client against real sockets: each way of not getting an answer has its own cause and its own sentence."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from fixtures.kubernetes import Access, Api, KubeconfigError, unseen
from fixtures.unobservable import Unobservable
from policies.facts.base import Cause
from policies.facts.kubernetes import Namespace
from tests.unit.small_server import Asked, Pki, make_pki, serving, status

VERSION = {"gitVersion": "v1.36.3"}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


def kubeconfig(folder: Path, server: str, cluster: dict[str, Any], user: dict[str, Any]) -> Path:
    config = {
        "current-context": "somewhere-else",
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u"}},
            {"name": "somewhere-else", "context": {"cluster": "d", "user": "u"}},
        ],
        "clusters": [
            {"name": "c", "cluster": {"server": server, **cluster}},
            {"name": "d", "cluster": {"server": "https://192.0.2.1:6443"}},
        ],
        "users": [{"name": "u", "user": user}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def inline(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def version(_: Asked) -> tuple[int, Any]:
    return 200, VERSION


@contextmanager
def listening(talk: bytes | None) -> Iterator[str]:
    """A server that accepts, says ``talk`` and closes; with None it says nothing and keeps the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                held.append(connection)
                if talk is not None:
                    connection.recv(65536)
                    connection.sendall(talk)
                    connection.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in held:
                connection.close()


def refusal(api: Api, path: str = "/version") -> Unobservable:
    with pytest.raises(Unobservable) as caught:
        api.request("GET", path, timeout_s=0.5)
    return caught.value


# --- kubeconfig


def test_context_is_taken_by_name_with_its_inline_certificates(tmp_path: Path, pki: Pki) -> None:
    user = {"client-certificate-data": inline(pki.client), "client-key-data": inline(pki.client_key)}
    with serving(version, pki.server_context()) as server:
        path = kubeconfig(tmp_path, server.url, {"certificate-authority-data": inline(pki.ca)}, user)
        api = Api.from_kubeconfig(path, "here")
        assert api.get_json("/version", "version") == VERSION
        assert server.asked[0].client_certificate


def test_files_in_a_kubeconfig_are_relative_to_it(tmp_path: Path, pki: Pki) -> None:
    for name, file in {"ca.pem": pki.ca, "c.pem": pki.client, "k.pem": pki.client_key}.items():
        (tmp_path / name).write_bytes(file.read_bytes())
    user = {"client-certificate": "c.pem", "client-key": "k.pem"}
    with serving(version, pki.server_context()) as server:
        path = kubeconfig(tmp_path, server.url, {"certificate-authority": "ca.pem"}, user)
        assert Api.from_kubeconfig(path, "here").get_json("/version", "version") == VERSION


def test_a_token_comes_without_the_certificate_that_would_win_over_it(tmp_path: Path, pki: Pki) -> None:
    user = {"client-certificate-data": inline(pki.client), "client-key-data": inline(pki.client_key)}
    with serving(version, pki.server_context()) as server:
        path = kubeconfig(tmp_path, server.url, {"certificate-authority-data": inline(pki.ca)}, user)
        api = Api.from_kubeconfig(path, "here")
        api.with_token("abc", "scanner").request("GET", "/version")
        api.without_credentials().request("GET", "/version")
        with_token, without = server.asked
    assert (with_token.headers["Authorization"], with_token.client_certificate) == ("Bearer abc", False)
    assert ("Authorization" in without.headers, without.client_certificate) == (False, False)


def test_a_token_file_is_read_anew_for_each_request(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    with serving(version) as server:
        api = Api.from_kubeconfig(kubeconfig(tmp_path, server.url, {}, {"tokenFile": "token"}), "here")
        api.request("GET", "/version")
        (tmp_path / "token").write_text("second\n")
        api.request("GET", "/version")
    assert [asked.headers["Authorization"] for asked in server.asked] == ["Bearer first", "Bearer second"]


def test_a_credential_program_is_asked(tmp_path: Path) -> None:
    credential = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"made"}}'
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "/bin/echo",
        "args": [credential],
        "interactiveMode": "Never",
    }
    with serving(version) as server:
        api = Api.from_kubeconfig(kubeconfig(tmp_path, server.url, {}, {"exec": plugin}), "here")
        api.request("GET", "/version")
    assert server.asked[0].headers["Authorization"] == "Bearer made"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "there is no such file"),
        ("", "no mapping"),
        ("- a\n- b\n", "no mapping"),
        ("a: [1\n", "not valid YAML (line"),
        ("contexts: 7\n", "not a kubeconfig"),
        ("contexts:\n- {name: here}\n", "not a kubeconfig"),
        ("contexts:\n- {name: here, context: {cluster: c}}\n", "not a kubeconfig"),
        ("contexts:\n- {name: a, context: {}}\n- {name: b, context: {}}\n", 'no context "here"; it has: a, b'),
    ],
)
def test_a_kubeconfig_that_is_none(tmp_path: Path, text: str | None, says: str) -> None:
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text)
    with pytest.raises(KubeconfigError) as caught:
        Api.from_kubeconfig(path, "here")
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.unseen.remedy


@pytest.mark.parametrize(
    ("cluster", "user", "says"),
    [
        ({"server": "127.0.0.1:6443"}, {}, "is no URL"),
        ({"certificate-authority-data": "%%%"}, {}, "not a kubeconfig"),
        ({"certificate-authority-data": base64.b64encode(b"nonsense").decode()}, {}, "cannot be used"),
        ({"certificate-authority": "missing.pem"}, {}, "missing.pem"),
        ({}, {"tokenFile": "missing"}, "missing"),
        ({"proxy-url": "http://192.0.2.1"}, {}, "proxy-url"),
    ],
)
def test_a_kubeconfig_with_a_value_that_cannot_be_used(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], says: str
) -> None:
    path = kubeconfig(tmp_path, "https://192.0.2.1:6443", cluster, user)
    with pytest.raises(KubeconfigError) as caught:
        Api.from_kubeconfig(path, "here")
    assert says in str(caught.value)


# --- no answer


def test_refused_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = refusal(Api(f"http://127.0.0.1:{port}"))
    assert error.unseen.cause is Cause.UNREACHABLE
    assert "connection refused" in str(error)


def test_a_name_that_does_not_resolve_says_so() -> None:
    assert "does not resolve" in str(refusal(Api("http://nowhere.invalid:6443")))


def test_a_server_that_hangs_ends_within_the_time_out() -> None:
    with listening(None) as url:
        started = time.monotonic()
        error = refusal(Api(url))
        assert time.monotonic() - started < 5
    assert error.unseen.cause is Cause.UNREACHABLE
    assert "no answer within" in str(error)


def test_a_server_that_sends_a_byte_at_a_time_ends_within_the_time_out() -> None:
    stop = threading.Event()

    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while not stop.wait(0.02):
                    connection.sendall(b" ")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        started = time.monotonic()
        error = refusal(Api(f"http://127.0.0.1:{server.getsockname()[1]}"))
        assert time.monotonic() - started < 5
        stop.set()
        thread.join()
    assert "no answer within" in str(error)


def test_a_connection_cut_before_the_answer_says_so() -> None:
    with listening(b"") as url:
        assert "cut before the answer" in str(refusal(Api(url)))


def test_something_that_does_not_speak_http_says_so() -> None:
    with listening(b"SSH-2.0-OpenSSH_9.2\r\n") as url:
        assert "not HTTP" in str(refusal(Api(url)))


def test_a_certificate_of_an_unknown_authority_says_so(tmp_path: Path, pki: Pki) -> None:
    (tmp_path / "other").mkdir()
    other = make_pki(tmp_path / "other")
    with serving(version, pki.server_context()) as server:
        path = kubeconfig(tmp_path, server.url, {"certificate-authority-data": inline(other.ca)}, {})
        error = refusal(Api.from_kubeconfig(path, "here"))
    assert error.unseen.cause is Cause.UNREACHABLE
    assert "certificate is not trusted" in str(error)


def test_a_pooled_connection_that_the_server_closed_is_replaced_for_a_get_only() -> None:
    """The server promises to keep the connection and closes it after each answer."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    with listening(answer) as url:
        api = Api(url)
        for _ in range(3):
            assert api.request("GET", "/version").ok


def test_threads_share_the_client() -> None:
    with serving(version) as server:
        api = Api(server.url)
        threads = [
            threading.Thread(target=lambda: [api.request("GET", "/version") for _ in range(20)]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.asked) == 160


# --- answers


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (401, Cause.FORBIDDEN),
        (403, Cause.FORBIDDEN),
        (404, Cause.ABSENT),
        (405, Cause.ABSENT),
        (422, Cause.INVALID),
        (429, Cause.UNREACHABLE),
        (500, Cause.UNREACHABLE),
        (503, Cause.UNREACHABLE),
    ],
)
def test_each_status_has_its_cause(code: int, cause: Cause) -> None:
    with serving(lambda _: (code, status(code, "the API's own words"))) as server:
        answer = Api(server.url).request("GET", "/api/v1/pods")
    assert not answer.ok
    word = unseen(answer, "pods")
    assert (word.cause, word.what) == (cause, "pods")
    assert word.detail == f"HTTP {code}: the API's own words"
    assert word.remedy


def coming_back(after_s: float, refusals: int) -> Callable[[Asked], tuple[int, Any]]:
    """Refuses that often with the time to wait, as a server does that fills its cache; then answers."""
    left = [refusals]

    def reply(_: Asked) -> tuple[int, Any]:
        left[0] -= 1
        busy = {**status(429, "storage is (re)initializing"), "details": {"retryAfterSeconds": after_s}}
        return (429, busy) if left[0] >= 0 else (200, VERSION)

    return reply


def test_a_read_comes_back_when_the_api_says_so() -> None:
    with serving(coming_back(0.2, refusals=2)) as server:
        began = time.monotonic()
        assert Api(server.url).get_json("/version", "version") == VERSION
    assert time.monotonic() - began >= 0.4
    assert len(server.asked) == 3


@pytest.mark.parametrize("after_s", [3600, -1, "soon", None])
def test_a_read_does_not_wait_longer_than_for_one_answer(after_s: Any) -> None:
    with serving(coming_back(after_s, refusals=2)) as server, pytest.raises(Unobservable, match="HTTP 429"):
        Api(server.url).get_json("/version", "version")
    assert len(server.asked) == 1


def test_a_request_is_carried_out_once_whatever_the_api_asks_for() -> None:
    with serving(coming_back(0.2, refusals=1)) as server:
        assert Api(server.url).request("GET", "/version").status == 429
    assert len(server.asked) == 1


def test_an_answer_that_is_not_what_was_asked_for_is_invalid() -> None:
    with serving(lambda _: (200, b"<html>login</html>")) as server, pytest.raises(Unobservable) as caught:
        Api(server.url).get("/api/v1/namespaces/a", Namespace, "namespace a")
    assert caught.value.unseen.cause is Cause.INVALID


def test_the_message_of_a_failure_is_shortened_and_never_more_than_a_line() -> None:
    with serving(lambda _: (502, b"line one\nline two " + b"x" * 5000)) as server:
        message = Api(server.url).request("GET", "/").message
    assert message.startswith("line one line two")
    assert len(message) <= 300


def test_a_refused_token_says_who_lacks_what() -> None:
    with serving(lambda _: (403, status(403, "no"))) as server, pytest.raises(Unobservable) as caught:
        Api(server.url, identity="context here").token_request("verify-system", "scanner", 600)
    assert "context here needs create on serviceaccounts/token in verify-system" in str(caught.value)


@pytest.mark.parametrize(("cuts", "got"), [(1, True), (2, False)])
def test_a_token_whose_connection_was_cut_is_asked_for_once_more(cuts: int, got: bool) -> None:
    left = [cuts]

    def reply(_: Asked) -> tuple[int, Any]:
        left[0] -= 1
        if left[0] >= 0:
            raise ConnectionAbortedError  # the server's thread ends, and with it the connection
        return 201, {"status": {"token": "t"}}

    with serving(reply) as server:
        api = Api(server.url)
        if got:
            assert api.token_request("verify-system", "scanner", 600) == "t"
        else:
            with pytest.raises(Unobservable, match="the connection was cut before the answer"):
                api.token_request("verify-system", "scanner", 600)
    assert left == [-1] if got else [0]


def test_an_access_review_asks_exactly_and_believes_only_allowed() -> None:
    def reply(asked: Asked) -> tuple[int, Any]:
        return 201, {"status": {"allowed": asked.body["spec"]["resourceAttributes"]["resource"] == "pods"}}

    with serving(reply) as server:
        api = Api(server.url)
        assert api.self_access_review(Access("create", "", "pods", "staging", "exec"))
        assert not api.self_access_review(Access("list", "", "secrets"))
    attributes = server.asked[0].body["spec"]["resourceAttributes"]
    assert attributes == {
        "verb": "create",
        "group": "",
        "resource": "pods",
        "subresource": "exec",
        "namespace": "staging",
        "name": "",
    }


def test_an_access_reads_as_a_permission() -> None:
    assert str(Access("create", "", "pods", "staging", "exec")) == "create pods/exec in staging"
    assert str(Access("list", "apps", "daemonsets")) == "list daemonsets.apps"


# --- commands in containers


@pytest.mark.parametrize(("code", "cause"), [(403, Cause.FORBIDDEN), (404, Cause.ABSENT), (500, Cause.UNREACHABLE)])
def test_a_command_that_may_not_run_says_so(code: int, cause: Cause) -> None:
    with serving(lambda _: (code, status(code, "its own words"))) as server, pytest.raises(Unobservable) as caught:
        Api(server.url).exec("a", "b", "c", ["date", "-u"], timeout_s=2)
    assert caught.value.unseen.cause is cause
    assert caught.value.unseen.what == "`date` in a/pods/b"
    assert "its own words" in caught.value.unseen.detail
    assert server.asked[0].params == {"container": "c", "stdout": "true", "stderr": "true", "command": "-u"}


def test_a_command_on_a_server_that_hangs_ends_within_the_time_out() -> None:
    with listening(None) as url, pytest.raises(Unobservable) as caught:
        Api(url).exec("a", "b", "c", ["date"], timeout_s=0.3)
    assert caught.value.unseen.cause is Cause.UNREACHABLE


def test_the_content_of_an_answer_is_left_where_it_is_when_only_the_status_was_asked_for() -> None:
    with serving(lambda _: (200, {"data": {"password": "canary"}})) as server:
        api = Api(server.url)
        assert api.request("GET", "/secret", keep_body=False).body == b""
        assert api.request("GET", "/secret").ok


def test_nothing_is_sent_from_an_address_that_is_not_this_machines() -> None:
    with serving(lambda _: (200, {})) as server:
        error = refusal(Api(server.url).from_address("192.0.2.77"))
        assert "so nothing was sent" in str(error)
        assert server.asked == []
