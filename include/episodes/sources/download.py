"""Downloading a file to disk so that neither a broken connection nor a killed process costs what is there already."""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import logging
import re
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

import requests
from pydantic import BaseModel, ValidationError

from include.episodes.sources.backoff import Backoff
from include.episodes.sources.files import refuse_web_page
from include.episodes.sources.kaggle_api import BeginAgainError
from include.errors import PermanentError, RetryLaterError

CHUNK_BYTES = 2**14
RESERVE_BYTES = 512 * 2**20
"""How much space a download leaves free on a disk for everything else."""
LOG_SECONDS = 10.0
MIB = 2**20
MAX_DIGITS = 18
"""A length of more digits is none of a file; Python refuses to read one of thousands."""

log = logging.getLogger(__name__)


class Open(Protocol):
    """Ask for a file from some byte on; see :meth:`include.episodes.sources.kaggle_api.KaggleApi.open_file`."""

    def __call__(self, *, start: int, etag: str | None) -> AbstractContextManager[requests.Response]: ...


class Remote(BaseModel):
    """What the server says about the file; kept beside the part of it that is there."""

    size: int | None = None
    """Bytes, where the server says so."""
    etag: str | None = None
    md5: str | None = None
    """In hexadecimal digits."""


def download(open_at: Open, target: Path, *, backoff: Backoff, require_space: Callable[[int, int], None]) -> None:
    """Download a file to ``target``, unless it is there: it appears as a whole, with the right size and checksum.

    What an earlier call could not finish is gone on with, if the file is still the same.

    :param require_space: called with the bytes that are still to come and with all that the file has, where they are
        known; raises when there is no room.
    :raises RetryLaterError: it was not to be had this time; what came is kept.
    :raises PermanentError: there is no use in trying again.
    """
    partial, note = target.with_name(f"{target.name}.partial"), target.with_name(f"{target.name}.partial.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    with partial.open("ab") as lock:
        _lock(lock, target)
        while True:
            begin = partial.stat().st_size
            try:
                _check(partial, _attempt(open_at, partial, note, require_space))
                break
            except BeginAgainError as error:
                _empty(partial, note)
                backoff.pause(error)
            except RetryLaterError as error:
                if partial.stat().st_size > begin:
                    backoff.reset()
                backoff.pause(error)
        partial.replace(target)
        note.unlink(missing_ok=True)


def _attempt(open_at: Open, partial: Path, note: Path, require_space: Callable[[int, int], None]) -> Remote:
    """One request, its answer written to the end as far as it goes; what the server says about the file."""
    known, start = _known(partial, note)
    if known.size is not None and start == known.size:
        return known
    with open_at(start=start, etag=known.etag) as response:
        if start and _goes_on(response, start, known):
            remote = known
        else:
            remote, start = _remote(response), 0
            _empty(partial, note)  # before the note, which is of what comes now
            note.write_text(remote.model_dump_json())
        if response.headers.get("Content-Type", "").startswith("text/html"):
            refuse_web_page(b"<html", partial.with_suffix(""))
        if remote.size is not None:
            require_space(remote.size - start, remote.size)
        with partial.open("ab") as file:
            _write(response, file, Progress(partial.stem, start, remote.size))
    if remote.size is not None and partial.stat().st_size < remote.size:
        raise RetryLaterError(f"The connection was closed before {partial.stem} was complete.")
    return remote


def _write(response: requests.Response, file: BinaryIO, progress: Progress) -> None:
    for chunk in response.iter_content(CHUNK_BYTES):
        try:
            file.write(chunk)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise PermanentError(f"The disk of {file.name} is full: free some space.") from error
            raise
        progress.add(len(chunk))
    progress.log()


def _known(partial: Path, note: Path) -> tuple[Remote, int]:
    """What is known about the file, and how much of it there is to go on with."""
    try:
        known = Remote.model_validate_json(note.read_bytes())
    except (FileNotFoundError, ValidationError):
        return Remote(), 0
    size = partial.stat().st_size
    if known.size is None or size > known.size:  # nothing tells that what is there belongs to the same file
        return Remote(), 0
    return known, size


def _remote(response: requests.Response) -> Remote:
    """What the answer with the whole file says about it."""
    headers = response.headers
    if "Content-Encoding" in headers:  # its sizes are then not those of what is read
        return Remote()
    length = headers.get("Content-Length", "")
    etag = headers.get("ETag")
    return Remote(
        size=int(length) if length.isdecimal() and len(length) <= MAX_DIGITS else None,
        etag=etag if etag and not etag.startswith("W/") else None,
        md5=_md5(headers.get("x-goog-hash", "")),
    )


def _md5(hashes: str) -> str | None:
    """The MD5 among the checksums that Google's storage gives: ``crc32c=n03x6A==, md5=Ojk9c3dhfxgoKVVHYwFbHQ==``."""
    found = re.search(r"\bmd5=([A-Za-z0-9+/]{22}==)", hashes)
    return base64.b64decode(found[1]).hex() if found else None


def _goes_on(response: requests.Response, start: int, known: Remote) -> bool:
    """Whether the answer begins where the file ends that is there."""
    if response.status_code != requests.codes.partial_content:
        return False
    if response.headers.get("Content-Range") != f"bytes {start}-{(known.size or 0) - 1}/{known.size}":
        raise BeginAgainError("The server answered with another part of the file than it was asked for.")
    return True


def _check(partial: Path, remote: Remote) -> None:
    """Hold that the file is what the server has.

    :raises BeginAgainError: it is not.
    """
    size = partial.stat().st_size
    if remote.size is not None and size != remote.size:
        raise BeginAgainError(f"{partial.stem} arrived with {size:,} bytes instead of {remote.size:,}.")
    with partial.open("rb") as file:
        start = file.read(1024)
        refuse_web_page(start, partial.with_suffix(""))
        file.seek(0)
        if remote.md5:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            if digest != remote.md5:
                raise BeginAgainError(f"{partial.stem} was damaged in transit: its checksum is wrong.")


def _empty(partial: Path, note: Path) -> None:
    note.unlink(missing_ok=True)
    with partial.open("r+b") as file:
        file.truncate(0)


def _lock(file: BinaryIO, target: Path) -> None:
    """Keep other processes from writing the same file: one that Airflow took for dead, for instance."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RetryLaterError(f"Another process is downloading {target}.") from None


class Progress:
    """Says now and then how far a download is."""

    def __init__(self, name: str, start: int, size: int | None) -> None:
        self._name = name
        self._start = start
        self._done = start
        self._size = size
        self._began = self._logged = time.monotonic()

    def add(self, count: int) -> None:
        self._done += count
        if time.monotonic() - self._logged >= LOG_SECONDS:
            self.log()

    def log(self) -> None:
        self._logged = time.monotonic()
        rate = (self._done - self._start) / max(self._logged - self._began, 1e-3)
        text = f"{self._name}: {self._done / MIB:,.1f}"
        if self._size:
            text += f" of {self._size / MIB:,.1f} MiB ({self._done / self._size:.0%}), {rate / MIB:,.1f} MiB/s"
            left = (self._size - self._done) / rate if rate else 0.0
            text += f", {left:,.0f} s left" if self._done < self._size else ""
        else:
            text += f" MiB, {rate / MIB:,.1f} MiB/s"
        log.info("%s", text)


def require_space(needs: Sequence[tuple[Path, int]], what: str) -> None:
    """Hold that disks have room.

    :param needs: folders, which need not be there yet, with the bytes that will be written below each.
    :raises PermanentError: a disk has not; the message says how much is missing where.
    """
    by_disk: dict[int, tuple[Path, int]] = {}
    for folder, count in needs:
        place = next(parent for parent in (folder, *folder.parents) if parent.exists())
        first, total = by_disk.get(place.stat().st_dev, (place, 0))
        by_disk[place.stat().st_dev] = first, total + count
    for place, count in by_disk.values():
        free = shutil.disk_usage(place).free
        if free < count + RESERVE_BYTES:
            raise PermanentError(
                f"{what} needs {count / MIB:,.0f} MiB, and {RESERVE_BYTES / MIB:,.0f} MiB must stay free, but the "
                f"disk of {place} has {free / MIB:,.0f} MiB: free some, or put PODSEARCH_HOME and PODSEARCH_ARTIFACTS "
                "on a larger one."
            )
