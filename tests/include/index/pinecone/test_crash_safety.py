"""On Pinecone a run may end before a request, and when Pinecone has done it but nobody has read the answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.include.episodes.catalogue import Row
from tests.include.index.crashes import MAIN_STORIES, STORY, assert_no_trace_of_a_killed_run
from tests.include.index.pinecone.home import PineconeHome, make_small
from tests.include.index.workshop import reindex
from tests.standins.pinecone import PineconeStandIn


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


@pytest.mark.parametrize(STORY, MAIN_STORIES)
def test_a_run_killed_around_any_of_its_writes_leaves_no_trace(
    tmp_path: Path, standin: PineconeStandIn, action: str, then: list[Row] | None, rows: list[Row]
) -> None:
    home = PineconeHome(tmp_path, action, standin)
    moments = assert_no_trace_of_a_killed_run(home, then, rows)
    home.set_back()
    standin.requests.clear()
    reindex(home.store(), home.index())
    written = sum(standin.count(what) for what in ("create_index", "create_namespace", "upsert", "delete"))
    assert written >= 4, "in more than one request"
    assert moments > 2 * written, "the run was killed before and after each of these, and before what else it wrote"
