"""A file as a whole is not what it should be."""

from __future__ import annotations

from zipfile import ZIP_LZMA

from tests.operators.bad_data.draft import (
    EPISODES,
    RAW,
    Case,
    Draft,
    Published,
    Stops,
    change,
    columns,
    in_zip,
    keep,
    packed,
    patched,
    written,
    zipped,
)

WEB_PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in</body></html>\n"


def shows_in_place_of_episodes(draft: Draft) -> None:
    draft.packs["episodes"] = lambda _: draft.content("podcasts")


def quotes_not_doubled(draft: Draft) -> None:
    rows = [draft.row("episodes", place).values() for place in range(EPISODES)]
    draft.rows["episodes"] = [",".join(f'"the "{value}""' for value in row).encode() + b"\n" for row in rows]


FILES = [
    Case(
        "a file is missing",
        packed(lambda _: None),
        Stops({"check_source": "put one there, or point PODSEARCH_DATASET_DIR to the dataset"}),
    ),
    Case("a file is empty", packed(lambda _: b""), Stops({RAW: "is empty: download it again"})),
    Case("only a header, no rows", keep("episodes", 0), Stops({RAW: "has a header but no rows: download it again"})),
    Case(
        "a column is missing",
        columns("episodes", lambda names: [name for name in names if name != "description"]),
        Stops({RAW: "has no column description … check that it is the dataset"}),
    ),
    Case(
        "the column of show ids is missing, which both files need",
        columns("podcasts", lambda names: names[1:]),
        Stops(dict.fromkeys(("validate_podcasts", RAW), "has no column uuid … check that it is the dataset")),
    ),
    Case("an extra column", columns("episodes", lambda names: [*names, "explicit"]), Published()),
    Case("columns in another order", columns("episodes", lambda names: names[::-1]), Published()),
    Case(
        "the file of shows instead of the file of episodes",
        shows_in_place_of_episodes,
        Stops({RAW: "check that it is the dataset"}),
    ),
    Case(
        "semicolons between values",
        written(delimiter=";"),
        Stops(dict.fromkeys(("validate_podcasts", RAW), "check that it is the dataset, comma-separated")),
    ),
    Case("Windows line endings", written(line_end="\r\n"), Published()),
    Case(
        "line endings of old Macs",
        packed(lambda data: data.replace(b"\n", b"\r")),
        Stops({RAW: "does not start with a CSV header … check that it is the dataset"}),
    ),
    Case("a byte order mark", packed(lambda data: b"\xef\xbb\xbf" + data), Published()),
    Case(
        "UTF-16",
        packed(lambda data: data.decode().encode("utf-16")),
        Stops({RAW: "is in UTF-16 or UTF-32, or no text at all: save it as CSV in UTF-8"}),
    ),
    Case(
        "Latin-1",
        packed(lambda data: data.decode().encode("latin-1")),
        Stops({RAW: "rows have bytes of another encoding (Latin-1, Windows-1252?). Save it as CSV in UTF-8"}),
    ),
    Case(
        "unescaped quotes inside quotes, all over the file",
        quotes_not_doubled,
        Stops({RAW: "At most 35% of the 600 rows read are unreadable (600 are: 100.0%)"}),
    ),
    Case(
        "a line of more than 32 MiB",
        packed(lambda data: data + b"a" * (33 * 2**20)),
        Stops({RAW: "has a line of more than 33,554,432 bytes, so it is not a CSV file: check it"}),
    ),
    Case(
        "an image instead of the file",
        packed(lambda _: b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40),
        Stops({RAW: "check that it is the dataset"}),
    ),
    Case(
        "an Excel workbook",
        packed(lambda data: zipped(data, "xl/workbook.xml")),
        Stops({RAW: "holds no CSV file: zip that file alone"}),
    ),
    Case(
        "a web page instead of the file",
        packed(lambda _: WEB_PAGE),
        Stops({RAW: "is a web page … Check the Kaggle credentials"}),
    ),
    Case(
        "a web page inside the zip",
        packed(lambda _: in_zip(WEB_PAGE)),
        Stops({RAW: "is a web page … Check the Kaggle credentials"}),
    ),
    Case(
        "a file cut off in the middle",
        keep("episodes", EPISODES // 2, b"episode-300,Tal"),
        Stops({RAW: "At most 20% fewer episodes than the 600 of the last snapshot"}),
    ),
    Case(
        "a file cut off near its end",
        keep("episodes", EPISODES - 50, b"episode-550,Tal"),
        Published({"malformed_row": 1}, ("Date of the newest episode",)),
    ),
    Case("a zip named episodes.csv", packed(in_zip), Published()),
    Case(
        "a zip cut off in the middle",
        packed(lambda data: in_zip(data)[: len(in_zip(data)) // 2]),
        Stops({RAW: "damaged or incomplete zip file … download it again"}),
    ),
    Case(
        "a zip with a wrong checksum",
        packed(lambda data: patched(in_zip(data), (b"PK\x01\x02", 16, b"\x00\x00\x00\x00"))),
        Stops({RAW: "damaged or incomplete zip file (Bad CRC-32 … download it again"}),
    ),
    Case(
        "a zip with two CSV files",
        packed(lambda data: zipped(data, "episodes.csv", "other.csv")),
        Stops({RAW: "must hold episodes.csv as its only CSV file … zip that file alone"}),
    ),
    Case(
        "a zip inside a zip",
        packed(lambda data: in_zip(in_zip(data))),
        Stops({RAW: "check that it is the dataset"}),
    ),
    Case(
        "a zip with a path that leads outside it",
        packed(lambda data: zipped(data, "episodes.csv", "../../etc/cron.d/evil")),
        Stops({RAW: "a path that leaves the archive: do not use this file"}),
    ),
    Case(
        "a zip bomb",
        packed(lambda data: in_zip(data + b'x,"' + b"a" * 17 * 2**20)),
        Stops({RAW: "as a zip bomb does: do not use this file"}),
    ),
    Case(
        "a zip compressed with LZMA",
        packed(lambda data: zipped(data, "episodes.csv", method=ZIP_LZMA)),
        Stops({RAW: "uses a compression method that cannot be read safely (number 14): zip episodes.csv with Deflate"}),
    ),
    Case(
        "an encrypted zip",
        packed(lambda data: patched(in_zip(data), (b"PK\x03\x04", 6, b"\x01"), (b"PK\x01\x02", 8, b"\x01"))),
        Stops({RAW: "is encrypted: unpack it yourself and put episodes.csv beside it"}),
    ),
    Case(
        "a file larger than the limit",
        change("episodes", [3], title="Other"),
        Stops({RAW: "holds more than 20,000 bytes: if that is right, raise PODSEARCH_MAX_FILE_BYTES"}),
        settings={"MAX_FILE_BYTES": "20000"},
    ),
]
