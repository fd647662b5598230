"""5.1 PostgreSQL fails over."""

import pytest

from policies import rules
from policies.facts.postgres import Postgres
from policies.facts.postgres_failover import PostgresFailover


@pytest.mark.requirement("5.1", "instances")
def test_enough_instances_are_ready_on_different_nodes(postgres: Postgres, judge: rules.Judge) -> None:
    """Enough instances are ready and answer, each on a node of its own."""
    judge(rules.postgres.instances, postgres)


@pytest.mark.requirement("5.1", "streaming")
def test_every_replica_streams(postgres: Postgres, judge: rules.Judge) -> None:
    """Every replica streams from the primary, as both of them say, and commits wait for one of them."""
    judge(rules.postgres.streaming, postgres)


@pytest.mark.requirement("5.1", "write-gap")
@pytest.mark.disrupts("postgres")
def test_writes_resume_within_the_limit(postgres_failover: PostgresFailover, judge: rules.Judge) -> None:
    """Killing the primary stops writes through the read-write Service no longer than allowed."""
    judge(rules.postgres_failover.write_gap, postgres_failover)


@pytest.mark.requirement("5.1", "node-loss-write-gap")
@pytest.mark.disrupts("postgres-node")
def test_writes_resume_without_the_primarys_node(postgres_node_loss: PostgresFailover, judge: rules.Judge) -> None:
    """Losing the primary's node stops writes through the read-write Service no longer than its own limit."""
    judge(rules.postgres_failover.node_loss_write_gap, postgres_node_loss)


@pytest.mark.requirement("5.1", "acknowledged-writes")
@pytest.mark.disrupts("postgres-node")
def test_no_acknowledged_write_is_lost(
    postgres_failover: PostgresFailover, postgres_node_loss: PostgresFailover, judge: rules.Judge
) -> None:
    """Neither loss costs a write whose commit was acknowledged."""
    judge(rules.postgres_failover.acknowledged_writes, postgres_failover, postgres_node_loss)


@pytest.mark.requirement("5.1", "old-primary-rejoins")
@pytest.mark.disrupts("postgres-node")
def test_the_old_primary_rejoins(
    postgres_failover: PostgresFailover, postgres_node_loss: PostgresFailover, judge: rules.Judge
) -> None:
    """After either loss the old primary comes back as a replica, and streams."""
    judge(rules.postgres_failover.old_primary_rejoins, postgres_failover, postgres_node_loss)
