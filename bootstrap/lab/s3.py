"""The lab's S3: SeaweedFS on the machine, with a bucket under Object Lock into which runs put their evidence.

Only S3 itself, which knows one key, and its gRPC port listen on the bridge. Everything below it (master, volume,
filer), where locks mean nothing, listens on loopback alone.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bootstrap.lab.layout import BIN, BRIDGE_ADDRESS, HOST
from bootstrap.lab.templates import write
from bootstrap.lab.waiting import wait_until

BUCKET = "evidence"
PORT = 8333
BELOW = 28330
"""The first of PORTS_BELOW ports on loopback."""
PORTS_BELOW = 7
LOOPBACK = "127.0.0.1"
VOLUME_MB = 256
VOLUMES = 30
BUCKET_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Server:
    """One SeaweedFS in a folder. ``below`` is the first of PORTS_BELOW free ports on loopback."""

    folder: Path
    address: str
    port: int
    below: int

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    @property
    def credentials(self) -> Path:
        """The one key, as AWS's tools read it."""
        return self.folder / "credentials"

    def prepare(self) -> None:
        """Make the key, once, and the folders."""
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        (self.folder / "tmp").mkdir(exist_ok=True)
        if self.credentials.exists():
            return
        key, secret = f"AK{secrets.token_hex(9).upper()}", secrets.token_urlsafe(30)
        identity = {
            "name": "verify",
            "credentials": [{"accessKey": key, "secretKey": secret}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        write(self.folder / "s3.json", json.dumps({"identities": [identity]}), 0o600)
        text = f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
        write(self.credentials, text, 0o600)

    def command(self, weed: Path) -> Sequence[str | Path]:
        """How it is started."""
        master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3_grpc = range(self.below, self.below + 7)
        return (
            *(weed, "-logtostderr=true", "server", f"-dir={self.folder / 'data'}"),
            *(f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}"),
            *(f"-master.port={master}", f"-master.port.grpc={master_grpc}", f"-master.volumeSizeLimitMB={VOLUME_MB}"),
            *(f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}", f"-volume.max={VOLUMES}"),
            *("-filer", f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}"),
            *("-s3", f"-s3.ip.bind={self.address}", f"-s3.port={self.port}", f"-s3.port.grpc={s3_grpc}"),
            *(f"-s3.config={self.folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        )

    def make_bucket(self) -> None:
        """The bucket with Object Lock; nothing where it is there. Waits until the server can make one."""
        import boto3
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        core = botocore.session.Session()
        core.set_config_variable("credentials_file", str(self.credentials))
        core.set_config_variable("profile", "default")
        config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, connect_timeout=2)
        session = boto3.session.Session(botocore_session=core)
        client = session.client("s3", endpoint_url=self.url, region_name="us-east-1", config=config)

        def made() -> tuple[bool | None, str]:
            try:
                client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
            except ClientError as error:
                there = error.response["Error"]["Code"] in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}
                return (True if there else None), str(error)
            except BotoCoreError as error:
                return None, str(error)
            return True, ""

        wait_until(made, BUCKET_TIMEOUT_S, f"the bucket {BUCKET} at {self.url}", interval_s=0.2)


LAB_S3 = Server(HOST / "s3", BRIDGE_ADDRESS, PORT, BELOW)
WEED = BIN / "weed"


def command() -> Sequence[str | Path]:
    """The lab's server. SeaweedFS puts its sockets into /tmp; here that is a folder that goes with the lab."""
    script = f'mount --bind {LAB_S3.folder / "tmp"} /tmp && exec "$@"'
    return ("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script, "sh", *LAB_S3.command(WEED))
