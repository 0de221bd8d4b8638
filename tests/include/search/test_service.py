from __future__ import annotations

import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from include.errors import PermanentError
from include.index.lancedb import LanceIndex
from include.index.live import LivePointer, NothingLiveError, require_live
from include.retriever.encoders.opening import open_encoder
from include.search.service import MAX_QUERY_CHARS, Mode, SearchService
from include.storage import ArtifactStore
from tests.include.index.workshop import write_live


@pytest.fixture(scope="module")
def service(home: Path) -> SearchService:
    index = LanceIndex(str(home / "artifacts" / "index"))
    return SearchService(ArtifactStore(home / "artifacts"), lambda live: index, weight=0.6)


def test_an_episode_is_found_by_its_words(service: SearchService) -> None:
    """By the model that the index was built with: the best answer to an episode's own text is the episode."""
    hits = service.search("tomato. garden tomato soil seed compost spade. garden.", k=3)
    assert (hits[0].metadata.title, hits[0].metadata.show_title) == ("tomato", "garden")
    assert hits[0].dense is not None
    assert hits[0].lexical is not None
    assert (hits[0].dense.rank, hits[0].lexical.rank) == (1, 1)
    assert 0.6 < hits[0].score <= 1
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_scores_are_cosines_of_query_and_text(service: SearchService, home: Path) -> None:
    store = ArtifactStore(home / "artifacts")
    encoder = open_encoder(store, require_live(store).model_version, "cpu", engine="torch")
    query, text = encoder.encode(["moon and soup", "moon. space rocket moon orbit planet star. space."], batch_size=2)
    hit = next(hit for hit in service.search("moon and soup", k=15, mode="dense") if hit.metadata.title == "moon")
    assert hit.score == pytest.approx(float(np.dot(query, text)), abs=1e-3)
    assert hit.dense is not None
    assert (hit.dense.score, hit.lexical) == (hit.score, None)


def test_words_alone_give_only_what_has_one_of_them(service: SearchService) -> None:
    hits = service.search("a rocket, or a tomato", k=15, mode="lexical")
    assert {hit.metadata.show_title for hit in hits} == {"space", "garden"}
    assert all(hit.lexical and hit.score == hit.lexical.score and hit.dense is None for hit in hits)
    assert service.search("nothing has xyzzy", mode="lexical") == []


def test_both_sides_are_weighed(home: Path) -> None:
    """What one side alone has is found, too; a weight of 1 or 0 leaves one side the say."""
    index, store = LanceIndex(str(home / "artifacts" / "index")), ArtifactStore(home / "artifacts")

    def ranked(weight: float, mode: Mode = "hybrid") -> list[str]:
        service = SearchService(store, lambda live: index, weight=weight)
        return [hit.episode_id for hit in service.search("tomato rocket sleep", k=15, mode=mode)]

    assert ranked(1) == ranked(0.3, "dense")
    lexical = ranked(0.3, "lexical")
    assert ranked(0)[:2] == lexical[:2]
    assert sorted(ranked(0.5)) == sorted(ranked(1))
    assert ranked(0.5) != ranked(1)


def test_one_show_may_have_only_so_many_results(home: Path) -> None:
    """Unless it is asked for; what follows moves up."""
    index, store = LanceIndex(str(home / "artifacts" / "index")), ArtifactStore(home / "artifacts")
    service = SearchService(store, lambda live: index, weight=0.4, per_show=1)
    everything = SearchService(store, lambda live: index, weight=0.4).search("rocket", k=15)
    hits = service.search("rocket", k=15)
    shows = [hit.metadata.podcast_id for hit in hits]
    assert len(shows) == len(set(shows)) == len({hit.metadata.podcast_id for hit in everything})
    assert hits[0] == everything[0]
    assert [hit for hit in everything if hit in hits] == hits
    ((show, count),) = Counter(hit.metadata.podcast_id for hit in everything).most_common(1)
    assert len(service.search("rocket", k=15, filter={"podcast_id": show})) == count > 1


def test_an_answer_names_what_it_came_from(service: SearchService, home: Path) -> None:
    answer = service.answer("rocket", k=2)
    assert answer.live == require_live(ArtifactStore(home / "artifacts"))
    assert {result.metadata.model_version for result in answer.results} == {answer.live.model_version}


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
    assert len(service.search("rocket", k=100)) == 15
    with pytest.raises(ValueError, match="at least one"):
        service.search("rocket", k=0)


def test_a_service_that_stays_open_follows_the_pointer_to_another_backend(home: Path, tmp_path: Path) -> None:
    """It went on asking the index that it was opened with, for namespaces that this does not have.

    The model is the same, and is not loaded again.
    """
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    store = ArtifactStore(tmp_path / "artifacts")
    indexes = {
        "lancedb": LanceIndex(str(tmp_path / "artifacts" / "index")),
        "pinecone": LanceIndex(str(shutil.copytree(tmp_path / "artifacts" / "index", tmp_path / "elsewhere"))),
    }
    live = require_live(store)
    service = SearchService(store, lambda live: indexes[live.backend], weight=0.6)
    (found,) = service.search("rocket", k=1)
    indexes["pinecone"].delete(live.namespace, [found.episode_id])
    assert service.search("rocket", k=1)[0].episode_id == found.episode_id
    write_live(store, live.model_copy(update={"backend": "pinecone", "index": "podsearch"}))
    indexes["lancedb"].drop(live.namespace)
    store.remove("models", live.model_version)
    assert service.search("rocket", k=1)[0].episode_id != found.episode_id


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"backend": 1}', b"\xff"])
def test_a_damaged_pointer_is_named(home: Path, tmp_path: Path, content: bytes) -> None:
    store = ArtifactStore(tmp_path)
    store.write_bytes(content, "live.json")
    with pytest.raises(PermanentError, match=r"live\.json is damaged .*reindex_episodes"):
        require_live(store)


def test_a_live_model_that_is_gone_is_named(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    store = ArtifactStore(tmp_path / "artifacts")
    live = require_live(store)
    shutil.rmtree(tmp_path / "artifacts" / "models" / live.model_version)
    with pytest.raises(PermanentError, match=rf"{live.model_version} is not in the registry.*"):
        SearchService(store, lambda live: pytest.fail("an index was opened"), weight=0.6)


def test_without_a_live_index_there_is_no_service(tmp_path: Path) -> None:
    with pytest.raises(NothingLiveError, match="run the pipeline first"):
        SearchService(ArtifactStore(tmp_path), lambda live: pytest.fail("an index was opened"), weight=0.6)


def test_while_one_query_opens_what_went_live_others_are_answered(home: Path, tmp_path: Path) -> None:
    """They all waited for it: with a queue before them, a new model had them turned away for seconds."""
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    store, index = ArtifactStore(tmp_path / "artifacts"), LanceIndex(str(tmp_path / "artifacts" / "index"))
    opening, opened = threading.Event(), threading.Event()

    def open_index(live: LivePointer) -> LanceIndex:
        if live.index == "other":
            opening.set()
            assert opened.wait(30)
        return index

    service = SearchService(store, open_index, weight=0.6)
    before = require_live(store)
    after = before.model_copy(update={"index": "other"})
    write_live(store, after)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(service.answer, "rocket")
        assert opening.wait(30)
        assert service.answer("rocket").live == before
        opened.set()
        assert first.result(30).live == after
    assert service.answer("rocket").live == after
