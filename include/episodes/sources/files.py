"""Finding the dataset's files in a folder and opening them safely, plain or zipped."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, BinaryIO

from include.episodes.sources.contract import Folder
from include.errors import PermanentError
from include.storage import digest

FILES = ("podcasts", "episodes")
"""The dataset's files, by their names without ``.csv``."""

MAX_RATIO = 200
"""A zip that unpacks to more than this many times its size is a bomb: text packs 3 to 5 times, deflate at most
1,032."""
RATIO_FLOOR = 16 * 2**20
"""Bytes below which the ratio is not looked at: little files pack oddly, and do no harm."""

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_ENCRYPTED = 0x1
_BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What ``zipfile`` unpacks in pieces of the asked size: of the others, a few bytes become gigabytes at once."""
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, UnicodeDecodeError, NotImplementedError)
"""What ``zipfile`` raises on a damaged archive."""


class DatasetError(PermanentError, ValueError):
    """A dataset file cannot be read as a whole; the message says which one, why, and what to do."""


class DamagedFileError(DatasetError):
    """A zip that is not as it was made: another copy may be whole."""


def find_source(folder: Folder, name: str) -> Folder:
    """The file that holds ``<name>.csv``: ``<name>.csv``, else ``<name>.csv.zip``, else ``<name>.zip``.

    :raises DatasetError: none of them is there.
    """
    candidates = [folder / f"{name}.csv", folder / f"{name}.csv.zip", folder / f"{name}.zip"]
    for path in candidates:
        if path.is_file():
            return path
    names = ", ".join(path.name for path in candidates)
    raise DatasetError(f"{folder} has none of {names}: put one there, or point PODSEARCH_DATASET_DIR to the dataset.")


def fingerprint(folder: Folder) -> str:
    """Fingerprint of both files' bytes (SHA-256, read as a stream): 16 hexadecimal digits.

    The same content in another packing is another version, which costs no more than preparing it again.

    :raises DatasetError: a file is missing.
    """
    hashes = []
    for name in FILES:
        with find_source(folder, name).open("rb") as stream:
            hashes.append(hashlib.file_digest(stream, "sha256").hexdigest())  # type: ignore[arg-type]
    return digest(*hashes, length=16)


@contextmanager
def open_source(folder: Folder, name: str, *, max_file_bytes: int) -> Iterator[BinaryIO]:
    """The bytes of ``<name>.csv`` as a stream, unpacked on the way when it is zipped. Nothing is written to disk.

    What is inside is told by the first bytes, since Kaggle hands out zips under the plain name.

    :param max_file_bytes: most bytes to read, counted as they are unpacked.
    :raises DatasetError: the file is missing, empty, too large, a web page, or a zip that is damaged or not safe.
    """
    path = find_source(folder, name)
    with path.open("rb") as file:
        magic = file.read(1024)
        file.seek(0)
        if not magic:
            raise DatasetError(f"{path} is empty: download it again.")
        refuse_web_page(magic, path)
        if magic.startswith(ZIP_MAGIC):
            with _open_zip(file, path, f"{name}.csv") as member:
                yield _checked(member, path, max_file_bytes, packed=path.stat().st_size)
        elif path.suffix == ".zip":
            raise DatasetError(f"{path} is not a zip file: download it again.")
        else:
            yield _checked(file, path, max_file_bytes, packed=None)


def refuse_web_page(start: bytes, path: Folder) -> None:
    """Report a web page (usually a login or error page) that was saved instead of a file.

    :raises DatasetError: ``start`` begins like HTML.
    """
    head = start.removeprefix(b"\xef\xbb\xbf").lstrip()[:64].lower()
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        raise DatasetError(
            f"{path} is a web page (HTML), not the dataset: the download returned a login or error page. "
            "Check the Kaggle credentials and that the dataset's rules are accepted, then download it again."
        )


@contextmanager
def _open_zip(file: BinaryIO, path: Folder, wanted: str) -> Iterator[BinaryIO]:
    """The wanted member of an archive, once the archive's table of contents was found harmless."""
    try:
        archive = zipfile.ZipFile(file)
        stream = archive.open(_member(archive, path, wanted))
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    with archive, stream:
        yield io.BufferedReader(_Member(stream, path))


def _member(archive: zipfile.ZipFile, path: Folder, wanted: str) -> zipfile.ZipInfo:
    for info in archive.infolist():
        parts = PurePosixPath(info.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in "".join(parts.parts[:1]):
            raise DatasetError(
                f"{path} holds {info.filename!r}, a path that leaves the archive: do not use this file; "
                "download the dataset from its source."
            )
    tables = [
        info
        for info in archive.infolist()
        if info.filename.lower().endswith(".csv") and not info.filename.startswith("__MACOSX/")
    ]
    if [info.filename for info in tables] != [wanted]:
        found = ", ".join(repr(info.filename) for info in tables[:5]) or "no CSV file"
        raise DatasetError(f"{path} must hold {wanted} as its only CSV file, but holds {found}: zip that file alone.")
    if tables[0].flag_bits & _ENCRYPTED:
        raise DatasetError(f"{path} is encrypted: unpack it yourself and put {wanted} beside it.")
    if tables[0].compress_type not in _BOUNDED:
        raise DatasetError(
            f"{path} uses a compression method that cannot be read safely (number {tables[0].compress_type}): "
            f"zip {wanted} with Deflate, as zip tools do by default."
        )
    return tables[0]


class _Member(io.RawIOBase):
    """A zip member whose damage, found while unpacking (bad CRC included), is reported as a :class:`DatasetError`."""

    def __init__(self, stream: IO[bytes], path: Folder) -> None:
        self._stream = stream
        self._path = path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._stream.read(len(buffer))
        except _DAMAGE as error:
            raise _damaged(self._path, error) from error
        buffer[: len(data)] = data
        return len(data)


def _damaged(path: Folder, error: Exception) -> DamagedFileError:
    return DamagedFileError(
        f"{path} is a damaged or incomplete zip file ({error or type(error).__name__}): download it again."
    )


def _checked(stream: BinaryIO, path: Folder, limit: int, *, packed: int | None) -> BinaryIO:
    return io.BufferedReader(_Limited(stream, path, limit, packed))


class _Limited(io.RawIOBase):
    """Counts the bytes that really come out of a stream and stops at the limits."""

    def __init__(self, stream: BinaryIO, path: Folder, limit: int, packed: int | None) -> None:
        self._stream = stream
        self._path = path
        self._limit = limit
        self._packed = packed
        self._total = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count: int = self._stream.readinto(buffer)  # type: ignore[attr-defined]
        self._total += count
        if self._total > self._limit:
            raise DatasetError(
                f"{self._path} holds more than {self._limit:,} bytes: if that is right, raise PODSEARCH_MAX_FILE_BYTES."
            )
        if self._packed is not None and self._total > max(RATIO_FLOOR, MAX_RATIO * self._packed):
            raise DatasetError(
                f"{self._path} unpacks to more than {MAX_RATIO} times its size, as a zip bomb does: do not use this "
                "file; download the dataset from its source."
            )
        return count
