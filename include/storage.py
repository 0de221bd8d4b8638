"""The artifact store: where every file lives, on a local disk or an object store.

Two rules make every write safe to interrupt and to repeat:

* a file appears whole or not at all (local: write beside, flush, rename; object store: one put, or parts that are
  combined at the end);
* a directory is complete if and only if its manifest exists, because the manifest is written last.

Whatever must be right is read by name and never found in a listing, which on some object stores lags behind writes.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import random
import re
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from upath import UPath

from include.errors import PermanentError, RetryLaterError

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST = "manifest.json"
MAX_TRIES = 20
S3_RETRIES = {"mode": "standard", "total_max_attempts": 6}
"""How botocore treats a store that throttles, fails or hangs up: it retries after random waits of up to 1, 2, 4, 8 and
16 seconds. On top of that, s3fs repeats throttled or interrupted requests four times."""
LONGEST_WRITE = timedelta(days=1)
"""An unfinished write that started longer ago belongs to a killed process."""
S3 = ("s3", "s3a")
_one_at_a_time = threading.Lock()


class ChangedError(RuntimeError):
    """A file was changed since it was read; the other change stands."""


@dataclass(frozen=True)
class StoredFile:
    """A file in the store: its path relative to the root, and when it was last written."""

    path: tuple[str, ...]
    bytes: int
    modified: datetime


class ArtifactStore:
    """Files of one podsearch installation, addressed by their path relative to a root.

    :param root: a folder, or a URL: ``s3://bucket/podsearch``, or ``memory://x`` for tests.
    :raises PermanentError: another kind of store, in which no write fails when somebody else was first.
    """

    def __init__(self, root: str | Path) -> None:
        path = UPath(root)
        if path.protocol in {"file", "local"}:
            path = UPath(path.path)
        elif path.protocol:
            if path.protocol not in (*S3, "memory"):
                raise PermanentError(f"{root}: artifacts can be kept in a folder or on S3 (s3://bucket/podsearch).")
            # fsspec keeps one instance a process, and what it listed once it would never look up again.
            options: dict[str, Any] = {"use_listings_cache": False}
            if path.protocol in S3:
                options["config_kwargs"] = {"retries": S3_RETRIES}
            path = UPath(root, **options)
        self.root = path

    def path(self, *parts: str) -> UPath:
        """The location of an artifact, whether it exists or not."""
        return self.root.joinpath(*parts)

    @property
    def local_root(self) -> Path | None:
        """The root as a local folder, or None when it is an object store."""
        return Path(self.root) if isinstance(self.root, Path) else None

    def exists(self, *parts: str) -> bool:
        """Whether there is such a file."""
        target = self.path(*parts)
        if target.protocol not in S3:
            return target.exists()
        # s3fs would look for a folder of that name, too.
        bucket, key, _ = target.fs.split_path(target.path)
        try:
            target.fs.call_s3("head_object", Bucket=bucket, Key=key)
        except FileNotFoundError:
            return False
        return True

    def write_bytes(self, data: bytes, *parts: str) -> UPath:
        """Replace a file atomically: a reader sees the old content or the new, never a part."""
        target = self.path(*parts)
        if not isinstance(target, Path):
            target.fs.pipe_file(target.path, data)
            return target
        with _replacing(target) as file:
            file.write(data)
        return target

    def replace_if(self, expected: bytes | None, data: bytes, *parts: str) -> None:
        """Replace a small file if it has not changed since it was read: compare and swap.

        This works between all machines that share the store, in a folder (by a lock beside the file) and on S3 (by a
        conditional put); in memory, between the threads of the process.

        :param expected: what the file contained, or None if there was none.
        :raises ChangedError: it now contains something else. On S3 that may be ``data``, if the answer to the put was
            lost and the put repeated; :meth:`update` then decides again, as it does after somebody else's write.
        """
        target = self.path(*parts)
        if target.protocol in S3:
            return self._put_if(expected, data, *parts)
        with _locked(target) if isinstance(target, Path) else _one_at_a_time:
            self._require(expected, *parts)
            self.write_bytes(data, *parts)

    def update(self, change: Callable[[bytes | None], bytes | None], *parts: str) -> None:
        """Read a small file, decide, and replace it, without losing concurrent changes.

        :param change: computes the new content from the current one (None if there is no file); None leaves it
            unchanged. It is called again with what was written meanwhile, so it must have no side effects.
        :raises ChangedError: others have changed it each time, :data:`MAX_TRIES` times.
        """
        for tried in range(1, MAX_TRIES + 1):
            before = self.read_if_there(*parts)
            if (after := change(before)) is None:
                return
            try:
                return self.replace_if(before, after, *parts)
            except ChangedError:
                if tried == MAX_TRIES:
                    raise
            time.sleep(random.uniform(0, 0.01 * tried))  # noqa: S311 (not for secrets)

    def _require(self, expected: bytes | None, *parts: str) -> None:
        if self.read_if_there(*parts) != expected:
            raise self._changed(*parts)

    def _changed(self, *parts: str) -> ChangedError:
        return ChangedError(f"{self.path(*parts)} was changed meanwhile: read it again and decide again.")

    def _put_if(self, expected: bytes | None, data: bytes, *parts: str) -> None:
        """:meth:`replace_if` on S3. The ETag is read before the content, so that it is never newer."""
        target = self.path(*parts)
        try:
            condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": target.fs.info(target.path)["ETag"]}
            self._require(expected, *parts)
            target.fs.pipe_file(target.path, data, **condition)
        except OSError as error:
            self._require(expected, *parts)
            answer = getattr(error.__cause__, "response", {}).get("ResponseMetadata", {})
            if answer.get("HTTPStatusCode") in (409, 412):  # others write it at this moment, or wrote the same
                raise self._changed(*parts) from error
            raise

    def write_file(self, source: Path, *parts: str) -> UPath:
        """Replace a file by a copy of a local one of any size, atomically."""
        target = self.path(*parts)
        if not isinstance(target, Path):
            target.fs.put_file(str(source), target.path)
            return target
        with _replacing(target) as file, source.open("rb") as original:
            shutil.copyfileobj(original, file, 2**20)
        return target

    def move_file(self, source: Path, *parts: str) -> UPath:
        """The same as :meth:`write_file`, for a local file that is no longer needed: on the same disk nothing is
        copied."""
        target = self.path(*parts)
        if isinstance(target, Path):
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as file:
                os.fsync(file.fileno())
            try:
                source.replace(target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
            else:
                return target
        self.write_file(source, *parts)
        source.unlink()
        return target

    def read_bytes(self, *parts: str) -> bytes:
        target = self.path(*parts)
        if isinstance(target, Path):
            return target.read_bytes()
        # One request: s3fs opens a file in two, and fails if it is replaced in between. So it does where it may ask for
        # several parts at once.
        alone = {"max_concurrency": 1} if target.protocol in S3 else {}
        data: bytes = target.fs.cat_file(target.path, **alone)
        return data

    def read_if_there(self, *parts: str) -> bytes | None:
        """The content of a file, or None if there is none."""
        try:
            return self.read_bytes(*parts)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write_json(self, value: Any, *parts: str) -> UPath:
        return self.write_bytes(json.dumps(value, indent=2, ensure_ascii=False, default=str).encode(), *parts)

    def read_json(self, *parts: str) -> Any:
        return json.loads(self.read_bytes(*parts))

    def read_json_if_there(self, *parts: str) -> Any | None:
        """What a JSON file holds, or None if there is none."""
        data = self.read_if_there(*parts)
        return None if data is None else json.loads(data)

    def write_table(self, table: pa.Table, *parts: str) -> UPath:
        """Write an Arrow table as one zstd-compressed Parquet file, atomically."""
        # Here and not above: Airflow parses DAGs that import this module, and has no use for Arrow then.
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        return self.write_bytes(sink.getvalue().to_pybytes(), *parts)

    def read_table(self, *parts: str, columns: list[str] | None = None) -> pa.Table:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if columns is None and self.local_root is None:  # in one request
            return pq.read_table(pa.BufferReader(self.read_bytes(*parts)))
        with self.path(*parts).open("rb") as file:
            return pq.read_table(file, columns=columns)

    def names(self, *parts: str) -> list[str]:
        """Names of the entries of a folder, sorted; empty if there is no such folder. Unfinished writes are left
        out."""
        folder = self.path(*parts)
        try:
            entries = os.listdir(folder) if isinstance(folder, Path) else folder.fs.ls(folder.path, detail=False)
        except FileNotFoundError:
            return []
        names = (entry.rstrip("/").rpartition("/")[2] for entry in entries)
        return sorted(name for name in names if not name.startswith("."))

    def paths(self, *parts: str) -> list[tuple[str, ...]]:
        """Path of every file in a folder and below, sorted; none if there is no such folder. Unfinished writes are left
        out."""
        folder = self.path(*parts)
        if isinstance(folder, Path):
            # Not looked at each: fsspec leaves out a folder whole, if one of its files is renamed or removed meanwhile.
            found = [f"{path}/{name}" for path, _, names in os.walk(folder) for name in names]
        else:
            found = folder.fs.find(folder.path)
        below = (tuple(filter(None, name[len(folder.path) :].split("/"))) for name in found)
        return sorted((*parts, *path) for path in below if not path[-1].startswith("."))

    def files(self, *parts: str) -> list[StoredFile]:
        """Every file in a folder and below, including unfinished writes; none if there is no such folder."""
        folder = self.path(*parts)
        found = folder.fs.find(folder.path, detail=True)
        return [
            StoredFile(
                path=(*parts, *filter(None, name[len(folder.path) :].split("/"))),
                bytes=int(info.get("size") or 0),
                modified=_modified(info),
            )
            for name, info in found.items()
        ]

    def is_complete(self, *parts: str) -> bool:
        """Whether a directory published with :meth:`publish_directory` is complete."""
        return self.exists(*parts, MANIFEST)

    def publish_directory(self, source: Path, *parts: str) -> UPath:
        """Copy a finished local folder into the store; its manifest goes last and makes it visible.

        Publishing the same path again is harmless: a complete directory is immutable and left alone.

        :raises FileNotFoundError: the folder has no manifest.
        """
        if not (source / MANIFEST).is_file():
            raise FileNotFoundError(f"{source} has no {MANIFEST}: an artifact without one is never complete.")
        target = self.path(*parts)
        if self.is_complete(*parts):
            return target
        files = (path for path in source.rglob("*") if path.is_file())
        for file in sorted(files, key=lambda path: (path == source / MANIFEST, path)):
            self.write_file(file, *parts, *file.relative_to(source).parts)
        return target

    @contextmanager
    def local_copy(self, *parts: str) -> Iterator[Path]:
        """A local folder with the content of a stored one: the folder itself if the store is local, otherwise a
        temporary download.

        :raises RetryLaterError: it is published, but the store does not list all of it yet, or it is being removed.
        """
        source = self.path(*parts)
        if isinstance(source, Path):
            yield source
            return
        with tempfile.TemporaryDirectory(prefix="podsearch-") as folder:
            copy = Path(folder) / "copy"
            complete = self.is_complete(*parts)
            try:
                source.fs.get(source.path, str(copy), recursive=True)
                if complete:  # the manifest was written last, and is removed first
                    (copy / MANIFEST).stat()
            except FileNotFoundError as error:
                if complete:
                    raise RetryLaterError(f"The store does not show all of {source} at the moment.") from error
                raise
            yield copy

    def remove(self, *parts: str) -> None:
        """Delete a file or a folder; its manifest is deleted first, so that it is never half there."""
        target = self.path(*parts)
        if not target.exists():
            return
        manifest = self.path(*parts, MANIFEST)
        if manifest.exists():
            manifest.unlink()
        if isinstance(target, Path):
            shutil.rmtree(target) if target.is_dir() else target.unlink()
        else:
            target.fs.rm(target.path, recursive=True)

    def clear_unfinished(self, older_than: timedelta = LONGEST_WRITE) -> int:
        """Remove what killed writers have left: files beside their target, parts of uploads. They are invisible but
        take up space.

        :param older_than: what was started more recently may still be in progress, and stays.
        :return: how many there were.
        """
        since = datetime.now(UTC) - older_than
        if isinstance(self.root, Path):
            left = [path for path in Path(self.root).rglob(".*") if _UNFINISHED.match(path.name)]
            return sum(_remove_if_older(path, since) for path in left)
        return self._abort_uploads(since) if self.root.protocol in S3 else 0

    def _abort_uploads(self, since: datetime) -> int:
        call, (bucket, prefix, _) = self.root.fs.call_s3, self.root.fs.split_path(self.root.path)
        aborted, at = 0, {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else ""}
        while True:
            page = call("list_multipart_uploads", **at)
            for upload in page.get("Uploads", []):
                if upload["Initiated"] < since:
                    with suppress(FileNotFoundError):  # another has aborted it
                        call("abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                        aborted += 1
            if not page.get("IsTruncated"):
                return aborted
            at |= {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{32}$")


def _remove_if_older(file: Path, since: datetime) -> bool:
    with suppress(FileNotFoundError):  # it was finished meanwhile, or another has removed it
        if file.stat().st_mtime < since.timestamp():
            file.unlink()
            return True
    return False


def _modified(info: dict[str, Any]) -> datetime:
    """When a file was last written, by what a disk, S3 or memory says of it; now, if nothing is said."""
    said = (info[name] for name in ("mtime", "LastModified", "created") if name in info)
    value = next(said, datetime.now(UTC))
    return value.astimezone(UTC) if isinstance(value, datetime) else datetime.fromtimestamp(value, UTC)


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """A temporary file beside a target, which replaces it once everything is written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its files are for their owner alone, and components may run as different users.
    unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with unfinished.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Lock a file against others that use this lock, too; it is released when its process ends."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = target.with_name(f".{target.name}.lock")
    try:
        file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:  # another user made it; on a local disk reading is enough
        file = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def digest(*values: str, length: int = 12) -> str:
    """A short, stable name for some content: hexadecimal SHA-256 of the values, cut to ``length``."""
    sha = hashlib.sha256()
    for value in values:
        sha.update(value.encode("utf-8", "surrogatepass"))
        sha.update(b"\x00")
    return sha.hexdigest()[:length]
