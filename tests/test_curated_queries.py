"""The curated queries of ``benchmarks/queries`` are well formed, answered by the catalogue, and not copied from it."""

from __future__ import annotations

import csv
import html
import io
import re
import zipfile

import pytest

from include.evaluation.queries import read_curated
from include.settings import PROJECT

QUERIES = PROJECT / "benchmarks" / "queries" / "version-1.csv"
DATASET = PROJECT.parent / "shared" / "podcasts" / "version-1" / "episodes.csv.zip"
KINDS = {"topic", "vague", "question", "known_item"}


def rows() -> list[dict[str, str]]:
    with QUERIES.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Title and description of every episode of the catalogue."""
    if not DATASET.exists():
        pytest.skip(f"{DATASET} is not here.")
    csv.field_size_limit(2**24)
    with zipfile.ZipFile(DATASET) as archive, archive.open("episodes.csv") as data:
        episodes = csv.DictReader(io.TextIOWrapper(data, encoding="utf-8", newline=""))
        return {row["uuid"]: html.unescape(f"{row['title']} {row['description']}") for row in episodes}


def words(text: str) -> list[str]:
    """Words in lower case; every Chinese character is one of its own."""
    return re.findall(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+", text.lower())


def runs(text: str, length: int) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[start : start + length]) for start in range(len(found) - length + 1)}


def test_there_are_enough_queries_and_all_are_distinct() -> None:
    queries = [row["query"].casefold() for row in rows()]
    assert len(queries) >= 150
    assert len(set(queries)) == len(queries)
    assert len(read_curated(QUERIES)) == len(queries)


def test_every_row_has_a_grade_for_each_answer_and_a_full_answer() -> None:
    for row in rows():
        ids, grades = row["episode_ids"].split("|"), row["grades"].split("|")
        assert len(set(ids)) == len(ids) == len(grades), row["query"]
        assert set(grades) <= {"1", "2"}, row["query"]
        assert "2" in grades, row["query"]
        assert row["kind"] in KINDS, row["query"]
        assert row["language"], row["query"]


def test_the_catalogue_has_every_answer(texts: dict[str, str]) -> None:
    assert {answer for row in rows() for answer in row["episode_ids"].split("|")} <= texts.keys()


def test_no_query_but_a_known_item_repeats_four_words_of_its_answers(texts: dict[str, str]) -> None:
    """In Chinese, where a word is about two characters, eight characters."""
    for row in rows():
        if row["kind"] == "known_item":
            continue
        length = 8 if row["language"] == "Chinese" else 4
        asked = runs(row["query"], length)
        for answer in row["episode_ids"].split("|"):
            assert not asked & runs(texts[answer], length), (row["query"], answer)
