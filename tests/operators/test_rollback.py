"""The tasks of ``rollback_index`` one by one; test_approval runs them on Airflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.index.lancedb import LanceIndex
from include.index.live import live_entry, require_live
from include.index.pinecone.credentials import Credentials
from include.index.pinecone.index import PineconeIndex
from include.index.plan import namespace_of
from include.index.rollback import RollbackError
from include.settings import get_settings
from include.storage import ArtifactStore
from operators.comparison import PlanComparisonOperator
from operators.names import LIVE_INDEX
from operators.reindex import PlanReindexOperator
from operators.rollback import ApproveRollbackOperator, PlanRollbackOperator, RollBackOperator
from tests.include.episodes.catalogue import episode, publish
from tests.include.index.workshop import register, reindex
from tests.operators.conftest import FakeContext, Installation, execute
from tests.standins.pinecone import PineconeStandIn

ANSWER = {"chosen_options": ["Approve"], "responded_by_user": {"id": "7", "name": "Ada"}}


@pytest.fixture
def store(installation: Installation) -> ArtifactStore:
    """m1 was live, m2 is."""
    store, index = installation.store, LanceIndex(installation.settings.index_root)
    publish(store, [episode(number) for number in range(9)])
    for age, version in ((2, "m1"), (1, "m2")):
        register(store, version, age=age)
        reindex(store, index, version)
    return store


def plan(context: FakeContext) -> dict[str, Any]:
    return execute(PlanRollbackOperator(task_id="plan_rollback"), context)


def test_the_pointer_is_flipped_and_announced_as_going_live_is(store: ArtifactStore, context: FakeContext) -> None:
    flip = RollBackOperator(task_id="roll_back", rollback=plan(context), answer=ANSWER)
    pointer = execute(flip, context)
    assert require_live(store).namespace == pointer["namespace"] == namespace_of("m1")
    assert context.announced(LIVE_INDEX) == pointer
    assert "previous" not in pointer


def test_a_retry_ends_in_the_same_and_announces_it(store: ArtifactStore, context: FakeContext) -> None:
    """Killed between the flip and its announcement, the asset's event would never come."""
    rollback = plan(context)
    first, second = (
        execute(RollBackOperator(task_id="roll_back", rollback=rollback, answer=ANSWER), one)
        for one in (FakeContext(), context)
    )
    assert first == second == context.announced(LIVE_INDEX)


def test_the_question_shows_what_was_planned(store: ArtifactStore, context: FakeContext) -> None:
    subject, body = ApproveRollbackOperator(task_id="approve_rollback", rollback=plan(context)).ask()
    assert subject == "Go back to m1?"
    assert "| model | m2 | m1 |" in body


def test_with_nothing_to_go_back_to_nobody_is_asked(installation: Installation, context: FakeContext) -> None:
    with pytest.raises(RollbackError):
        plan(context)


def test_the_index_is_that_of_the_pointer_and_not_of_the_settings(
    store: ArtifactStore, context: FakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By now the settings may name another backend, and another index of it."""
    with PineconeStandIn().serve() as pinecone:
        monkeypatch.setenv("PODSEARCH_PINECONE_API_KEY", pinecone.key)
        monkeypatch.setenv("PODSEARCH_PINECONE_HOST", pinecone.host)
        get_settings.cache_clear()
        index = PineconeIndex("before", Credentials(pinecone.key, host=pinecone.host))
        register(store, "m0", age=3)
        reindex(store, index, "m0")
        reindex(store, LanceIndex(get_settings().index_root), "m2")
        assert (get_settings().index.backend, get_settings().index.pinecone_index) == ("lancedb", "podsearch")
        rollback = plan(context)
        assert (rollback["target"]["index"], rollback["rows"]) == ("before", 9)
        execute(RollBackOperator(task_id="roll_back", rollback=rollback, answer=ANSWER), context)
    live = require_live(store)
    assert (live.backend, live.index, live.namespace) == ("pinecone", "before", rollback["target"]["namespace"])


def test_a_run_after_going_back_to_an_earlier_format_plans_nothing_and_says_why(
    installation: Installation,
    context: FakeContext,
    skips: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither without a candidate, nor after the gate has refused one; what was live before stays live."""
    store, index = installation.store, LanceIndex(installation.settings.index_root)
    publish(store, [episode(number) for number in range(9)])
    register(store, "m1")
    with monkeypatch.context() as earlier:
        earlier.setattr("include.index.plan._SUFFIX", "")
        reindex(store, index, "m1")
    reindex(store, index, "m1")
    execute(RollBackOperator(task_id="roll_back", rollback=plan(context), answer=ANSWER), context)
    live = require_live(store)
    publish(store, [episode(number) for number in range(12)])
    installation.register_base(tmp_path / "base")

    said = skips(PlanComparisonOperator(task_id="plan_comparison"), context)
    assert said.startswith(f"There is no new model. A person rolled back from {namespace_of('m1')} to m1")
    replanned = PlanReindexOperator(task_id="plan_reindex", model_version="m1", live=live_entry(live))
    assert "run rollback_index to undo the rollback" in skips(replanned, context)
    assert require_live(store) == live
