"""Opening the dataset's files: what is accepted, and what each kind of bad file is called."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path

import pytest

from include.episodes.sources import files
from include.episodes.sources.files import DatasetError, find_source, fingerprint, open_source
from include.errors import PermanentError

CSV = b"uuid,title\n1,one\n"
LIMIT = 2**30


def read(folder: Path, name: str = "episodes", limit: int = LIMIT) -> bytes:
    with open_source(folder, name, max_file_bytes=limit) as stream:
        return stream.read()


def write_zip(path: Path, members: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def encrypt(path: Path) -> None:
    """Set the flag that says a member is encrypted, in its own header and in the archive's table of contents."""
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + offset] |= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["episodes.csv.zip", "episodes.zip", "episodes.csv"])
def test_a_zip_is_unpacked_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    write_zip(tmp_path / name, {"episodes.csv": CSV, "__MACOSX/._episodes.csv": b"junk", "README.md": b"x"})
    assert read(tmp_path) == CSV


def test_a_plain_file_is_taken_before_a_zip(tmp_path: Path) -> None:
    (tmp_path / "episodes.csv").write_bytes(CSV)
    (tmp_path / "episodes.csv.zip").write_bytes(b"damaged")
    assert find_source(tmp_path, "episodes").name == "episodes.csv"
    assert read(tmp_path) == CSV


def test_nothing_is_written_beside_a_zip(tmp_path: Path) -> None:
    write_zip(tmp_path / "episodes.zip", {"episodes.csv": CSV})
    read(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["episodes.zip"]


def test_a_missing_file_is_named_with_the_names_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"none of episodes\.csv, episodes\.csv\.zip, episodes\.zip.*PODSEARCH_DATASET_DIR"
    ):
        read(tmp_path)


def test_no_retry_mends_a_bad_dataset() -> None:
    assert issubclass(DatasetError, PermanentError)


@pytest.mark.parametrize("name", ["episodes.csv", "episodes.csv.zip"])
def test_an_empty_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DatasetError, match="is empty"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["episodes.csv", "episodes.csv.zip"])
@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html>", b"\xef\xbb\xbf\n <HTML lang=en>"])
def test_a_web_page_is_named(tmp_path: Path, name: str, page: bytes) -> None:
    (tmp_path / name).write_bytes(page)
    with pytest.raises(DatasetError, match="is a web page"):
        read(tmp_path)


def test_a_zip_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "episodes.zip").write_bytes(CSV)
    with pytest.raises(DatasetError, match="not a zip file"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"../episodes.csv": CSV}, "leaves the archive"),
        ({"episodes.csv": CSV, "a/../../b.txt": CSV}, "leaves the archive"),
        ({"/episodes.csv": CSV}, "leaves the archive"),
        ({"C:\\episodes.csv": CSV}, "leaves the archive"),
        ({"..\\episodes.csv": CSV}, "leaves the archive"),
        ({"episodes.csv": CSV, "more.csv": CSV}, "only CSV file"),
        ({"other.csv": CSV}, "only CSV file"),
        ({"readme.txt": CSV}, "no CSV file"),
        ({}, "no CSV file"),
    ],
)
def test_an_archive_with_another_content_is_refused(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    write_zip(tmp_path / "episodes.zip", members)
    with pytest.raises(DatasetError, match=message):
        read(tmp_path)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    encrypt(write_zip(tmp_path / "episodes.zip", {"episodes.csv": CSV}))
    with pytest.raises(DatasetError, match="is encrypted"):
        read(tmp_path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_unpacks_without_bound_is_refused_unopened(tmp_path: Path, compression: int) -> None:
    """300 KB of LZMA were 4 GB in memory before the first byte came out to be counted."""
    write_zip(tmp_path / "episodes.zip", {"episodes.csv": bytes(2**26)}, compression=compression)
    tracemalloc.start()
    with pytest.raises(
        DatasetError, match=rf"cannot be read safely \(number {compression}\).*zip episodes.csv with Deflate"
    ):
        read(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_of_such_a_method_is_refused_too(tmp_path: Path, compression: int) -> None:
    path = write_zip(tmp_path / "episodes.zip", {"episodes.csv": CSV * 100}, compression=compression)
    data = path.read_bytes()
    path.write_bytes(data[:60] + bytes(20) + data[80:])
    with pytest.raises(DatasetError, match="cannot be read safely"):
        read(tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_zip_is_refused(tmp_path: Path, share: float) -> None:
    path = write_zip(tmp_path / "episodes.zip", {"episodes.csv": CSV * 100})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DatasetError, match="damaged or incomplete"):
        read(tmp_path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_changed_byte_is_found(tmp_path: Path, compression: int) -> None:
    """The checksum of a member is compared when its end is reached."""
    path = write_zip(tmp_path / "episodes.zip", {"episodes.csv": CSV * 100}, compression=compression)
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="damaged or incomplete"):
        read(tmp_path)


def test_no_damage_to_a_zip_goes_unnoticed(tmp_path: Path) -> None:
    """Whatever byte is changed, the outcome is the right content or a named error."""
    data = write_zip(tmp_path / "episodes.zip", {"episodes.csv": CSV * 20, "x.txt": b"x"}).read_bytes()
    errors = 0
    for position in range(len(data)):
        (tmp_path / "episodes.zip").write_bytes(data[:position] + bytes([data[position] ^ 0xA5]) + data[position + 1 :])
        try:
            assert read(tmp_path) == CSV * 20
        except DatasetError:
            errors += 1
    assert errors > len(data) // 4


def test_a_header_that_lies_about_the_size_is_found(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "episodes.zip", {"episodes.csv": CSV * 1000})
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (10).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="damaged or incomplete"):
        read(tmp_path)


def test_too_large_a_file_is_refused_plain_or_zipped(tmp_path: Path) -> None:
    (tmp_path / "episodes.csv").write_bytes(CSV * 100)
    write_zip(tmp_path / "podcasts.zip", {"podcasts.csv": CSV * 100})
    for name in ("episodes", "podcasts"):
        assert len(read(tmp_path, name, limit=len(CSV) * 100)) == len(CSV) * 100
        with pytest.raises(DatasetError, match="PODSEARCH_MAX_FILE_BYTES"):
            read(tmp_path, name, limit=len(CSV) * 100 - 1)


def test_a_zip_bomb_is_stopped_while_it_unpacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "RATIO_FLOOR", 2**20)
    write_zip(tmp_path / "episodes.zip", {"episodes.csv": bytes(2**22)})
    chunks: list[bytes] = []
    with (
        open_source(tmp_path, "episodes", max_file_bytes=LIMIT) as stream,
        pytest.raises(DatasetError, match="zip bomb"),
    ):
        chunks.extend(iter(lambda: stream.read(2**16), b""))
    assert 0 < sum(map(len, chunks)) <= 2**20


def test_the_version_changes_with_either_file_only(tmp_path: Path) -> None:
    (tmp_path / "episodes.csv").write_bytes(CSV)
    (tmp_path / "podcasts.csv").write_bytes(CSV)
    first = fingerprint(tmp_path)
    (tmp_path / "notes.txt").write_bytes(b"x")
    assert fingerprint(tmp_path) == first
    (tmp_path / "podcasts.csv").write_bytes(CSV + b"2,two\n")
    second = fingerprint(tmp_path)
    (tmp_path / "episodes.csv").write_bytes(CSV + b"2,two\n")
    assert len({first, second, fingerprint(tmp_path)}) == 3
    (tmp_path / "episodes.csv").unlink()
    with pytest.raises(DatasetError, match="none of"):
        fingerprint(tmp_path)
