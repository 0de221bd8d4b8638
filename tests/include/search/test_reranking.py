"""A cross-encoder has the last word on the first results, on as many for every page."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder

from include.index.contract import Metadata
from include.index.lancedb import LanceIndex
from include.retriever.registry import ModelError
from include.search.http.__main__ import main
from include.search.opening import open_search
from include.search.reranking import Reranker, episode_text, open_reranker
from include.search.service import Result, SearchService
from include.settings import get_settings
from include.storage import ArtifactStore
from tests.include.search.http.server import served
from tests.models import build_cross_encoder

QUERY = "a rocket and a tomato"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_cross_encoder(tmp_path_factory.mktemp("reranker"))


@pytest.fixture(scope="module")
def plain(home: Path) -> SearchService:
    return opened(home)


@pytest.fixture(scope="module")
def reranked(home: Path, folder: Path) -> SearchService:
    return opened(home, open_reranker(str(folder)))


def opened(home: Path, reranker: Reranker | None = None, *, per_show: int = 0) -> SearchService:
    index = LanceIndex(str(home / "artifacts" / "index"))
    store = ArtifactStore(home / "artifacts")
    return SearchService(store, lambda live: index, weight=0.5, per_show=per_show, reranker=reranker)


def ids(results: list[Result]) -> list[str]:
    return [one.episode_id for one in results]


def test_the_order_is_that_of_its_scores(plain: SearchService, reranked: SearchService, folder: Path) -> None:
    """Asked here apart, without any of what the service does."""
    before, after = plain.search(QUERY, k=15), reranked.search(QUERY, k=15)
    assert ids(after) != ids(before)
    assert sorted(ids(after)) == sorted(ids(before))
    judge = CrossEncoder(str(folder), device="cpu")
    pairs = [(QUERY, episode_text(one.metadata)) for one in before]
    scores = dict(zip(ids(before), judge.predict(pairs, activation_fn=torch.nn.Identity()), strict=True))
    assert len({round(float(score), 4) for score in scores.values()}) == 15
    assert ids(after) == sorted(scores, key=lambda key: -scores[key])
    for one in after:
        assert one.reranked
        assert one.reranked.score == pytest.approx(float(scores[one.episode_id]), abs=1e-4)
        assert one.reranked.before == ids(before).index(one.episode_id) + 1
        assert one.score == before[one.reranked.before - 1].score


def test_equal_scores_leave_the_order_as_it_was(plain: SearchService, home: Path, folder: Path, tmp_path: Path) -> None:
    level = build_cross_encoder(tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"] = torch.zeros_like(weights["classifier.weight"])
    save_file(weights, level / "model.safetensors", metadata={"format": "pt"})
    results = opened(home, open_reranker(str(level))).search(QUERY, k=15)
    assert len({one.reranked.score for one in results if one.reranked}) == 1
    assert ids(results) == ids(plain.search(QUERY, k=15))


def test_results_beyond_the_first_stay_where_they_are(
    plain: SearchService, reranked: SearchService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.search.service.RERANKED", 6)
    before, after = plain.search(QUERY, k=15), reranked.search(QUERY, k=15)
    assert ids(after)[6:] == ids(before)[6:]
    assert sorted(ids(after)[:6]) == sorted(ids(before)[:6])
    assert [one.reranked is None for one in after] == [False] * 6 + [True] * 9


@pytest.mark.parametrize("k", [1, 4])
def test_fewer_results_are_the_first_of_more(reranked: SearchService, k: int) -> None:
    """As many are judged, whatever is wanted: the best of fifty may be the fiftieth."""
    assert ids(reranked.search(QUERY, k=k)) == ids(reranked.search(QUERY, k=15))[:k]


def test_filters_are_applied_before_and_shows_limited_behind(home: Path, folder: Path) -> None:
    service = opened(home, open_reranker(str(folder)), per_show=1)
    german = service.search(QUERY, k=15, filter={"language": "German"})
    assert {one.metadata.language for one in german} == {"German"}
    assert sorted(one.reranked.before for one in german if one.reranked) == list(range(1, len(german) + 1))
    everything = opened(home, open_reranker(str(folder))).search(QUERY, k=15)
    first_of_each: dict[str, str] = {}
    for one in everything:
        first_of_each.setdefault(one.metadata.podcast_id, one.episode_id)
    assert max(Counter(one.metadata.podcast_id for one in everything).values()) > 1
    assert ids(service.search(QUERY, k=15)) == list(first_of_each.values())


def test_one_side_alone_is_not_reranked(plain: SearchService, reranked: SearchService) -> None:
    """Whoever asks for a side wants to see what that side says."""
    assert reranked.search(QUERY, k=15, mode="dense") == plain.search(QUERY, k=15, mode="dense")
    assert reranked.search(QUERY, k=15, mode="lexical") == plain.search(QUERY, k=15, mode="lexical")
    assert opened_similar(reranked) == opened_similar(plain)
    nothing = reranked.search("rocket", filter={"language": "Klingon"})
    assert nothing == []


def opened_similar(service: SearchService) -> list[str]:
    return ids(service.similar("e0030").results)


def test_several_may_ask_at_a_time(reranked: SearchService) -> None:
    """The tokenizer of a model is not made for several threads."""
    queries = [f"{word} {number}" for number in range(6) for word in ("soup", "moon", "bank")]
    one_by_one = [ids(reranked.search(query, k=15)) for query in queries]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda query: ids(reranked.search(query, k=15)), queries))
    assert together == one_by_one


def test_text_is_read_without_addresses_and_not_without_end() -> None:
    def text(**changes: str | None) -> str:
        values = {"title": "Soil", "show_title": "Garden", "description": "Compost: https://example.org/1 and seed."}
        return episode_text(
            Metadata(language=None, published_at=None, content_hash="", model_version="", **(values | changes))  # type: ignore[arg-type]
        )

    assert text() == "Soil. Garden. Compost: and seed."
    assert text(description=None) == "Soil. Garden"
    assert len(text(description="word " * 10_000).split()) == 60


def test_what_is_too_long_for_a_model_is_cut(folder: Path) -> None:
    """This one knows 512 places: a thousand letters, each a token, would be too many."""
    reranker = open_reranker(str(folder))
    once, twice = reranker.scores("x" * 50, ["soil " * 1_000, "soil " * 2_000])
    assert once == pytest.approx(twice, abs=1e-5)


def test_a_model_whose_scores_are_no_numbers_is_refused(tmp_path: Path) -> None:
    folder = build_cross_encoder(tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"] = torch.full_like(weights["classifier.bias"], float("nan"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="scores that are not numbers: set PODSEARCH_RERANKER to another"):
        open_reranker(str(folder))


@pytest.fixture
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Settings of the small live index."""
    monkeypatch.setenv("PODSEARCH_ARTIFACTS", str(home / "artifacts"))
    monkeypatch.setattr("uvicorn.run", lambda *_, **__: pytest.fail("it serves"))
    get_settings.cache_clear()
    return monkeypatch


def test_the_setting_names_it(at_home: pytest.MonkeyPatch, folder: Path, plain: SearchService) -> None:
    at_home.setenv("PODSEARCH_RERANKER", str(folder))
    settings = get_settings()
    get_settings.cache_clear()
    assert all(one.reranked for one in open_search(settings).search(QUERY, k=15))
    assert not any(one.reranked for one in open_search(settings, reranked=False).search(QUERY, k=15))
    assert not any(one.reranked for one in plain.search(QUERY, k=15))


@pytest.mark.parametrize("pickled", [False, True])
def test_the_server_does_not_start_with_one_that_cannot_be_loaded(
    pickled: bool, at_home: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "nowhere"
    if pickled:
        folder = build_cross_encoder(tmp_path)
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    at_home.setenv("PODSEARCH_RERANKER", str(folder))
    assert main(["--port", "1"]) == 1
    get_settings.cache_clear()
    said = capsys.readouterr().err
    assert "PODSEARCH_RERANKER" in said
    assert ("a pickle" if pickled else "neither a folder on this machine nor a hub id") in said


def test_pages_go_on_where_the_one_before_ends_and_say_what_moved(home: Path, folder: Path) -> None:
    with served(lambda: opened(home, open_reranker(str(folder)))) as address, httpx.Client(base_url=address) as client:

        def asked(**more: object) -> list[dict[str, object]]:
            answer = client.get("/search", params={"q": QUERY, "explain": True, **more}, timeout=30)  # type: ignore[dict-item]
            assert answer.status_code == 200
            results: list[dict[str, object]] = answer.json()["results"]
            return results

        everything = asked(k=15)
        pages = [one for page in (1, 2, 3) for one in asked(k=5, page=page)]
        assert [one["id"] for one in pages] == [one["id"] for one in everything]
        assert len({one["id"] for one in pages}) == 15
        moved = [one["explanation"]["reranked"] for one in everything]  # type: ignore[index]
        assert sorted(one["before"] for one in moved) == list(range(1, 16))
        assert [one["score"] for one in moved] == sorted((one["score"] for one in moved), reverse=True)
        assert all(one["explanation"]["reranked"] is None for one in asked(mode="dense"))  # type: ignore[index]
        page = client.get("/", params={"q": QUERY, "explain": "true"}).text
        assert f"re-ranked: was no. {moved[0]['before']}, scored {moved[0]['score']:.2f}" in page
        assert "re-ranked" not in client.get("/", params={"q": QUERY}).text


class Held(Reranker):
    """Waits before it scores, until it may."""

    may = threading.Event()

    def scores(self, query: str, texts: object) -> list[float]:
        assert self.may.wait(30)
        return super().scores(query, texts)  # type: ignore[arg-type]


def test_one_that_takes_too_long_is_given_up(home: Path, folder: Path) -> None:
    """The time limit of the service holds for it, too; and whoever asks for less is answered meanwhile."""
    held = Held(CrossEncoder(str(folder), device="cpu"))
    with (
        served(lambda: opened(home, held), at_work=2, seconds=2) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        while client.get("/readyz").status_code != 200:
            pass
        late = client.get("/search", params={"q": "rocket"})
        assert (late.status_code, late.json()["detail"][:28]) == (503, "There was no answer within 2")
        assert client.get("/search", params={"q": "rocket", "mode": "lexical"}).status_code == 200
        held.may.set()
        assert client.get("/search", params={"q": "tomato"}).status_code == 200
