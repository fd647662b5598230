"""What a Pooler declares, and which of its pods is killed."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from fixtures.pooler import _PgBouncer, _settings, _victim
from fixtures.unobservable import Unobservable
from policies.facts.base import Cause
from policies.facts.pooler import Pooler, PoolerPod


def test_what_is_left_out_is_as_pgbouncer_has_it() -> None:
    """PgBouncer's own defaults, which are not bounds everywhere."""
    settings = _settings(_PgBouncer(parameters={"reserve_pool_size": "5"}))
    assert (settings.mode, settings.default_pool_size, settings.max_client_conn) == ("session", 20, 100)
    assert settings.most_server_connections == 25


@pytest.mark.parametrize("bound", ["max_db_connections", "max_user_connections"])
def test_a_lower_bound_counts(bound: str) -> None:
    """Where it is set, for zero is none."""
    parameters = {"default_pool_size": "15", bound: "10"}
    assert _settings(_PgBouncer(parameters=parameters)).most_server_connections == 10
    assert _settings(_PgBouncer(parameters=parameters | {bound: "0"})).most_server_connections == 15


def test_what_is_no_number_is_said() -> None:
    """And nothing is guessed in its place."""
    with pytest.raises(Unobservable) as error:
        _settings(_PgBouncer(parameters={"default_pool_size": "many"}))
    assert error.value.unseen.cause is Cause.INVALID


def seen(*pods: PoolerPod) -> Pooler:
    """A pooler of these pods."""
    return Pooler(datetime(2026, 11, 24, tzinfo=UTC), "production", "finbot-db-pooler", len(pods), pods)


def test_the_one_that_serves_most_is_killed() -> None:
    """Its loss is the worst; one that is not behind the Service is spared, for its loss shows nothing."""
    pods = [PoolerPod(name, "w1", name, True, name != "c") for name in "abc"]
    assert _victim(seen(*pods), Counter({"a": 3, "b": 5, "c": 9})).name == "b"


def test_where_none_serves_none_is_killed() -> None:
    """That is unsafe."""
    with pytest.raises(Unobservable) as error:
        _victim(seen(PoolerPod("a", "w1", "a", True, False)), Counter({"a": 3}))
    assert error.value.unseen.cause is Cause.UNSAFE
