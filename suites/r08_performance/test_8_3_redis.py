"""8.3 Redis."""

import pytest

from policies import rules
from policies.facts.redis import RedisCluster, RedisFailover, RedisReads


@pytest.mark.requirement("8.3", "topology")
def test_every_master_has_its_replica(redis_cluster: RedisCluster, judge: rules.Judge) -> None:
    """There are enough masters, each has a replica that may take over, and all members know each other."""
    judge(rules.redis.topology, redis_cluster)


@pytest.mark.requirement("8.3", "slots")
def test_every_slot_is_covered(redis_cluster: RedisCluster, judge: rules.Judge) -> None:
    """In the eyes of every member each hash slot belongs to a master that has not failed."""
    judge(rules.redis.slots, redis_cluster)


@pytest.mark.requirement("8.3", "spread")
def test_no_node_holds_two_masters_or_a_whole_shard(redis_cluster: RedisCluster, judge: rules.Judge) -> None:
    """Masters are in different nodes, and no replica is in the node of its master."""
    judge(rules.redis.spread, redis_cluster)


@pytest.mark.requirement("8.3", "persistence")
def test_every_member_persists(redis_cluster: RedisCluster, judge: rules.Judge) -> None:
    """Every member writes its append-only file, without error, to a volume that outlives its pod."""
    judge(rules.redis.persistence, redis_cluster)


@pytest.mark.requirement("8.3", "master-loss")
@pytest.mark.disrupts("redis")
def test_the_loss_of_a_master_is_repaired(redis_failover: RedisFailover, judge: rules.Judge) -> None:
    """Killing a master stops sessions from being stored no longer than allowed, and it comes back."""
    judge(rules.redis.master_loss, redis_failover)


@pytest.mark.requirement("8.3", "sessions")
@pytest.mark.disrupts("redis")
def test_sessions_survive_the_loss_of_a_master(redis_failover: RedisFailover, judge: rules.Judge) -> None:
    """Killing a master loses no session that was acknowledged."""
    judge(rules.redis.sessions, redis_failover)


@pytest.mark.requirement("8.3", "hit-ratio")
def test_most_reads_are_answered_from_the_cache(redis_reads: RedisReads, judge: rules.Judge) -> None:
    """Under load most reads find their key."""
    judge(rules.redis.hit_ratio, redis_reads)
