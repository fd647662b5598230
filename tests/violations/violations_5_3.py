"""Requirement 5.3 violated: replicas that stand still, Services that lead elsewhere, slots that nobody wants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.violations import database
from tests.violations.database import sql
from tests.violations.lab import Lab
from tests.violations.violation import violates

LAG_TIME: Final = ("5.3", "lag-time")
LAG_BYTES: Final = ("5.3", "lag-bytes")
STREAMING: Final = ("5.1", "streaming")

# --- lag


@violates("5.3", "lag-time", r"finbot-db-\d: \d+ of \d+ commits not to be seen there", implies=frozenset({LAG_BYTES}))
def replay_paused(lab: Lab) -> Iterator[None]:
    """Somebody paused replay on a replica to look at something, and forgot it: it receives, and shows nothing new."""
    replica = database.replicas(lab)[0]
    sql(lab, replica, "select pg_wal_replay_pause()")
    try:
        yield
    finally:
        sql(lab, replica, "select pg_wal_replay_resume()")
        database.healed(lab)


@violates("5.3", "lag-time", r"finbot-db-\d: at most [3-9]\.\d+ s behind")
def replica_delayed_on_purpose(lab: Lab) -> Iterator[None]:
    """One replica was made to apply everything some seconds late, as a guard against slips of the hand."""
    replica = database.replicas(lab)[-1]
    path = "$PGDATA/postgresql.auto.conf"
    late = (
        f"cp -p {path} /controller/tmp/kept; chmod u+w {path}; echo \"recovery_min_apply_delay = '3500ms'\" >> {path}"
    )
    back = f"chmod u+w {path}; cat /controller/tmp/kept > {path}; chmod u-w {path}; rm /controller/tmp/kept"
    database.shell(lab.api, replica, late)
    try:
        sql(lab, replica, "select pg_reload_conf()")
        shown = "show recovery_min_apply_delay"
        lab.until(lambda: sql(lab, replica, shown) == "3500ms", f"{replica} to apply late")
        yield
    finally:
        database.shell(lab.api, replica, back)
        sql(lab, replica, "select pg_reload_conf()")
        database.healed(lab)


@violates("5.3", "lag-bytes", r"finbot-db-\d: at most [23]\d\.\d+ MiB behind", implies=frozenset({LAG_TIME}))
def report_holds_up_replay(lab: Lab) -> Iterator[None]:
    """A report reads a table on a replica for an hour, may not be cancelled, and a migration waits for it there."""
    replica, first = database.replicas(lab)[0], database.primary(lab)
    patience = "max_standby_streaming_delay"
    change = {"spec": {"postgresql": {"parameters": {patience: "-1"}}}}
    back = {"spec": {"postgresql": {"parameters": {patience: None}}}}
    sql(lab, first, "drop table if exists reported; create table reported (entry int)", "verify")
    ended = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'monthly-report'"
    try:
        with database.declared(lab, change, back):
            lab.until(lambda: sql(lab, replica, f"show {patience}") == "-1", f"{replica} to be patient")
            there = "select to_regclass('reported') is not null"
            lab.until(lambda: sql(lab, replica, there, "verify") == "t", "the table on the replica")
            report = "begin; select * from reported; select pg_sleep(3600)"
            start = f"PGAPPNAME=monthly-report psql -X -d verify -c '{report}' >/dev/null 2>&1 </dev/null &"
            database.shell(lab.api, replica, start)
            running = "select count(*) from pg_stat_activity where application_name = 'monthly-report'"
            lab.until(lambda: sql(lab, replica, f"{running} and wait_event = 'PgSleep'") == "1", "the report to run")
            sql(lab, first, "alter table reported add column note text", "verify")
            yield
    finally:
        sql(lab, replica, ended)
        sql(lab, first, "drop table if exists reported", "verify")
        lab.until(lambda: sql(lab, replica, f"show {patience}") != "-1", f"{replica} to be as before")
        database.healed(lab)


@violates(
    "5.3",
    "lag-bytes",
    r"of them without it in the primary's pg_stat_replication",
    implies=frozenset({LAG_TIME, STREAMING}),
)
def replica_cut_from_the_primary(lab: Lab) -> Iterator[None]:
    """A firewall rule lets no replication through to one replica any more; it is ready, and its cluster healthy."""
    with database.behind_a_firewall(lab):
        yield


# --- Services


@violates("5.3", "read-only-service", r"finbot-db-ro: 60 connections: \d+ at finbot-db-\d, a primary")
def endpoint_added_by_hand(lab: Lab) -> Iterator[None]:
    """While replicas were down somebody let the read-only Service lead to the primary as well, and it stayed."""
    with database.endpoint_by_hand(lab, "finbot-db-ro", database.primary(lab)):
        yield


@violates("5.3", "read-only-service", r"60 connections: \d+ at finbot-db-\d, a primary")
def read_only_selects_every_instance(lab: Lab) -> Iterator[None]:
    """The read-only Service selects every instance, with the operator told to leave the cluster alone."""
    with database.selecting(lab, "finbot-db-ro", {"cnpg.io/cluster": "finbot-db", "cnpg.io/podRole": "instance"}):
        yield


@violates("5.3", "read-only-service", r"finbot-db-ro: 60 connections: 60 unanswered")
def read_only_selects_nobody(lab: Lab) -> Iterator[None]:
    """The read-only Service selects by a label of an older version that no pod has any more."""
    with database.selecting(lab, "finbot-db-ro", {"cnpg.io/cluster": "finbot-db", "role": "standby"}):
        yield


@violates("5.3", "read-write-service", r"finbot-db-rw: 60 connections: \d+ at finbot-db-\d, a replica")
def read_write_leads_to_a_replica_too(lab: Lab) -> Iterator[None]:
    """An endpoint that was made by hand for the read-write Service leads to what is a replica by now."""
    with database.endpoint_by_hand(lab, "finbot-db-rw", database.replicas(lab)[0]):
        yield


@violates(
    "5.3",
    "read-write-service",
    r"60 connections: \d+ at finbot-db-\d, a replica; \d+ at finbot-db-\d, a replica",
    blinds=frozenset({LAG_TIME, LAG_BYTES}),
)
def read_write_selects_replicas(lab: Lab) -> Iterator[None]:
    """The read-write Service got the read-only one's selector, with the operator told to leave the cluster alone."""
    with database.selecting(lab, "finbot-db-rw", {"cnpg.io/cluster": "finbot-db", "cnpg.io/instanceRole": "replica"}):
        yield


# --- slots


@violates("5.3", "slots", r"slot old_standby on finbot-db-\d: physical, .* keeps \d+\.\d MiB of WAL")
def slot_of_a_standby_that_is_gone(lab: Lab) -> Iterator[None]:
    """A standby outside of the cluster was given a slot, and was switched off one day."""
    with database.slot(lab, "select pg_create_physical_replication_slot('old_standby', true)", "old_standby"):
        yield


@violates("5.3", "slots", r"slot warehouse on finbot-db-\d: logical, .* keeps \d+\.\d MiB of WAL")
def slot_of_a_subscriber_that_is_gone(lab: Lab) -> Iterator[None]:
    """A data warehouse subscribed to changes by logical decoding, and nobody unsubscribed it."""
    with database.slot(lab, "select pg_create_logical_replication_slot('warehouse', 'pgoutput')", "warehouse"):
        yield


@violates("5.3", "slots", r"slot reserved_for_later on finbot-db-\d: physical, .* keeps no WAL, no slot")
def slot_that_was_never_used(lab: Lab) -> Iterator[None]:
    """A slot was made for a standby that never came: it will keep everything from the day somebody tries it once."""
    with database.slot(lab, "select pg_create_physical_replication_slot('reserved_for_later')", "reserved_for_later"):
        yield
