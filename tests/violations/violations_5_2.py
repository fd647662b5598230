"""Requirement 5.2 violated: backups of the database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.violations.database import CLUSTER, primary, sql
from tests.violations.lab import Lab
from tests.violations.object_store import GROUP, archived, one_more_backup, store
from tests.violations.violation import violates

SCHEDULE: Final = f"{GROUP}/scheduledbackups/finbot-db-daily"
DAILY: Final = "0 0 2 * * *"
RECOVERED: Final = frozenset({("5.2", "restores"), ("5.5", "recovery-to-an-instant")})

# --- the schedule


@violates("5.2", "schedule", r"production/finbot-db: finbot-db-daily \(0 0 2 \* \* \*\) is suspended")
def schedule_suspended(lab: Lab) -> Iterator[None]:
    """The schedule was suspended for a migration, and nobody resumed it."""
    with lab.patched(SCHEDULE, {"spec": {"suspend": True}}, {"spec": {"suspend": False}}):
        yield


@violates("5.2", "schedule", r"finbot-db-daily \(0 0 2 \* \* 0\) runs every 168 h at the latest, a backup at most 24 h")
def schedule_weekly(lab: Lab) -> Iterator[None]:
    """Somebody made the daily backup a weekly one, to save space."""
    with lab.patched(SCHEDULE, {"spec": {"schedule": "0 0 2 * * 0"}}, {"spec": {"schedule": DAILY}}):
        yield


@violates("5.2", "schedule", r"production/finbot-db: no ScheduledBackup is for it")
def no_schedule(lab: Lab) -> Iterator[None]:
    """The schedule went with a tidied manifest; the last backup is still young."""
    with lab.without(SCHEDULE):
        yield


# --- what is stored


@violates("5.2", "newest", r"Backup seeded-violation: data\.tar is not there, to be whole in", implies=RECOVERED)
def data_of_the_newest_backup_gone(lab: Lab) -> Iterator[None]:
    """The newest backup's data were deleted from the bucket; its Backup says completed, and always will."""
    with store(lab) as s3, one_more_backup(lab, s3, "seeded-violation") as backup:
        keys = f"[o['Key'] for o in objects(s3, bucket, f'{{prefix}}base/{backup}/data')]"
        with s3.without(keys):
            yield


AGED: Final = """
import re, datetime
for each in list(objects(s3, bucket, f"{prefix}base/")):
    if each["Key"].endswith("/backup.info"):
        text = s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read().decode()
        def older(found):
            at = datetime.datetime.fromisoformat(found[2]) + datetime.timedelta(hours=HOURS)
            return f"{found[1]}={at}"
        text = re.sub(r"^(begin_time|end_time)=(.+)$", older, text, flags=re.M)
        s3.put_object(Bucket=bucket, Key=each["Key"], Body=text.encode(), ServerSideEncryption="AES256")
"""


@violates("5.2", "newest", r"the newest whole backup, \w+, ended 4\d\.\d h ago, at most 26 h \(backup_age\)")
def no_backup_for_two_days(lab: Lab) -> Iterator[None]:
    """Backups have not been taken for two days, and every resource says that all is well."""
    with store(lab) as s3:
        s3.python(AGED.replace("HOURS", "-40"))
        try:
            yield
        finally:
            s3.python(AGED.replace("HOURS", "40"))


@violates("5.2", "retention", r"production/finbot-db retentionPolicy: it keeps 7 days, kept at least 30 days \(kept\)")
def kept_for_a_week(lab: Lab) -> Iterator[None]:
    """The retention policy was shortened to a week."""
    with lab.patched(
        CLUSTER, {"spec": {"backup": {"retentionPolicy": "7d"}}}, {"spec": {"backup": {"retentionPolicy": "30d"}}}
    ):
        yield


LIFECYCLE: Final = """
rule = {"ID": "tidy", "Status": "Enabled", "Filter": {"Prefix": prefix}, "Expiration": {"Days": 7}}
s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
"""


@violates("5.2", "retention", r"lifecycle of s3://backups/finbot-db: rule .* deletes them after 7 days")
def bucket_that_tidies_itself(lab: Lab) -> Iterator[None]:
    """Whoever looks after the bucket gave it a rule that expires objects after a week; the Cluster says 30 days."""
    with store(lab) as s3:
        s3.python(LIFECYCLE)
        try:
            yield
        finally:
            s3.python("s3.delete_bucket_lifecycle(Bucket=bucket)")


ENCRYPTED: Final = """
rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
"""
REWRITTEN: Final = """
newest = max(segments(s3, bucket, prefix), key=lambda each: each["modified"])
body = s3.get_object(Bucket=bucket, Key=newest["key"])["Body"].read()
s3.put_object(Bucket=bucket, Key=newest["key"], Body=body)
"""
# What was stored in plain meanwhile is stored anew.
MENDED: Final = """
for each in segments(s3, bucket, prefix)[-20:]:
    if not s3.head_object(Bucket=bucket, Key=each["key"]).get("ServerSideEncryption"):
        body = s3.get_object(Bucket=bucket, Key=each["key"])["Body"].read()
        s3.put_object(Bucket=bucket, Key=each["key"], Body=body, ServerSideEncryption="AES256")
"""


@violates("5.2", "encrypted", r"s3://backups/finbot-db: .*[0-9A-F]{24}.* stored without encryption")
def encryption_switched_off(lab: Lab) -> Iterator[None]:
    """Encryption was switched off in the bucket and in the Cluster; what is archived since lies there in plain."""
    wal = {"spec": {"backup": {"barmanObjectStore": {"wal": {"encryption": None}}}}}
    back = {"spec": {"backup": {"barmanObjectStore": {"wal": {"encryption": "AES256"}}}}}
    with store(lab) as s3:
        try:
            with lab.patched(CLUSTER, wal, back):
                s3.python("s3.delete_bucket_encryption(Bucket=bucket)")
                s3.python(REWRITTEN)
                yield
        finally:
            s3.python(ENCRYPTED)
            s3.python(MENDED)
            # Its bytes stay on the disk until the store tidies up, so that the newest must be another one.
            archived(lab, s3)


# --- what comes out of it

EMPTIED: Final = """
import tarfile, tempfile
(key,) = [o["Key"] for o in objects(s3, bucket, f"{prefix}base/BACKUP/data")]
source = s3.get_object(Bucket=bucket, Key=key)["Body"]
with tempfile.TemporaryFile(dir="/work") as kept:
    with tarfile.open(fileobj=source, mode="r|*") as was, tarfile.open(fileobj=kept, mode="w|gz") as now:
        for member in was:
            if member.name.removeprefix("./") == "FILE":
                member.size = 0
                now.addfile(member)
            else:
                now.addfile(member, was.extractfile(member) if member.isfile() else None)
    kept.seek(0)
    s3.upload_fileobj(kept, bucket, key, ExtraArgs={"ServerSideEncryption": "AES256"})
"""


@violates("5.2", "restores", r"restored database finbot: table finbot\.public\.seeded_violation has 0 rows, the source")
def file_lost_in_the_backup(lab: Lab) -> Iterator[None]:
    """The backup holds one table's file empty; whoever wrote it noticed nothing, and a restore succeeds."""
    name = primary(lab)
    with store(lab) as s3:
        try:
            sql(lab, name, "create table seeded_violation as select generate_series(1, 40) as number", "finbot")
            file = sql(lab, name, "select pg_relation_filepath('seeded_violation')", "finbot")
            sql(lab, name, "checkpoint")
            with one_more_backup(lab, s3, "seeded-violation") as backup:
                s3.python(EMPTIED.replace("BACKUP", backup).replace("FILE", file))
                yield
        finally:
            sql(lab, name, "drop table if exists seeded_violation", "finbot")
