"""The lab's backups in the hands of whoever loses them: objects in the store, Backups, and the archiver."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fixtures.clients import Client, client
from fixtures.database_backups import StoreAccess, database, store_access
from fixtures.unobservable import Unobservable
from policies.facts.base import Cause, Unseen
from tests.violations.database import primary, shell, sql
from tests.violations.lab import Lab, Object

STIR: Final = "create table seeded_violation (); drop table seeded_violation"
GROUP: Final = "/apis/postgresql.cnpg.io/v1/namespaces/production"
AWAY: Final = "moved-away/"
PRELUDE: Final = """
import json, sys
from fixtures.in_pod.bucket import connect, objects, segments
store = json.loads(sys.argv[1])
s3, bucket, prefix = connect(store), store["bucket"], store["prefix"]
def move(key, to):
    s3.copy_object(Bucket=bucket, Key=to, CopySource={"Bucket": bucket, "Key": key}, ServerSideEncryption="AES256")
    s3.delete_object(Bucket=bucket, Key=key)
"""
LOCKED: Final = "import os; os.chmod(os.environ['PGDATA'] + '/postgresql.auto.conf', {mode})"
# A command that hangs is waited for by the archiver.
ENDED: Final = """
import os, pathlib
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if (process / "cmdline").read_bytes() == b"sleep\\0003600\\000":
            os.kill(int(process.name), 15)
    except OSError:
        pass
"""
# What a command that does nothing called done is sent again.
AGAIN: Final = """
import os, pathlib
wal = pathlib.Path(os.environ["PGDATA"], "pg_wal")
for done in (wal / "archive_status").glob("*.done"):
    if len(done.stem) == 24 and done.stem >= "{began}" and (wal / done.stem).exists():
        done.rename(done.with_suffix(".ready"))
"""
BACK: Final = f"""
for each in list(objects(s3, bucket, "{AWAY}")):
    move(each["Key"], each["Key"].removeprefix("{AWAY}"))
"""


class Store:
    """The object store, from a pod that has its keys."""

    def __init__(self, lab: Lab, pod: Client, access: StoreAccess) -> None:
        self.lab = lab
        self._pod = pod
        self._access = access

    def python(self, body: str, timeout_s: float = 90.0) -> str:
        """What a program printed that has ``s3``, ``bucket``, ``prefix``, ``objects`` and ``move``."""
        argv = ["python3", "-c", PRELUDE + body, json.dumps(dict(self._access.argument))]
        done = self.lab.api.exec(self._pod.namespace, self._pod.name, "probe", argv, timeout_s)
        if done.exit_code:
            raise Unobservable(Unseen(Cause.INVALID, "a program in the object store", done.stderr))
        return done.stdout.strip()

    @contextmanager
    def without(self, choose: str) -> Iterator[str]:
        """Objects that are moved out of the way meanwhile; ``choose`` is an expression for their keys."""
        moved = self.python(f"keys = {choose}\nfor key in keys: move(key, '{AWAY}' + key)\nprint(*keys)")
        try:
            yield moved
        finally:
            self.python(BACK)


@contextmanager
def store(lab: Lab) -> Iterator[Store]:
    """The object store that the database's Cluster names."""
    of = database(lab.target)
    access = store_access(lab.api, of)
    with client(
        lab.api, lab.target, "seeded", namespace=of.namespace, purpose="violation", secrets=access.secrets
    ) as pod:
        yield Store(lab, pod, access)


@contextmanager
def one_more_backup(lab: Lab, s3: Store, name: str) -> Iterator[str]:
    """A backup that is taken now, by its id in the store; it is gone afterwards."""
    body: Object = {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Backup",
        "metadata": {"name": name},
        "spec": {"cluster": {"name": "finbot-db"}, "method": "barmanObjectStore"},
    }
    path = f"{GROUP}/backups/{name}"
    backup_id = ""
    with lab.made(f"{GROUP}/backups", body):
        try:
            lab.until(lambda: _completed(lab, path), f"{name} to be completed", 180.0)
            backup_id = lab.get(path)["status"]["backupId"]
            yield backup_id
        finally:
            if backup_id:
                each = "for each in list(objects(s3, bucket, f'{prefix}base/" + backup_id + "/')):\n"
                s3.python(each + "    s3.delete_object(Bucket=bucket, Key=each['Key'])")


def closed(lab: Lab) -> str:
    """A segment that was written to and then closed."""
    name = primary(lab)
    sql(lab, name, STIR)
    return sql(lab, name, "select pg_walfile_name(pg_switch_wal())")


def archived(lab: Lab, s3: Store) -> str:
    """A segment that was closed and has come into the archive, encrypted."""
    segment = closed(lab)
    head = "s3.head_object(Bucket=bucket, Key=s['key']).get('ServerSideEncryption')"
    found = f"[s['name'] for s in segments(s3, bucket, prefix)[-3:] if s['name'] == '{segment}' and {head}]"
    lab.until(lambda: s3.python(f"print(*{found})"), f"{segment} to be archived")
    return segment


def _completed(lab: Lab, path: str) -> bool:
    status = lab.get(path).get("status", {})
    assert status.get("phase") != "failed", status
    return bool(status.get("phase") == "completed" and status.get("backupId"))


@contextmanager
def archive_command(lab: Lab, command: str) -> Iterator[str]:
    """Another archive_command in the primary, set by its superuser; what it lost is archived afterwards.

    The operator keeps `postgresql.auto.conf` read-only, and nothing reads it but PostgreSQL.
    """
    name = primary(lab)
    _python(lab, name, LOCKED.format(mode="0o600"))
    began = sql(lab, name, "select pg_walfile_name(pg_current_wal_lsn())")
    try:
        sql(lab, name, f"alter system set archive_command = '{command}'")
        sql(lab, name, "select pg_reload_conf()")
        lab.until(lambda: sql(lab, name, "show archive_command") == command, "the command to be in force")
        yield name
    finally:
        sql(lab, name, "alter system reset archive_command")
        _python(lab, name, LOCKED.format(mode="0o400"))
        sql(lab, name, "select pg_reload_conf()")
        _python(lab, name, ENDED)
        _python(lab, name, AGAIN.format(began=began))
        closed = sql(lab, name, "select pg_walfile_name(pg_switch_wal())")
        last = "select coalesce(last_archived_wal, '') from pg_stat_archiver"
        lab.until(lambda: sql(lab, name, last)[8:24] >= closed[8:24], "the archive to have caught up", 180.0)


def _python(lab: Lab, pod: str, program: str) -> None:
    """Run a program in an instance, whose image has Barman, and so Python."""
    shell(lab.api, pod, f"python3 -c {shlex.quote(program)}")
