"""Evidence in an S3 bucket with Object Lock: what is kept there cannot be deleted or altered until its time is over.

A run is a folder of objects, ``<prefix>/<run id>/…``, named as its files; manifest and signature come last. S3 has a
version for every write, and locks protect versions, not names: whoever may write can still lay another version or a
delete marker over a locked one. So the version written first is the run's, and anything over it is named.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from reports.chain import MANIFEST
from reports.evidence import CheckedStore, Problem, check
from reports.model import Manifest
from reports.rejudge import Decide
from reports.store import LAST, RunStore

if TYPE_CHECKING:
    from reports.signing import PublicKey
    from reports.timestamp import Authorities

SCHEME: Final = "s3://"
AT_ONCE: Final = 8
CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 20.0
ATTEMPTS: Final = 3
MANY: Final = 1000
"""Objects on one page of a listing: S3's most."""

_NO_LOCK: Final = {"ObjectLockConfigurationNotFoundError", "InvalidRequest"}
_WRONG_CREDENTIALS: Final = {"SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken", "InvalidToken"}
_DENIED: Final = {"AccessDenied", "403", "Forbidden"}
_TAKEN: Final = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


class BucketError(Exception):
    """The bucket cannot be used as it must be; `str()` is a sentence that says what to do."""


@dataclass(frozen=True)
class Bucket:
    """Where in S3 runs are kept, how it is reached, and for how long nothing there can be deleted."""

    name: str
    prefix: str = ""
    endpoint: str | None = None
    """None where AWS itself, or what its own variables of the environment name."""
    region: str | None = None
    profile: str | None = None
    credentials: Path | None = None
    """A file as AWS's tools have it; without it and ``profile``, wherever these tools look."""
    source_address: str | None = None
    """The endpoint is only spoken to from this address of the machine."""
    mode: str = ""
    """COMPLIANCE (nobody can shorten it) or GOVERNANCE; empty where any will do, for reading."""
    retention_days: int = 0

    def key(self, *parts: str) -> str:
        """The name of an object."""
        return "/".join(part for part in (self.prefix, *parts) if part)

    def url(self, *parts: str) -> str:
        """``s3://bucket/prefix/run``."""
        return f"{SCHEME}{self.name}/{self.key(*parts)}"


@dataclass(frozen=True)
class Kept:
    """What a push came to."""

    url: str
    runs: tuple[str, ...]
    """The run, after earlier ones of its chain that had not reached the bucket."""
    objects: int
    until: datetime
    """UTC; before it nothing of them can be deleted."""


@dataclass
class _Object:
    """One name in the bucket and what there is under it, the oldest first."""

    versions: list[dict[str, Any]] = field(default_factory=list)
    markers: list[dict[str, Any]] = field(default_factory=list)


class BucketStore:
    """The runs of a bucket. Every method raises BucketError."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket

    @cached_property
    def client(self) -> Any:
        """S3's client; made when it is first needed, for it takes half a second."""
        import boto3
        import botocore.session
        from botocore.config import Config

        place = self.bucket
        if place.credentials is not None and not place.credentials.is_file():
            raise BucketError(
                f"there are no credentials for {place.url()} in {place.credentials}: "
                "put them there, or name another file in evidence.store.credentials."
            )
        core = botocore.session.Session()
        if place.credentials is not None:
            core.set_config_variable("credentials_file", str(place.credentials))
        if place.profile or place.credentials is not None:
            # Named, it goes before variables of the environment, which may be meant for something else.
            core.set_config_variable("profile", place.profile or "default")
        # A bucket name before a host that is an address would be no name.
        style = {"addressing_style": "path"} if place.endpoint else {}
        config = Config(
            s3=style,
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            max_pool_connections=AT_ONCE,
        )
        with self._said():
            session = boto3.session.Session(botocore_session=core)
            return session.client("s3", endpoint_url=place.endpoint, region_name=place.region, config=config)

    def reachable(self) -> None:
        """Whether the endpoint takes connections, seen in a moment and from the address that is meant."""
        place = self.bucket
        if not place.endpoint:
            return
        parts = urlsplit(place.endpoint)
        at = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        here = (place.source_address, 0) if place.source_address else None
        try:
            socket.create_connection(at, timeout=CONNECT_TIMEOUT_S, source_address=here).close()
        except OSError as error:
            sentence = f"cannot reach {place.endpoint}: {error.strerror or error}; look at evidence.store.endpoint"
            raise BucketError(f"{sentence} in the target, and whether the store runs.") from error

    # --- writing

    def push(self, folder: Path) -> Kept:
        """Keep a run that ended, and the ones before it in its chain that had not reached the bucket.

        What is there already stays; something else under the same name is an error. A run is whole in the bucket when
        its manifest is there.
        """
        run = RunStore.open(folder)
        self.reachable()
        self._must_lock()
        # From the clock of this machine, which also dates the run.
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=self.bucket.retention_days)
        runs = [*self._not_there_yet(run), run]
        objects = sum(self._upload(each, until) for each in runs)
        self._must_be_locked(run, until)
        return Kept(self.bucket.url(run.run_id), tuple(each.run_id for each in runs), objects, until)

    def _must_lock(self) -> None:
        with self._said("s3:GetBucketObjectLockConfiguration"):
            said = self.client.get_object_lock_configuration(Bucket=self.bucket.name)
        if said.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
            raise BucketError(self._no_lock())

    def _not_there_yet(self, run: RunStore) -> list[RunStore]:
        """Runs before this one that were meant for here and could not be pushed when they ended, the oldest first."""
        name, found = _manifest(run).previous_run, list[RunStore]()
        while name and (run.path.parent / name / MANIFEST).is_file():
            before = RunStore.open(run.path.parent / name)
            if _manifest(before).store == self.bucket.url():
                if self._is_there(self.bucket.key(name, MANIFEST)):
                    break
                found.insert(0, before)
            name = _manifest(before).previous_run
        return found

    def _upload(self, run: RunStore, until: datetime) -> int:
        names = sorted(p.relative_to(run.path).as_posix() for p in run.path.rglob("*") if p.is_file())
        last = [name for name in LAST if name in names]  # the manifest is the very last
        self._each(lambda name: self._put(run, name, until), [name for name in names if name not in last])
        for name in last:
            self._put(run, name, until)
        return len(names)

    def _put(self, run: RunStore, name: str, until: datetime) -> None:
        from botocore.exceptions import ClientError

        key, content = self.bucket.key(run.run_id, name), (run.path / name).read_bytes()
        lock = {"ObjectLockMode": self.bucket.mode, "ObjectLockRetainUntilDate": until}
        with self._said("s3:PutObject and s3:PutObjectRetention"):
            try:
                self.client.put_object(Bucket=self.bucket.name, Key=key, Body=content, IfNoneMatch="*", **lock)
            except ClientError as error:
                if error.response["Error"]["Code"] not in _TAKEN:
                    raise
                there = self.client.get_object(Bucket=self.bucket.name, Key=key)["Body"].read()
                if there != content:
                    sentence = f"{SCHEME}{self.bucket.name}/{key} is there already and holds something else"
                    raise BucketError(f"{sentence}; `verify evidence check` there says what it is.") from error

    def _must_be_locked(self, run: RunStore, until: datetime) -> None:
        """A server that knows no locks may take the words for them and do nothing. Asked of the manifest."""
        key = self.bucket.key(run.run_id, MANIFEST)
        with self._said("s3:GetObject and s3:GetObjectRetention"):
            said = self.client.head_object(Bucket=self.bucket.name, Key=key)
        if said.get("ObjectLockMode") is None:
            raise BucketError(f"{SCHEME}{self.bucket.name}/{key} was written and is not locked: {self._no_lock()}")

    def _is_there(self, key: str) -> bool:
        from botocore.exceptions import ClientError

        with self._said("s3:GetObject and s3:ListBucket"):
            try:
                self.client.head_object(Bucket=self.bucket.name, Key=key)
            except ClientError as error:
                if error.response["Error"]["Code"] not in {"404", "NoSuchKey", "NotFound"}:
                    raise
                return False
        return True

    # --- reading

    def runs(self) -> tuple[str, ...]:
        """The runs of the bucket, whole or not, hidden or not, in their order."""
        start = f"{self.bucket.prefix}/" if self.bucket.prefix else ""
        with self._said("s3:ListBucketVersions"):
            pages = self.client.get_paginator("list_object_versions").paginate(
                Bucket=self.bucket.name, Prefix=start, Delimiter="/"
            )
            found = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", [])]
        return tuple(sorted({prefix.removeprefix(start).rstrip("/") for prefix in found}))

    def latest(self) -> str:
        """The newest run that is whole."""
        for run in reversed(self.runs()):
            if MANIFEST in self._objects(run):
                return run
        raise BucketError(f"{self.bucket.url()} holds no run that is whole.")

    def fetch(self, run: str, to: Path) -> tuple[Path, tuple[Problem, ...]]:
        """Bring a run into ``to/<run id>``, which must not be there; returns it and what is wrong in the bucket."""
        self.reachable()
        target = to / run
        if target.exists():
            raise BucketError(f"{target} is there already, and nothing is written over it: name another folder.")
        to.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".fetch-", dir=to))
        try:
            problems = self._download(run, draft / run)
            (draft / run).rename(target)
        finally:
            shutil.rmtree(draft)
        return target, problems

    def check(
        self, run: str | None, keys: Sequence[PublicKey], decide: Decide, authorities: Authorities | None = None
    ) -> CheckedStore:
        """Check one run, or all of the bucket: versions and locks there, then all that is checked of a folder."""
        self.reachable()
        runs = self.runs()
        if not runs or (run is not None and run not in runs):
            raise BucketError(f"{self.bucket.url(run or '')} holds no run; look at bucket and prefix.")
        with tempfile.TemporaryDirectory(prefix="verify-") as scratch:
            folder = Path(scratch)
            wrong = {each: self._download(each, folder / each, whole=run in {None, each}) for each in runs}
            path = folder / run if run is not None else folder
            found = check(path, keys, decide, authorities=authorities, one_folder=False)
        return CheckedStore(
            tuple(replace(one, problems=(*wrong[one.run], *one.problems)) for one in found.runs), found.problems
        )

    def _download(self, run: str, folder: Path, *, whole: bool = True) -> tuple[Problem, ...]:
        """The run as it was first written; returns what lies over that, and what is not locked as it must be."""
        folder.mkdir()
        problems: list[Problem] = []
        names: list[str] = []
        objects = self._objects(run)
        for name, there in sorted(objects.items()):
            if not is_plain(name):
                problems.append(Problem(repr(name), "it is no name that a run gives to a file"))
                continue
            for over in there.versions[1:]:
                problems.append(Problem(name, f"it was written again on {_day(over)}; what was first is checked here"))
            for marker in there.markers:
                problems.append(Problem(name, f"it was deleted on {_day(marker)}; its first version is checked here"))
            if there.versions and (whole or name == MANIFEST):
                names.append(name)
        locks = self._each(lambda name: self._get(run, name, objects[name], folder), names)
        problems += [wrong for wrong in locks if wrong is not None]
        if whole and (folder / MANIFEST).exists():
            (folder / "facts").mkdir(exist_ok=True)
        return tuple(problems)

    def _objects(self, run: str) -> dict[str, _Object]:
        start = self.bucket.key(run) + "/"
        found: dict[str, _Object] = {}
        with self._said("s3:ListBucketVersions"):
            for page in self.client.get_paginator("list_object_versions").paginate(
                Bucket=self.bucket.name, Prefix=start, MaxKeys=MANY
            ):
                for one in page.get("Versions", []):  # of one name the newest comes first
                    found.setdefault(one["Key"].removeprefix(start), _Object()).versions.insert(0, one)
                for one in page.get("DeleteMarkers", []):
                    found.setdefault(one["Key"].removeprefix(start), _Object()).markers.append(one)
        return found

    def _get(self, run: str, name: str, there: _Object, folder: Path) -> Problem | None:
        version = there.versions[0]["VersionId"]
        with self._said("s3:GetObjectVersion and s3:GetObjectRetention"):
            said = self.client.get_object(Bucket=self.bucket.name, Key=self.bucket.key(run, name), VersionId=version)
            content = said["Body"].read()
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return self._wrong_lock(name, said)

    def _wrong_lock(self, name: str, said: dict[str, Any]) -> Problem | None:
        mode, until = said.get("ObjectLockMode"), said.get("ObjectLockRetainUntilDate")
        if mode is None or until is None:
            what = "it is not locked (or its lock may not be seen, s3:GetObjectRetention), so it could be deleted"
            return Problem(name, what, altered=False)
        if self.bucket.mode == "COMPLIANCE" and mode != self.bucket.mode:
            what = f"it is locked in mode {mode}, which some may lift; {self.bucket.mode} is asked for"
            return Problem(name, what, altered=False)
        least = said["LastModified"] + timedelta(days=self.bucket.retention_days) - CLOCKS_DIFFER
        if until < least:
            what = f"it is locked until {until:%Y-%m-%d %H:%M} UTC, shorter than {self.bucket.retention_days} days"
            return Problem(name, f"{what} from {said['LastModified']:%Y-%m-%d %H:%M}", altered=False)
        return None

    # --- both

    def _each(self, work: Any, names: Sequence[str]) -> list[Any]:
        self.client  # noqa: B018  (made before threads share it)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            tasks = [pool.submit(work, name) for name in names]
            try:
                return [task.result() for task in tasks]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _no_lock(self) -> str:
        return (
            f"the bucket {self.bucket.name} has no Object Lock, so what is kept there could be deleted. "
            "Turn it on (with versioning) before runs are kept there, or name a bucket that has it."
        )

    @contextmanager
    def _said(self, permission: str = "") -> Iterator[None]:
        """What S3 and its client say, as sentences."""
        from botocore.exceptions import BotoCoreError, ClientError

        where = self.bucket.url()
        try:
            yield
        except ClientError as error:
            code = error.response["Error"].get("Code", "")
            said = f"{code}: {error.response['Error'].get('Message', '')}".strip(": ")
            if code in _NO_LOCK:
                raise BucketError(self._no_lock()) from error
            if code == "NoSuchBucket":
                raise BucketError(
                    f"there is no bucket {self.bucket.name} at {where}: make it, with Object Lock."
                ) from error
            if code in _WRONG_CREDENTIALS:
                sentence = (
                    f"the credentials for {where} are not accepted ({said}): look at evidence.store in the target."
                )
                raise BucketError(sentence) from error
            if code in _DENIED:
                sentence = (
                    f"{where} refuses {error.operation_name}: give these credentials {permission or 'the right to'}."
                )
                raise BucketError(sentence) from error
            raise BucketError(f"{where} refuses {error.operation_name} ({said}).") from error
        except BotoCoreError as error:
            sentence = f"cannot use {where}: {error}. Look at evidence.store in the target and at the credentials."
            raise BucketError(sentence) from error


CLOCKS_DIFFER: Final = timedelta(hours=1)
"""The lock is set by the clock of whoever writes, the time of writing by that of the store."""


def parse_url(url: str, bucket: Bucket | None = None) -> Bucket:
    """``s3://bucket/path`` as a place, reached as ``bucket`` is where that is given. Raises BucketError."""
    name, _, path = url.removeprefix(SCHEME).partition("/")
    if not name:
        raise BucketError(f"{url} names no bucket: write s3://BUCKET/PREFIX/RUN.")
    return replace(bucket or Bucket(name), name=name, prefix=path.strip("/"))


def _manifest(run: RunStore) -> Manifest:
    manifest = run.read().manifest
    if manifest is None:
        raise BucketError(
            f"run {run.run_id} did not end, so nothing vouches for it yet; `verify run --resume` ends it."
        )
    return manifest


def is_plain(name: str) -> bool:
    """Whether a name from the bucket is that of a file below the run's folder, wherever it was written."""
    path = PurePosixPath(name)
    return path.as_posix() == name and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _day(version: dict[str, Any]) -> str:
    return f"{version['LastModified'].astimezone(UTC):%Y-%m-%d %H:%M} UTC"
