"""Tokens that are asked for anew while a run lasts."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.kubernetes import Api
from fixtures.unobservable import Unobservable
from harness import identity
from harness.identity import Token
from tests.unit.small_server import Asked, serving, status


class Issuer:
    """Issues numbered tokens, until it does not."""

    def __init__(self) -> None:
        self.issued = 0
        self.away = False

    def __call__(self, asked: Asked) -> tuple[int, Any]:
        if self.away:
            return 503, status(503, "away")
        self.issued += 1
        assert asked.body["spec"]["expirationSeconds"] == identity.TOKEN_S
        return 201, {"status": {"token": f"t{self.issued}"}}


def test_a_young_token_is_kept() -> None:
    with serving(issuer := Issuer()) as server:
        token = Token(Api(server.url), "verify-system", "scanner")
        assert (token(), token(), issuer.issued) == ("Bearer t1", "Bearer t1", 1)


def test_an_older_one_is_renewed_and_outlives_an_api_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(issuer := Issuer()) as server:
        token = Token(Api(server.url), "verify-system", "scanner")
        monkeypatch.setattr(identity, "RENEW_AFTER_S", 0.0)
        assert token() == "Bearer t2"
        issuer.away = True
        assert token() == "Bearer t2"
        monkeypatch.setattr(identity, "TOKEN_S", 0)
        with pytest.raises(Unobservable, match="HTTP 503"):
            token()


def test_an_operator_who_gets_none_is_told_what_is_missing() -> None:
    with (
        serving(lambda _: (403, status(403, "no"))) as server,
        pytest.raises(Unobservable, match="serviceaccounts/token"),
    ):
        Token(Api(server.url), "verify-system", "scanner")
