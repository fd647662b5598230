"""Where a target wants its evidence kept and stamped, as the reports understand it; and a run's way there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from policies.documents import DocumentError
from targets.model import Target, expand

if TYPE_CHECKING:
    # Loaded where a target names them: what they need takes longer to load than all that a run judges by.
    from reports.bucket import Bucket, Kept
    from reports.timestamp import Authority


def bucket_of(target: Target) -> Bucket | None:
    """The bucket that a target names. Raises DocumentError for a variable that is not set."""
    store = target.evidence.store
    if store is None:
        return None
    from reports.bucket import Bucket

    return Bucket(
        name=store.bucket,
        prefix=store.prefix or "",
        endpoint=store.endpoint,
        region=store.region,
        profile=store.profile,
        credentials=expand(store.credentials, ("evidence", "store", "credentials")) if store.credentials else None,
        source_address=target.cluster.source_address,
        mode=store.mode,
        retention_days=store.retention_days,
    )


def authority_of(target: Target) -> Authority | None:
    """The timestamp authority that a target names. Raises DocumentError and StampError."""
    stamps = target.evidence.timestamp
    if stamps is None:
        return None
    from reports.timestamp import Authority, load_authorities

    return Authority(stamps.url, load_authorities(expand(stamps.ca, ("evidence", "timestamp", "ca"))))


def keep(target: Target, folder: Path) -> Kept | str:
    """Push a run that ended into the target's bucket: what came of it, or why it is only in its folder; "" for none."""
    if target.evidence.store is None:
        return ""
    from reports.bucket import BucketError, BucketStore

    try:
        bucket = bucket_of(target)
        return BucketStore(bucket).push(folder) if bucket is not None else ""
    except (BucketError, DocumentError) as error:
        return str(error)
