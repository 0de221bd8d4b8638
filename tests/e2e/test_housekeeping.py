"""housekeeping on a real Airflow: what would be removed, then its removal; and search answers as before."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.local.api import AirflowApi
from deploy.local.environment import airflow_environment, airflow_home
from deploy.local.processes import Airflow
from include.index.live import require_live
from include.storage import ArtifactStore
from tests.e2e.conftest import Installation, run_to_end, start_anew
from tests.include.search.catalogue import make_live

pytestmark = pytest.mark.airflow


@pytest.fixture(scope="module")
def airflow(telling: Installation) -> Iterator[Installation]:
    """Airflow with fifteen live episodes, and a training that somebody gave up more than a year ago."""
    start_anew(telling)
    make_live(telling.home)
    installed = telling.settings.installation
    ArtifactStore(installed.artifacts_root).write_bytes(b"pairs", "training", "given-up", "pairs.parquet")
    (installed.work_root / "given-up").mkdir(parents=True)
    for root in (telling.home / "artifacts", installed.work_root):
        for path in root.rglob("*"):
            os.utime(path, (time.time() - 400 * 24 * 3600,) * 2)
    yield telling
    telling.take_down()


class Person(AirflowApi):
    """The API with what a person reads in Airflow's pages."""

    def housekeeping(self, airflow: Installation, *, dry_run: bool) -> dict[str, Any]:
        """Run it to its end; what each task has returned."""
        run = run_to_end(self, airflow, "housekeeping", {"dry_run": dry_run})
        assert run.state == "success"
        path = f"/api/v2/dags/housekeeping/dagRuns/{run.run_id}/taskInstances"
        names = ("prune_artifacts", "prune_machine")
        return {name: self._call("GET", f"{path}/{name}/xcomEntries/return_value")["value"] for name in names}


def test_what_would_be_removed_is_removed_and_search_goes_on(airflow: Installation) -> None:
    store, person = ArtifactStore(airflow.settings.installation.artifacts_root), Person(airflow.settings)
    person.wait_until_up(lambda: None)
    live = require_live(store)
    would = person.housekeeping(airflow, dry_run=True)
    assert would["prune_artifacts"]["kinds"]["trainings"] == {"items": 1, "bytes": 5}
    assert would["prune_machine"]["kinds"]["unfinished work"] == {"items": 1, "bytes": 0}
    assert store.exists("training", "given-up")

    removed = person.housekeeping(airflow, dry_run=False)
    assert removed["prune_artifacts"]["kinds"] == would["prune_artifacts"]["kinds"]
    assert store.names("training") == []
    assert not (airflow.settings.installation.work_root / "given-up").exists()
    assert require_live(store) == live

    person._call("PATCH", "/api/v2/dags/housekeeping", json={"is_paused": True})
    settings = airflow.settings
    Airflow(airflow_home(settings.installation.home), airflow_environment(settings)).clean_database(0)
    assert person._call("GET", "/api/v2/dags/housekeeping/dagRuns")["total_entries"] == 0, "as if both were old"
    assert person._call("GET", "/api/v2/dags/housekeeping")["is_paused"], "the DAG itself stays, as it was"
    code, output = airflow.call("include.search", "winter", "--mode", "lexical")
    assert code == 0, output
