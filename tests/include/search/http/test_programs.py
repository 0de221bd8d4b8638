"""JSON for programs: what is found and from where, filters, pages, and mistakes that are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from include.index.live import require_live
from include.search.service import MAX_QUERY_CHARS
from include.storage import ArtifactStore
from tests.include.search.http.test_described import PATHS


def search(client: httpx.Client, q: str = "rocket", **parameters: Any) -> dict[str, Any]:
    answer = client.get("/search", params={"q": q, **parameters})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(answer: dict[str, Any]) -> list[str]:
    return [one["id"] for one in answer["results"]]


def test_an_answer_has_all_that_is_shown_and_names_what_it_came_from(client: httpx.Client, harmful: Path) -> None:
    answer = search(client, "rocket to the moon", k=3)
    live = require_live(ArtifactStore(harmful / "artifacts"))
    assert answer["live"] == {
        "model": live.model_version,
        "namespace": live.namespace,
        "snapshot": live.snapshot_id,
        "since": live.activated_at.isoformat().replace("+00:00", "Z"),
    }
    assert [one["rank"] for one in answer["results"]] == [1, 2, 3]
    assert answer["found"] == 15
    first = next(one for one in search(client, k=15)["results"] if one["id"] == "e0030")
    assert (first["show"], first["language"], first["seconds"]) == ("space", "German", 1_800)
    assert first["published"] == "2017-12-01T00:00:00Z"
    assert first["audio_url"] == "https://cdn.example/rocket.mp3"
    assert first["explanation"] is None


def test_pages_follow_each_other_and_end(client: httpx.Client) -> None:
    whole = ids(search(client, k=15))
    assert len(set(whole)) == 15
    assert [ids(search(client, k=6, page=page)) for page in (1, 2, 3, 4)] == [whole[:6], whole[6:12], whole[12:], []]
    assert [one["rank"] for one in search(client, k=6, page=2)["results"]] == list(range(7, 13))


def test_each_mode_answers_by_its_side_and_explains_it(client: httpx.Client) -> None:
    both = search(client, explain=True, k=15)["results"]
    dense = {one["id"]: one["rank"] for one in search(client, mode="dense", k=15)["results"]}
    lexical = {one["id"]: one["score"] for one in search(client, mode="lexical", k=15)["results"]}
    assert {one["id"]: one["explanation"]["dense"]["rank"] for one in both} == dense
    said = {one["id"]: one["explanation"]["lexical"] for one in both}
    assert {key: place["score"] for key, place in said.items() if place} == pytest.approx(lexical)
    assert 0 < len(lexical) < 15


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"language": "German"}, {"e0000", "e0010", "e0020", "e0030", "e0040"}),
        ({"show": "space"}, {"e0030", "e0031"}),
        ({"show": "' OR 1=1 --"}, set()),
        ({"shortest": 30, "show": "space"}, {"e0030", "e0031"}),
        ({"longest": 30, "show": "space"}, {"e0030"}),
        ({"longest": 29, "show": "space"}, set()),
        ({"since": "2017-12-01", "until": "2017-12-01", "show": "space"}, {"e0030", "e0031"}),
        ({"since": "2017-12-02"}, set()),
        ({"until": "2017-11-30"}, set()),
        ({"until": "2999-12-31", "show": "space", "language": "German"}, {"e0030"}),
    ],
)
def test_filters(client: httpx.Client, wanted: dict[str, Any], expected: set[str]) -> None:
    """Bounds are what they say: 30 minutes, and a day to its end."""
    assert set(ids(search(client, k=15, **wanted))) == expected


def test_so_many_of_each_show(client: httpx.Client) -> None:
    everything = search(client, k=15, per_show=0)["results"]
    one_each = search(client, k=15, per_show=1)["results"]
    assert len(one_each) == len({one["show_id"] for one in everything}) < 15
    assert one_each[0]["id"] == everything[0]["id"]
    assert len(search(client, k=15, per_show=1, show="space")["results"]) == 2, "of one show all"
    assert search(client, k=15, per_show="")["results"] == search(client, k=15)["results"]


def test_titles_are_suggested_as_somebody_types(client: httpx.Client, harmful: Path) -> None:
    answer = client.get("/suggest", params={"q": "RoCk"})
    assert answer.status_code == 200
    assert answer.json() == {
        "snapshot": require_live(ArtifactStore(harmful / "artifacts")).snapshot_id,
        "query": "RoCk",
        "suggestions": [{"text": "rocket", "kind": "episode", "id": "e0031"}],
    }
    assert len(client.get("/suggest", params={"q": "s", "k": 1}).json()["suggestions"]) == 1
    assert client.get("/suggest", params={"q": "?"}).json()["suggestions"] == []
    mistakes: list[dict[str, str | int]] = [
        {},
        {"q": "x" * 201},
        {"q": "a", "k": 0},
        {"q": "a", "k": 51},
        {"query": "a"},
    ]
    for wrong in mistakes:
        assert client.get("/suggest", params=wrong).status_code == 422


def test_a_form_sends_empty_fields_which_are_no_filters(client: httpx.Client) -> None:
    empty = dict.fromkeys(("language", "show", "since", "until", "shortest", "longest"), "")
    assert search(client, **empty) == search(client)


def test_one_episode_and_those_like_it(client: httpx.Client) -> None:
    one = client.get("/episodes/e0030").json()
    assert one["episode"]["id"] == "e0030"
    assert one["episode"]["description"].startswith("space")
    like = client.get("/episodes/e0030/similar", params={"k": 4}).json()
    assert like["live"] == one["live"] == search(client)["live"]
    assert like["episode"] == one["episode"]
    assert len(like["results"]) == 4
    assert "e0030" not in ids(like)
    scores = [found["score"] for found in like["results"]]
    assert scores == sorted(scores, reverse=True)
    german = client.get("/episodes/e0030/similar", params={"k": 15, "language": "German"}).json()
    assert set(ids(german)) == {"e0000", "e0010", "e0020", "e0040"}


@pytest.mark.parametrize(
    ("parameters", "mistakes"),
    [
        ({}, {"q": None}),
        ({"q": ""}, {"q": ""}),
        ({"q": "?!"}, {"q": "?!"}),
        ({"q": "x" * (MAX_QUERY_CHARS + 1)}, {"q": "x" * 200}),
        ({"q": "a", "k": 0}, {"k": "0"}),
        ({"q": "a", "k": 101}, {"k": "101"}),
        ({"q": "a", "k": 10, "page": 11}, {"query": None}),
        ({"q": "a", "k": "many", "mode": "magic"}, {"k": "many", "mode": "magic"}),
        ({"q": "a", "since": "yesterday"}, {"since": "yesterday"}),
        ({"q": "a", "until": "9999-12-31"}, {"until": "9999-12-31"}),
        ({"q": "a", "since": "2018-01-01", "until": "2017-01-01"}, {"query": None}),
        ({"q": "a", "shortest": 20, "longest": 10}, {"query": None}),
        ({"q": "a", "langauge": "German"}, {"langauge": "German"}),
        ({"q": "a", "language": "a\x00b"}, {"language": "a\x00b"}),
    ],
)
def test_a_mistake_is_named_with_its_value(
    client: httpx.Client, parameters: dict[str, Any], mistakes: dict[str, str | None]
) -> None:
    answer = client.get("/search", params=parameters)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 422
    assert {one["parameter"]: one["value"] for one in problem["errors"]} == mistakes
    assert all(one["message"] for one in problem["errors"])


@pytest.mark.parametrize(
    ("path", "status"),
    [("/episodes/nobody", 404), ("/episodes/nobody/similar", 404), ("/episodes/" + "x" * 513, 422), ("/search/", 404)],
)
def test_what_is_not_there_is_told_as_a_problem(client: httpx.Client, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == answer.json()["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_nothing_can_be_sent(client: httpx.Client) -> None:
    answer = client.post("/search", content=b"x" * 10_000_000)
    assert answer.status_code == 405
    assert answer.json()["title"] == "Method not allowed"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/search?q=rocket", "/?q=rocket", "/style.css", "/nowhere"])
def test_who_asks_for_the_head_gets_what_stands_above_the_answer(client: httpx.Client, path: str) -> None:
    """Uptime monitors and load balancers do."""
    head, whole = client.head(path), client.get(path)
    assert head.status_code == whole.status_code
    assert head.headers["Content-Type"] == whole.headers["Content-Type"]
    assert head.content == b""


def test_an_address_that_is_too_long_is_not_read(client: httpx.Client) -> None:
    assert client.get("/search", params={"q": "x" * 20_000}).json()["title"] == "Query too long"


def test_the_description_of_the_api_has_its_answers_and_examples(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == set(PATHS)
    answers = described["paths"]["/search"]["get"]["responses"]
    assert answers["422"]["content"] == {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
    }
    assert "Problem" in described["components"]["schemas"]
    (query,) = [one for one in described["paths"]["/search"]["get"]["parameters"] if one["name"] == "q"]
    assert query["schema"]["examples"] == ["eat better during the holidays"]
