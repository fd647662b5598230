"""Secrets in words from outside: each kind is found, ordinary sentences stay, and what stands there needs the key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.kubernetes import Answer, Api, KubeconfigError
from fixtures.redaction import (
    VARIABLE,
    RedactionError,
    fingerprint,
    redact_error,
    redacted,
    redaction_key,
    remember,
)
from fixtures.unobservable import Unobservable
from tests.unit.small_server import serving, status

SECRET = "c0rrect-Horse,Battery;(Staple)&%"  # noqa: S105


@pytest.fixture(autouse=True)
def _own_key() -> Iterator[None]:
    redaction_key.cache_clear()
    yield
    redaction_key.cache_clear()


@pytest.mark.parametrize(
    "text",
    [
        "denied: container api has --password={}",
        "args: [--db-password {} --verbose]",
        "dsn host=db password={} user=api",
        "password: {}",
        'container has --password="{}" on it',
        'and it was cut off: "password": "{}',
        'and it was cut off: \\"password\\": \\"{}',
        "DB_PASSWORD={}",
        '{{"password":"{}"}}',
        '{{\\"client-secret\\": \\"{}\\"}}',
        "'api_key': '{}'",
        '{{"name":"SESSION_TOKEN","value":"{}"}}',
        'Invalid value: core.EnvVar{{Name:"DB_PASSWORD", Value:"{}", ValueFrom:(*core.EnvVarSource)(nil)}}',
        "postgres://api:{}@db:5432/finbot",
        "curl -H 'Authorization: Bearer {}'",
        "Invalid header value b'Bearer {}\\n'",
        "-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n{}",
    ],
)
def test_a_secret_is_found_by_what_stands_around_it(text: str) -> None:
    said = redacted(text.format(SECRET))
    assert not [word for word in re.findall(r"\w+", SECRET) if word in said]
    assert len(re.findall(r"\[redacted hmac-sha256:[0-9a-f]{8}:[0-9a-f]{16}\]", said)) == 1
    assert redacted(said) == said


@pytest.mark.parametrize("text", ['"password": {}', "--password={}", "password: {}"])
def test_a_secret_with_quotes_in_it_is_found_to_its_end(text: str) -> None:
    said = redacted(text.format(json.dumps('c0rrect"Horse\\Battery')) + " afterwards")
    assert not {"c0rrect", "Horse", "Battery"} & set(re.findall(r"\w+", said))
    assert said.endswith(" afterwards")


def test_a_token_of_a_service_account_is_found_wherever_it_stands() -> None:
    token = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"  # noqa: S105
    assert token not in redacted(f"the webhook says {token}, and so on")


@pytest.mark.parametrize(
    "text",
    [
        'pods "x" is forbidden: exceeded quota: namespace, requested: requests.cpu=9, used: requests.cpu=0',
        'secrets "finbot-config" is forbidden: User "system:serviceaccount:production:finbot-api" cannot get '
        'resource "secrets" in API group "" in the namespace "staging"',
        "a token of service account verify-system/scanner: HTTP 403: not allowed",
        "--tls-private-key-file=/etc/kubernetes/pki/apiserver.key --token-auth-file /etc/tokens",
        "automountServiceAccountToken: false",
        "certificate /etc/kubernetes/pki/apiserver.crt ends in 12 days",
        "https://10.231.0.1:6443/api/v1/namespaces/production/secrets?limit=1",
        "connection refused (asked GET /version)",
    ],
)
def test_an_ordinary_sentence_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


def test_a_credential_that_is_held_is_found_without_anything_around_it() -> None:
    remember("plain-words-known-as-a-credential")
    assert "plain-words" not in redacted("upstream said plain-words-known-as-a-credential, twice")


@pytest.mark.parametrize("name", ["VAULT_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD"])
def test_a_credential_in_a_variable_is_found_without_anything_around_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "as-it-was-given")
    assert "as-it-was-given" not in redacted("the server says: as-it-was-given is no credential of mine")


def test_where_a_credential_lies_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/token")
    assert redacted("cannot read /var/run/secrets/token") == "cannot read /var/run/secrets/token"


def test_the_same_key_gives_the_same_fingerprint_and_another_key_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def with_key(key: str) -> str:
        (tmp_path / "key").write_text(key)
        monkeypatch.setenv(VARIABLE, str(tmp_path / "key"))
        redaction_key.cache_clear()
        return fingerprint(SECRET)

    assert with_key("a" * 32) == with_key("a" * 32)
    _, of_key, of_secret = with_key("a" * 32).split(":")
    _, other_key, other_secret = with_key("b" * 32).split(":")
    assert of_key != other_key
    assert of_secret != other_secret
    assert fingerprint(SECRET) != fingerprint(SECRET + "x")


def test_without_a_named_key_each_process_has_its_own() -> None:
    first = fingerprint(SECRET)
    assert fingerprint(SECRET) == first
    redaction_key.cache_clear()
    assert fingerprint(SECRET) != first


@pytest.mark.parametrize(
    ("source", "value", "words"),
    [
        ("/nowhere/key", "", "cannot read /nowhere/key, which VERIFY_REDACTION_KEY names"),
        ("env:OURS", "", "the environment variable OURS, which VERIFY_REDACTION_KEY names, holds 0 bytes"),
        ("env:OURS", "short", "holds 5 bytes: put 16 random ones or more there"),
    ],
)
def test_a_key_that_cannot_be_used_says_so(
    monkeypatch: pytest.MonkeyPatch, source: str, value: str, words: str
) -> None:
    monkeypatch.setenv(VARIABLE, source)
    monkeypatch.setenv("OURS", value)
    with pytest.raises(RedactionError, match=re.escape(words)):
        redaction_key()


def test_an_error_and_what_led_to_it_lose_their_secrets() -> None:
    inner = ValueError(f"password={SECRET}")
    outer = RuntimeError("it broke", 3)
    outer.__cause__ = inner
    redact_error(outer)
    assert SECRET not in str(inner)
    assert outer.args == ("it broke", 3)


# --- the client


def test_an_answer_that_quotes_a_secret_is_kept_without_it() -> None:
    with serving(lambda _: (403, status(403, f"admission webhook: container has --password={SECRET}"))) as server:
        answer = Api(server.url).request("GET", "/api/v1/pods")
    assert SECRET not in answer.message
    assert "admission webhook: container has --password=[redacted" in answer.message


def test_a_token_that_the_other_side_sends_back_is_not_kept() -> None:
    with serving(lambda asked: (401, status(401, f"who is {asked.headers['Authorization'][7:]}?"))) as server:
        answer = Api(server.url).with_token("an-opaque-token", "scanner").request("GET", "/version")
    assert "an-opaque-token" not in answer.message
    assert answer.message.startswith("who is [redacted")


@pytest.mark.parametrize("token", ["a-token-with-a-line\nbreak", "a-token-with-ümlaut"])
def test_a_token_that_no_header_may_hold_is_not_quoted(token: str) -> None:
    with pytest.raises(Unobservable) as caught:
        Api("http://127.0.0.1:1").with_token(token, "context here").request("GET", "/version")
    assert "the credential of context here" in str(caught.value)
    assert "a-token-with" not in str(caught.value)


def test_a_password_in_the_servers_url_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        f'{{"contexts": [{{"name": "c", "context": {{"cluster": "c"}}}}],'
        f' "clusters": [{{"name": "c", "cluster": {{"server": "https://api:{SECRET}@10.0.0.1"}}}}]}}'
    )
    with pytest.raises(KubeconfigError) as caught:
        Api.from_kubeconfig(tmp_path / "config", "c")
    assert "the server's URL holds a user or a password" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_what_is_shown_of_an_answer_is_not_its_body() -> None:
    assert SECRET not in repr(Answer(200, SECRET.encode()))
