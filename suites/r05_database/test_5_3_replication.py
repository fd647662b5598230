"""5.3 Replication."""

import pytest

from policies import rules
from policies.facts.postgres import DatabaseServices, Postgres, ReplicationLag


@pytest.mark.requirement("5.3", "lag-time")
def test_replicas_show_commits_in_time_under_load(replication_lag: ReplicationLag, judge: rules.Judge) -> None:
    """Under load every replica shows what was committed within a moment."""
    judge(rules.postgres.lag_time, replication_lag)


@pytest.mark.requirement("5.3", "lag-bytes")
def test_replicas_have_little_to_replay_under_load(replication_lag: ReplicationLag, judge: rules.Judge) -> None:
    """Under load no replica has more than a little WAL to replay."""
    judge(rules.postgres.lag_bytes, replication_lag)


@pytest.mark.requirement("5.3", "read-only-service")
def test_the_read_only_service_reaches_replicas(
    postgres: Postgres, database_services: DatabaseServices, judge: rules.Judge
) -> None:
    """Every connection through the read-only Service ends at a replica."""
    judge(rules.postgres.read_only_service, postgres, database_services)


@pytest.mark.requirement("5.3", "read-write-service")
def test_the_read_write_service_reaches_the_primary(
    postgres: Postgres, database_services: DatabaseServices, judge: rules.Judge
) -> None:
    """Every connection through the read-write Service ends at the primary."""
    judge(rules.postgres.read_write_service, postgres, database_services)


@pytest.mark.requirement("5.3", "slots")
def test_no_slot_is_abandoned(postgres: Postgres, judge: rules.Judge) -> None:
    """No replication slot keeps WAL for somebody who will not come for it."""
    judge(rules.postgres.slots, postgres)
