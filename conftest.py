"""Brings the fixtures of every system and the harness to pytest, each after those it imports."""

pytest_plugins = [
    "fixtures.kubernetes",
    "fixtures.declared",
    "fixtures.nodes",
    "fixtures.network",
    "fixtures.access",
    "fixtures.alerts",
    "fixtures.control_plane",
    "fixtures.postgres",
    "fixtures.postgres_failover",
    "fixtures.redis",
    "fixtures.pooler",
    "fixtures.database_backups",
    "harness.plugin",
]
