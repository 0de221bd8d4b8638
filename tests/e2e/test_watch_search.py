"""watch_search on a real Airflow: a re-index that is paused; search that loses episodes, or cannot answer at all."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from deploy.local.api import AirflowApi
from include.alerts.book import FaultBook
from include.episodes import snapshot
from include.index.contract import Records
from include.index.lancedb import LanceIndex
from include.index.live import require_live
from include.storage import ArtifactStore
from tests.e2e.conftest import Installation, run_to_end, start_anew
from tests.e2e.test_alerts import wait_for, wait_for_callback
from tests.include.episodes.catalogue import publish
from tests.include.index.workshop import write_live
from tests.include.search.catalogue import make_live
from tests.standins.webhook import WebhookStandIn

pytestmark = pytest.mark.airflow


@pytest.fixture(scope="module")
def airflow(telling: Installation, webhook: WebhookStandIn) -> Installation:
    """Airflow with fifteen live episodes, and a re-index that somebody has paused."""
    start_anew(telling)
    make_live(telling.home)
    webhook.calls.clear()
    return telling


def watch(airflow: Installation) -> dict[str, str | None]:
    """Run watch_search to its end; the state of each task."""
    api = AirflowApi(airflow.settings)
    api.wait_until_up(lambda: None)
    run = run_to_end(api, airflow, "watch_search")
    return {task.task_id: task.state for task in api.tasks(run)}


def open_faults(airflow: Installation) -> set[str]:
    return {
        fault.alert.kind.value for fault in FaultBook(ArtifactStore(airflow.settings.installation.artifacts_root)).all()
    }


def test_search_is_watched(airflow: Installation, webhook: WebhookStandIn) -> None:
    store = ArtifactStore(airflow.settings.installation.artifacts_root)
    index, live = LanceIndex(airflow.settings.index_root), require_live(store)
    assert set(watch(airflow).values()) == {"success"}
    assert (open_faults(airflow), webhook.calls) == (set(), []), "quiet while all is well"

    rows = snapshot.read(store, live.snapshot_id).to_pylist()
    latest = publish(store, rows, source="v2").snapshot_id
    assert set(watch(airflow).values()) == {"success"}
    [told] = webhook.calls
    assert told.body["type"] == "warning"
    assert f"Search answers from the snapshot {live.snapshot_id}; {latest} was published at" in told.body["message"]
    assert "reindex_episodes is paused" in told.body["message"]

    ids = list(index.list_ids(live.namespace))
    stored = index.fetch(live.namespace, ids)
    index.delete(live.namespace, ids[:-1])
    assert set(watch(airflow).values()) == {"success"}
    told = webhook.calls[-1]
    assert (len(webhook.calls), told.body["type"]) == (2, "failure")
    assert "of 10 episodes that it is known to find" in told.body["title"]
    assert open_faults(airflow) == {"lag", "search"}

    vectors = np.stack([stored[key].values for key in ids])
    index.upsert(live.namespace, [Records(ids, vectors, [stored[key].metadata for key in ids])])
    write_live(store, live.model_copy(update={"snapshot_id": latest, "activated_at": datetime.now(UTC)}))
    assert set(watch(airflow).values()) == {"success"}
    assert open_faults(airflow) == set()
    assert [call.body["type"] for call in webhook.calls[2:]] == ["success", "success"]


def test_search_that_cannot_answer_fails_a_task_and_no_other(airflow: Installation, webhook: WebhookStandIn) -> None:
    store = ArtifactStore(airflow.settings.installation.artifacts_root)
    webhook.calls.clear()
    live = require_live(store)
    write_live(store, live.model_copy(update={"namespace": "gone"}))
    states = watch(airflow)
    assert states.pop("check_search") == "failed"
    assert set(states.values()) == {"success"}
    [told] = wait_for(lambda: webhook.calls, lambda calls: len(calls) == 1)
    assert (told.body["type"], "gone" in told.body["title"]) == ("failure", True)
    write_live(store, live)
    assert set(watch(airflow).values()) == {"success"}
    wait_for_callback(airflow, "watch_search", lambda: open_faults(airflow), lambda found: not found)
    assert [call.body["type"] for call in webhook.calls] == ["failure", "success"]
