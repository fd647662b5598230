"""5.4 Pooling."""

import pytest

from policies import rules
from policies.facts.pooler import PooledClients, Pooler, PoolerDoors, PoolerLoss


@pytest.mark.requirement("5.4", "replicas")
def test_enough_poolers_are_ready(pooler: Pooler, judge: rules.Judge) -> None:
    """Enough poolers are ready behind their Service, in different nodes, for one of them to be lost."""
    judge(rules.pooler.replicas, pooler)


@pytest.mark.requirement("5.4", "multiplexing")
def test_many_clients_share_few_server_connections(pooled_clients: PooledClients, judge: rules.Judge) -> None:
    """Many clients are connected and served at once, on no more server connections than are declared."""
    judge(rules.pooler.multiplexing, pooled_clients)


@pytest.mark.requirement("5.4", "client-tls")
def test_clients_without_tls_are_refused(pooler_doors: PoolerDoors, judge: rules.Judge) -> None:
    """Every pooler refuses a client without TLS and serves one with TLS."""
    judge(rules.pooler.client_tls, pooler_doors)


@pytest.mark.requirement("5.4", "pooler-loss")
@pytest.mark.disrupts("pooler")
def test_losing_a_pooler_fails_hardly_any_request(pooler_loss: PoolerLoss, judge: rules.Judge) -> None:
    """Losing one pooler under load fails no more requests than allowed."""
    judge(rules.pooler.pooler_loss, pooler_loss)
