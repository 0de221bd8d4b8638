"""``python -m deploy.cluster``: what must be there before Airflow's containers start; it can be repeated at any time.

The metadata database at this version, the first user, the pools (slots that somebody changed are left alone), and the
bucket of the artifacts, and of an index on S3, in a store that refuses a write whose condition does not hold.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

from include.errors import PermanentError
from include.settings import get_settings
from operators.pools import POOLS, Pool

ADMIN = "admin"


class SetUpError(PermanentError):
    """Something that the containers need could not be made; the message says what."""


def main() -> int:
    """Make all of it; 0 if it is there."""
    try:
        settings = get_settings()
        for root in (settings.installation.artifacts_root, settings.index_root):
            require_conditional_writes(root)
        airflow("db", "migrate")
        make_admin(os.environ.get("AIRFLOW_ADMIN_PASSWORD", ""))
        make_pools(int(os.environ.get("GPU_SLOTS") or 1))
    except PermanentError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def airflow(*arguments: str) -> str:
    """Run one command of Airflow; what it printed.

    :raises SetUpError: it failed. The message leaves out the arguments: a password may be among them.
    """
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "airflow", *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SetUpError(f"airflow {' '.join(arguments[:2])} failed (exit {done.returncode}); see above.")
    return done.stdout


def make_admin(password: str) -> None:
    """The user ``admin``, unless there is one: its password is then what somebody made it.

    :raises SetUpError: there is no password for it.
    """
    if not password:
        raise SetUpError("AIRFLOW_ADMIN_PASSWORD is not set: run `make secrets`.")
    named = ("--username", ADMIN, "--firstname", "Admin", "--lastname", "Admin", "--email", "admin@localhost")
    # In one argument: a password may begin with a dash.
    airflow("users", "create", "--role", "Admin", *named, f"--password={password}")


def make_pools(gpus: int) -> None:
    """The pools that are not there yet.

    :param gpus: slots of the pool ``gpu``: the GPUs of all workers together.
    """
    there = {row["pool"] for row in json.loads(airflow("pools", "list", "--output", "json"))}
    missing = {
        str(pool): {"slots": gpus if pool == Pool.GPU else slots, "description": text, "include_deferred": False}
        for pool, (slots, text) in POOLS.items()
        if pool not in there
    }
    if missing:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "pools.json"
            file.write_text(json.dumps(missing), encoding="utf-8")
            airflow("pools", "import", str(file))


def require_conditional_writes(root: str) -> None:
    """Make the bucket of an s3:// root, and hold that the store refuses writes whose condition does not hold.

    What is live, and the embedded index, are changed by compare-and-swap; a store that takes no notice of the condition
    would lose changes.

    :raises SetUpError: it takes none.
    """
    if not root.startswith("s3://"):
        return
    import boto3
    from botocore.exceptions import ClientError

    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    client: Any = boto3.client("s3")
    try:
        client.create_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
            raise SetUpError(f"The bucket {bucket} cannot be created: {error}") from None
    key = f"{prefix.rstrip('/')}/probe-{uuid.uuid4().hex}".lstrip("/")
    client.put_object(Bucket=bucket, Key=key, Body=b"1", IfNoneMatch="*")
    try:
        for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"0"'}):
            if not _refused(client, bucket, key, condition):
                raise SetUpError(
                    f"The store of {root} ignored {next(iter(condition))}: take one with conditional writes, such as "
                    "Amazon S3 or SeaweedFS 4.18 and later."
                )
    finally:
        client.delete_object(Bucket=bucket, Key=key)


def _refused(client: Any, bucket: str, key: str, condition: dict[str, str]) -> bool:
    from botocore.exceptions import ClientError

    try:
        client.put_object(Bucket=bucket, Key=key, Body=b"2", **condition)
    except ClientError as error:
        return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] == 412)
    return False


if __name__ == "__main__":
    sys.exit(main())
