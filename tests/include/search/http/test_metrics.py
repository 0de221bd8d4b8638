"""What Prometheus reads: requests as they were answered, and what desk and service count."""

from __future__ import annotations

from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from include.feedback.recorder import Recorder
from include.index.live import require_live
from include.storage import ArtifactStore
from tests.include.search.http.server import open_service, served

TOKEN = "0123456789abcdef0123"


def read(address: str, **options: object) -> dict[tuple[str, ...], float]:
    """Each figure by its name and the values of its labels, by name."""
    answer = httpx.get(address + "/metrics", timeout=30, **options)  # type: ignore[arg-type]
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_it_counts_what_was_asked_and_names_no_address_that_is_not_there(home: Path) -> None:
    with served(open_service(home)) as address:
        for path in ("/search?q=rocket", "/search?q=rocket", "/search", "/episodes/e0030", "/nowhere", "/secret/word"):
            httpx.get(address + path, timeout=30)
        found = read(address)
    requests = {key[1:]: value for key, value in found.items() if key[0] == "podsearch_requests_total"}
    assert requests == {
        ("/search", "200"): 2,
        ("/search", "422"): 1,
        ("/episodes/{episode_id}", "200"): 1,
        ("other", "404"): 2,
    }
    assert found["podsearch_request_seconds_count", "/search"] == 3
    assert found["podsearch_request_seconds_bucket", "+Inf", "/search"] == 3
    assert found["podsearch_request_seconds_sum", "/search"] > 0
    assert (found["podsearch_searches_at_work",], found["podsearch_searches_waiting",]) == (0, 0)
    assert found["podsearch_searches_turned_away_total", "busy"] == 0
    assert found["podsearch_query_vectors_remembered_total",] == 1
    assert found["podsearch_encoded_together_count",] == found["podsearch_encoded_together_sum",] == 1
    assert found["podsearch_encoded_together_bucket", "1.0"] == 1
    live = require_live(ArtifactStore(home / "artifacts"))
    assert found["podsearch_live_info", live.model_version, live.snapshot_id] == 1
    assert found["podsearch_live_episodes",] == 15
    assert found["podsearch_live_snapshot_age_seconds",] > 0
    assert found["podsearch_live_changes_total",] == 0


def test_before_anything_is_live_it_tells_of_requests_alone(tmp_path: Path) -> None:
    with served(open_service(tmp_path)) as address:
        assert httpx.get(address + "/readyz", timeout=30).status_code == 503
        found = read(address)
    assert found["podsearch_requests_total", "/readyz", "503"] == 1
    assert not any(key[0].startswith("podsearch_live") for key in found)


def test_it_counts_what_could_not_be_recorded(home: Path, tmp_path: Path) -> None:
    recorder = Recorder(ArtifactStore(tmp_path), 30, most=2)
    with served(open_service(home), recorder=recorder) as address:
        for word in ("rocket", "moon", "soil"):
            httpx.get(f"{address}/?q={word}", timeout=30)
        assert read(address)["podsearch_records_lost_total",] == 1


def test_it_is_for_whoever_has_the_token(home: Path) -> None:
    with served(open_service(home), token=TOKEN) as address:
        assert httpx.get(address + "/metrics", timeout=30).status_code == 401
        assert (
            read(address, headers={"Authorization": f"Bearer {TOKEN}"})["podsearch_requests_total", "other", "401"] == 1
        )
