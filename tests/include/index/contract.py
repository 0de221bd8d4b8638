"""The EpisodeIndex contract as tests: each backend's test module subclasses :class:`EpisodeIndexContract`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from include.index.contract import (
    EpisodeIndex,
    Hit,
    IndexMismatchError,
    Length,
    Metadata,
    NamespaceNotFoundError,
    Period,
    Records,
    Vectors,
)

DIMENSION = 8
ODD_IDS = ["o'neil", '"quoted"', "back\\slash", "per%cent_", "日本の番組", "with space", "a;b--c", "é́", "x" * 200]


def axis(*numbers: int) -> Vectors:
    """Unit vectors along some axes, shape (n, dimension)."""
    return np.eye(DIMENSION, dtype=np.float32)[list(numbers)]


def random_vectors(count: int, *, seed: int = 0, dimension: int = DIMENSION) -> Vectors:
    values = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def metadata(**changes: Any) -> Metadata:
    values: dict[str, Any] = {
        "title": "Title",
        "show_title": "Show",
        "language": "English",
        "published_at": datetime(2017, 12, 1, 5, tzinfo=UTC),
        "content_hash": "c1",
        "model_version": "m1",
    }
    return Metadata(**values | changes)


def records(ids: Sequence[str], values: Vectors, **changes: Any) -> Records:
    return Records(list(ids), values, [metadata(**changes) for _ in ids])


def ids_of(hits: list[Hit]) -> list[str]:
    return [hit.episode_id for hit in hits]


class EpisodeIndexContract:
    """What every backend keeps. A subclass gives the fixture ``index``: an empty :class:`EpisodeIndex`.

    ``odd_ids`` are among the ids that it takes.
    """

    odd_ids: Sequence[str] = ODD_IDS

    @pytest.fixture
    def index(self) -> EpisodeIndex:
        raise NotImplementedError("The backend's test class gives the index.")

    @pytest.fixture
    def filled(self, index: EpisodeIndex) -> EpisodeIndex:
        """The namespace ``ns`` with a, b and c on the first three axes."""
        index.create("ns", DIMENSION)
        assert index.upsert("ns", [records("ab", axis(0, 1)), records("c", axis(2), language="German")]) == 3
        return index

    # Namespaces

    def test_an_empty_namespace_answers_nothing(self, index: EpisodeIndex) -> None:
        index.create("ns", DIMENSION)
        assert index.namespaces() == ["ns"]
        assert (index.count("ns"), list(index.list_ids("ns")), index.fetch("ns", ["a"])) == (0, [], {})
        assert index.search_vectors("ns", axis(0, 1), 3) == [[], []]
        index.delete("ns", ["a"])
        index.finish("ns")
        assert index.count("ns") == 0

    def test_creating_a_namespace_again_keeps_what_it_holds(self, filled: EpisodeIndex) -> None:
        filled.create("ns", DIMENSION)
        assert filled.count("ns") == 3

    def test_a_namespace_of_another_dimension_is_refused(self, filled: EpisodeIndex) -> None:
        with pytest.raises(IndexMismatchError, match="ns"):
            filled.create("ns", DIMENSION + 1)
        assert filled.count("ns") == 3

    def test_namespaces_do_not_mix(self, filled: EpisodeIndex) -> None:
        filled.create("other", DIMENSION // 2)
        filled.upsert("other", [Records(["a"], np.full((1, 4), 0.5, np.float32), [metadata(title="Other")])])
        filled.delete("other", ["b"])
        assert filled.namespaces() == ["ns", "other"]
        assert (filled.count("ns"), filled.count("other")) == (3, 1)
        assert np.allclose(filled.fetch("ns", ["a"])["a"].values, axis(0)[0])
        filled.drop("other")
        assert (filled.namespaces(), filled.count("ns")) == (["ns"], 3)

    def test_dropping_takes_everything_and_can_be_repeated(self, filled: EpisodeIndex) -> None:
        filled.drop("ns")
        filled.drop("ns")
        assert filled.namespaces() == []
        filled.create("ns", DIMENSION)
        assert filled.count("ns") == 0

    def test_a_namespace_that_is_not_there_is_named(self, index: EpisodeIndex) -> None:
        calls: list[Callable[[], object]] = [
            lambda: index.upsert("gone", [records("a", axis(0))]),
            lambda: index.delete("gone", ["a"]),
            lambda: index.search_vectors("gone", axis(0), 1),
            lambda: index.search_words("gone", ["x"], 1),
            lambda: index.fetch("gone", ["a"]),
            lambda: index.count("gone"),
            lambda: list(index.list_ids("gone")),
            lambda: index.finish("gone"),
        ]
        for call in calls:
            with pytest.raises(NamespaceNotFoundError, match="no namespace gone"):
                call()

    # Writing

    def test_upserting_twice_is_upserting_once(self, filled: EpisodeIndex) -> None:
        filled.upsert("ns", [records("ab", axis(0, 1)), records("c", axis(2), language="German")])
        assert filled.count("ns") == 3
        assert sorted(filled.list_ids("ns")) == ["a", "b", "c"]

    def test_an_upsert_replaces_vector_and_metadata(self, filled: EpisodeIndex) -> None:
        new = metadata(title="New", language=None, published_at=None, content_hash="c2")
        filled.upsert("ns", [Records(["a"], axis(5), [new])])
        assert filled.count("ns") == 3
        assert np.allclose(filled.fetch("ns", ["a"])["a"].values, axis(5)[0])
        (hits,) = filled.search_vectors("ns", axis(5), 1)
        assert (hits[0].episode_id, hits[0].metadata) == ("a", new)

    def test_an_upsert_of_metadata_alone_is_read_as_soon_as_it_returns(self, filled: EpisodeIndex) -> None:
        filled.upsert("ns", [records("a", axis(0), title="New")])
        assert filled.fetch("ns", ["a"])["a"].metadata == metadata(title="New")

    def test_the_last_of_two_batches_stays(self, filled: EpisodeIndex) -> None:
        assert filled.upsert("ns", [records("a", axis(3)), records("a", axis(4))]) == 2
        assert np.allclose(filled.fetch("ns", ["a"])["a"].values, axis(4)[0])
        assert filled.count("ns") == 3

    def test_no_batch_and_an_empty_batch_write_nothing(self, filled: EpisodeIndex) -> None:
        assert filled.upsert("ns", []) == 0
        assert filled.upsert("ns", [records("", axis())]) == 0
        assert filled.count("ns") == 3

    def test_a_batch_of_another_dimension_is_refused(self, filled: EpisodeIndex) -> None:
        with pytest.raises(IndexMismatchError):
            filled.upsert("ns", [records("d", random_vectors(1, dimension=DIMENSION + 1))])
        assert filled.count("ns") == 3

    def test_what_is_no_batch_cannot_be_made(self) -> None:
        with pytest.raises(ValueError, match="twice"):
            records("aa", axis(0, 1))
        with pytest.raises(ValueError, match="no batch"):
            records("abc", axis(0, 1))

    def test_deleting_ignores_what_is_not_there(self, filled: EpisodeIndex) -> None:
        filled.delete("ns", [])
        filled.delete("ns", ["a", "nobody"])
        filled.delete("ns", ["a"])
        assert sorted(filled.list_ids("ns")) == ["b", "c"]
        assert [ids_of(hits) for hits in filled.search_vectors("ns", axis(0), 3)] == [["b", "c"]]

    def test_many_can_be_written_fetched_and_deleted_at_once(self, index: EpisodeIndex) -> None:
        index.create("ns", DIMENSION)
        names, values = [f"e{number:05d}" for number in range(2_500)], random_vectors(2_500)
        index.upsert("ns", [records(names[:1_500], values[:1_500]), records(names[1_500:], values[1_500:])])
        assert sorted(index.list_ids("ns")) == names
        found = index.fetch("ns", names)
        assert np.allclose(np.stack([found[name].values for name in names]), values, atol=1e-6)
        index.delete("ns", names[:-3])
        assert sorted(index.list_ids("ns")) == names[-3:]

    def test_ids_are_any_text(self, index: EpisodeIndex) -> None:
        index.create("ns", DIMENSION)
        values = random_vectors(len(self.odd_ids))
        for _ in range(2):
            index.upsert("ns", [records(self.odd_ids, values)])
        assert sorted(index.list_ids("ns")) == sorted(self.odd_ids)
        assert set(index.fetch("ns", self.odd_ids)) == set(self.odd_ids)
        for name in self.odd_ids:
            index.delete("ns", [name])
        assert index.count("ns") == 0

    # Reading

    def test_fetch_leaves_out_what_is_not_there(self, filled: EpisodeIndex) -> None:
        found = filled.fetch("ns", ["c", "nobody", "a"])
        assert set(found) == {"a", "c"}
        assert found["c"].values.dtype == np.float32
        assert filled.fetch("ns", []) == {}

    def test_hits_come_best_first_with_their_cosine(self, index: EpisodeIndex) -> None:
        index.create("ns", DIMENSION)
        values = random_vectors(50)
        names = [f"e{number:02d}" for number in range(50)]
        index.upsert("ns", [records(names, values)])
        queries = random_vectors(7, seed=1)
        for query, hits in zip(queries, index.search_vectors("ns", queries, 10), strict=True):
            cosines = values @ query
            best = np.argsort(-cosines)[:10]
            assert ids_of(hits) == [names[row] for row in best]
            assert np.allclose([hit.score for hit in hits], cosines[best], atol=1e-5)

    def test_the_length_of_a_query_does_not_matter(self, filled: EpisodeIndex) -> None:
        (hits,) = filled.search_vectors("ns", 5 * axis(1), 1)
        assert ids_of(hits) == ["b"]
        assert hits[0].score == pytest.approx(1.0, abs=1e-5)

    def test_equal_scores_come_by_id(self, index: EpisodeIndex) -> None:
        index.create("ns", DIMENSION)
        index.upsert("ns", [records("dbac", axis(0, 0, 0, 0)), records("e", axis(1))])
        assert ids_of(index.search_vectors("ns", axis(0), 5)[0]) == ["a", "b", "c", "d", "e"]

    def test_fewer_are_given_when_there_are_no_more(self, filled: EpisodeIndex) -> None:
        assert [len(hits) for hits in filled.search_vectors("ns", axis(0, 1), 100)] == [3, 3]

    def test_no_queries_no_answers(self, filled: EpisodeIndex) -> None:
        assert filled.search_vectors("ns", axis(), 3) == []

    def test_impossible_questions_are_refused(self, filled: EpisodeIndex) -> None:
        with pytest.raises(ValueError, match="at least one"):
            filled.search_vectors("ns", axis(0), 0)
        with pytest.raises(IndexMismatchError):
            filled.search_vectors("ns", random_vectors(1, dimension=DIMENSION + 1), 3)

    def test_a_filter_is_applied_before_the_best_are_taken(self, index: EpisodeIndex) -> None:
        index.create("ns", DIMENSION)
        near = records([f"near{number}" for number in range(20)], np.float32(9) * axis(0) + random_vectors(20))
        index.upsert("ns", [near, records(["far"], axis(1), language="German")])
        hits = index.search_vectors("ns", axis(0, 1), 3, {"language": "German"})
        assert [ids_of(own) for own in hits] == [["far"], ["far"]]
        assert index.search_vectors("ns", axis(0), 3, {"language": "Thai"}) == [[]]
        assert index.search_vectors("ns", axis(0), 3, {"language": "German", "title": "Another"}) == [[]]

    def test_a_filter_value_is_text_and_no_expression(self, index: EpisodeIndex) -> None:
        index.create("ns", DIMENSION)
        title = "It's \"100 %\" 🎧 – Über 日本' OR '1'='1"
        index.upsert("ns", [records("a", axis(0), title=title), records("b", axis(0))])
        assert ids_of(index.search_vectors("ns", axis(0), 3, {"title": title})[0]) == ["a"]

    def test_only_text_metadata_can_be_filtered_by(self, filled: EpisodeIndex) -> None:
        for name in ("published_at", "vector", "1=1 --"):
            with pytest.raises(ValueError, match="no filter by"):
                filled.search_vectors("ns", axis(0), 3, {name: "x"})

    def test_a_period_begins_with_its_first_second_and_ends_before_its_last(self, index: EpisodeIndex) -> None:
        index.create("ns", DIMENSION)
        days = {name: datetime(2017, 12, day, tzinfo=UTC) for name, day in (("a", 1), ("b", 2), ("c", 3))}
        own = [metadata(published_at=moment) for moment in days.values()]
        old, dateless = metadata(published_at=datetime(1969, 7, 20, tzinfo=UTC)), metadata(published_at=None)
        index.upsert("ns", [Records(list("abcde"), random_vectors(5), [*own, old, dateless])])

        def found(period: Period, **others: str) -> list[str]:
            return sorted(ids_of(index.search_vectors("ns", axis(0), 5, {"published_at": period, **others})[0]))

        assert found(Period(days["b"], days["c"])) == ["b"]
        assert found(Period(since=days["b"])) == ["b", "c"]
        assert found(Period(until=days["b"])) == ["a", "d"]
        east = timezone(timedelta(hours=9))
        assert found(Period(since=datetime(2017, 12, 2, 9, tzinfo=east))) == ["b", "c"], "a moment is one everywhere"
        assert found(Period(since=days["b"]), language="English", show_title="Show") == ["b", "c"]
        assert found(Period(since=days["b"]), language="Thai") == []
        with pytest.raises(ValueError, match="beginning or an end"):
            Period()
        with pytest.raises(ValueError, match="no filter by"):
            index.search_vectors("ns", axis(0), 3, {"language": Period(since=days["b"])})

    def test_a_length_begins_with_its_shortest_and_ends_before_its_longest(self, index: EpisodeIndex) -> None:
        index.create("ns", DIMENSION)
        lengths = [metadata(duration_seconds=seconds) for seconds in (0, 600, 1_200, None)]
        index.upsert("ns", [Records(list("abcd"), random_vectors(4), lengths)])

        def found(length: Length) -> list[str]:
            return sorted(ids_of(index.search_vectors("ns", axis(0), 4, {"duration_seconds": length})[0]))

        assert found(Length(600, 1_200)) == ["b"]
        assert found(Length(shortest=600)) == ["b", "c"]
        assert found(Length(longest=600)) == ["a"]
        with pytest.raises(ValueError, match="lower or an upper"):
            Length()
        with pytest.raises(ValueError, match="no filter by"):
            index.search_vectors("ns", axis(0), 3, {"published_at": Length(1)})

    # Words

    @pytest.fixture
    def library(self, index: EpisodeIndex) -> EpisodeIndex:
        """The namespace ``ns`` with five episodes, each with words of its own in another field."""
        index.create("ns", DIMENSION)
        texts = [
            metadata(title="Owls at night", show_title="Birds"),
            metadata(title="One", show_title="The café of Zürich", language="German"),
            metadata(title="Two", description="Why glaciers melt, and where to", podcast_id="p2"),
            metadata(title="Three", categories="Science Fiction"),
            metadata(title="日本の歴史について", language="Japanese"),
        ]
        index.upsert("ns", [Records(list("abcde"), axis(0, 1, 2, 3, 4), texts)])
        index.finish("ns")
        return index

    @pytest.mark.parametrize(
        ("query", "right"),
        [("owls", "a"), ("OWLS", "a"), ("zürich", "b"), ("glaciers", "c"), ("fiction", "d"), ("歴史", "e")],
    )
    def test_words_are_found_in_every_field(self, library: EpisodeIndex, query: str, right: str) -> None:
        assert ids_of(library.search_words("ns", [query], 3)[0]) == [right]

    @pytest.mark.parametrize(
        ("written", "typed"),
        [
            ("The women’s hour", "women's"),
            ("The women’s hour", "womens"),
            ("The women's hour", "women’s"),
            ("Don’t", "DON'T"),
            ("O‘Brien", "o'brien"),
            ("Hawaiʻi", "Hawai'i"),
            ("Straße", "strasse"),
            ("STRASSE", "Straße"),
            ("İstanbul", "istanbul"),
            ("2017_12_01_whales_final", "whales"),
            ("whales", "the_whales"),
        ],
    )
    def test_a_word_is_found_however_it_is_typed(self, library: EpisodeIndex, written: str, typed: str) -> None:
        library.upsert("ns", [records("f", axis(5), title=written)])
        assert ids_of(library.search_words("ns", [typed], 1)[0]) == ["f"]

    def test_one_of_the_words_is_enough_and_more_are_better(self, library: EpisodeIndex) -> None:
        ((first, second, *_),) = library.search_words("ns", ["owls that melt glaciers in science"], 3)
        assert first.episode_id == "c"
        assert first.score > second.score > 0
        assert first.metadata.description == "Why glaciers melt, and where to"

    def test_several_queries_are_answered_in_their_order(self, library: EpisodeIndex) -> None:
        answers = library.search_words("ns", ["glaciers", "nothing has xyzzy", "owls"], 3)
        assert [ids_of(hits) for hits in answers] == [["c"], [], ["a"]]
        assert library.search_words("ns", [], 3) == []

    @pytest.mark.parametrize(
        "query",
        [
            '"owls',
            '"owls"',
            '"owls" and "nothing"',
            "“owls”",
            "owls)",
            "title:owls",
            "owls^9",
            "owls~",
            "-owls",
            "NOT owls",
            "owls AND",
            "+owls*",
            "owls \\",
            "{owls]",
        ],
    )
    def test_no_sign_in_a_query_means_anything(self, library: EpisodeIndex, query: str) -> None:
        assert ids_of(library.search_words("ns", [query], 3)[0])[0] == "a"

    @pytest.mark.parametrize("query", ["", "   ", "?!", '"', '""', "🎧", "\x00"])
    def test_a_query_without_words_finds_nothing(self, library: EpisodeIndex, query: str) -> None:
        assert library.search_words("ns", [query], 3) == [[]]

    def test_words_are_filtered_before_the_best_are_taken(self, library: EpisodeIndex) -> None:
        library.upsert("ns", [records([f"near{number}" for number in range(20)], random_vectors(20), title="Glaciers")])
        library.finish("ns")
        assert ids_of(library.search_words("ns", ["glaciers"], 1, {"podcast_id": "p2"})[0]) == ["c"]
        assert library.search_words("ns", ["glaciers"], 1, {"language": "Thai"}) == [[]]
        with pytest.raises(ValueError, match="no filter by"):
            library.search_words("ns", ["glaciers"], 1, {"description": "x"})
        with pytest.raises(ValueError, match="at least one"):
            library.search_words("ns", ["glaciers"], 0)

    @pytest.mark.parametrize("finished", [False, True])
    def test_words_follow_what_is_written(self, library: EpisodeIndex, finished: bool) -> None:
        library.upsert("ns", [records("af", axis(0, 5), title="Bears by day")])
        library.delete("ns", ["c"])
        if finished:
            library.finish("ns")
        assert library.search_words("ns", ["owls", "glaciers"], 3) == [[], []]
        assert ids_of(library.search_words("ns", ["bears"], 3)[0]) == ["a", "f"], "equal scores come by id"

    def test_metadata_comes_back_as_it_was_given(self, index: EpisodeIndex) -> None:
        index.create("ns", DIMENSION)
        given = [
            metadata(title="Über 日本 🎧 'quotes' \"and\" <b>\n\ttabs", show_title="‮Right to left"),
            metadata(language=None, published_at=None),
            metadata(title="", published_at=datetime(1969, 7, 20, 20, 17, tzinfo=UTC)),
            metadata(
                podcast_id="p1",
                description="First.\n\nSecond <i>& third</i>",
                categories="Arts|Science",
                duration_seconds=0,
                audio_url="https://example.org/a.mp3?x=1&y=2",
            ),
        ]
        index.upsert("ns", [Records(list("abcd"), axis(0, 1, 2, 3), given)])
        answers = index.search_vectors("ns", axis(0, 1, 2, 3), 1)
        assert [hits[0].metadata for hits in answers] == given
        assert [index.fetch("ns", [key])[key].metadata for key in "abcd"] == given
        assert answers[0][0].metadata.published_at is not None

    def test_what_is_kept_of_metadata_is_known_before(self, index: EpisodeIndex) -> None:
        """Verification compares with it: whatever a backend cuts is no difference."""
        index.create("ns", DIMENSION)
        long = metadata(
            title="ü" * 5_000,
            show_title="日本" * 5_000,
            description="日本語 " * 9_000,
            published_at=datetime(2017, 12, 1, 1, 2, 3, 999_999, UTC),
        )
        index.upsert("ns", [Records(["a"], axis(0), [long])])
        assert index.fetch("ns", ["a"])["a"].metadata == index.kept(long)
        assert index.kept(index.kept(long)) == index.kept(long)
        assert index.kept(metadata()) == metadata()

    # Finishing

    def test_finishing_changes_no_answer_and_can_be_repeated(self, filled: EpisodeIndex) -> None:
        filled.upsert("ns", [records("d", axis(0))])
        filled.delete("ns", ["b"])
        before = filled.search_vectors("ns", random_vectors(3), 5)
        for _ in range(2):
            filled.finish("ns")
            assert filled.count("ns") == 3
        after = filled.search_vectors("ns", random_vectors(3), 5)
        assert [ids_of(hits) for hits in after] == [ids_of(hits) for hits in before]
        filled.upsert("ns", [records("e", axis(6))])
        assert ids_of(filled.search_vectors("ns", axis(6), 1)[0]) == ["e"]
