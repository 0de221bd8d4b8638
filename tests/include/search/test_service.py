from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from include.index.lancedb import LanceIndex
from include.index.live import NothingLiveError, require_live
from include.retriever.encode import encode
from include.retriever.registry import open_model
from include.search.service import MAX_QUERY_CHARS, SearchService
from include.storage import ArtifactStore


@pytest.fixture(scope="module")
def service(home: Path) -> SearchService:
    return SearchService(ArtifactStore(home / "artifacts"), LanceIndex(str(home / "artifacts" / "index")))


def test_an_episode_is_found_by_its_words(service: SearchService) -> None:
    """By the model that the index was built with: the best answer to an episode's own text is the episode."""
    hits = service.search("tomato. garden tomato soil seed compost spade. garden.", k=3)
    assert (hits[0].metadata.title, hits[0].metadata.show_title) == ("tomato", "garden")
    assert hits[0].score > 0.99
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_scores_are_cosines_of_query_and_text(service: SearchService, home: Path) -> None:
    store = ArtifactStore(home / "artifacts")
    model = open_model(store, require_live(store).model_version, "cpu")
    query, text = encode(model, ["moon and soup", "moon. space rocket moon orbit planet star. space."], batch_size=2)
    hit = next(hit for hit in service.search("moon and soup", k=15) if hit.metadata.title == "moon")
    assert hit.score == pytest.approx(float(np.dot(query, text)), abs=1e-3)


def test_many_queries_have_each_its_own_answers(service: SearchService) -> None:
    queries = ["rocket", "tired at night", "onion soup", "rocket"]
    answers = service.search_many(queries, k=4)
    assert [[hit.episode_id for hit in hits] for hits in answers] == [
        [hit.episode_id for hit in service.search(query, k=4)] for query in queries
    ]
    assert service.search_many([]) == []


def test_only_one_language(service: SearchService) -> None:
    hits = service.search("bank loan", k=15, filter={"language": "German"})
    assert len(hits) == 5
    assert {hit.metadata.language for hit in hits} == {"German"}
    assert service.search("bank loan", filter={"language": "Klingon"}) == []


@pytest.mark.parametrize("query", ["", "   ", "\n\t"])
def test_an_empty_query_is_asked_back(service: SearchService, query: str) -> None:
    with pytest.raises(ValueError, match="Say what you are looking for"):
        service.search(query)
    with pytest.raises(ValueError, match="Say what you are looking for"):
        service.search_many(["rocket", query])


def test_space_in_a_query_does_not_matter(service: SearchService) -> None:
    assert service.search("  onion\n\n soup ") == service.search("onion soup")


def test_a_query_that_is_too_long_is_cut(service: SearchService) -> None:
    long = "moon " * 100_000
    assert service.search(long, k=3) == service.search(long[:MAX_QUERY_CHARS], k=3)


@pytest.mark.parametrize("query", ["'; DROP TABLE episodes; --", "日本の番組", "🎧", "\ud800", "\x00"])
def test_any_text_is_a_query(service: SearchService, query: str) -> None:
    assert len(service.search(query, k=3)) == 3


def test_as_many_as_there_are(service: SearchService) -> None:
    assert len(service.search("rocket", k=1_000)) == 15
    with pytest.raises(ValueError, match="at least one"):
        service.search("rocket", k=0)


def test_without_a_live_index_there_is_no_service(tmp_path: Path) -> None:
    with pytest.raises(NothingLiveError, match="run the pipeline first"):
        SearchService(ArtifactStore(tmp_path), LanceIndex(str(tmp_path / "index")))
