from __future__ import annotations

from datetime import UTC, datetime

import pytest

from deploy.local.api import AirflowApi, ApiError, DagRun
from deploy.local.environment import passwords_file
from include.settings import Settings
from tests.standins.airflow_api import DISCONNECT, AirflowStandIn, Moment, task

RUN = DagRun("reindex_episodes", "r1", "running", None)


def unbothered() -> None:
    """A check that finds nothing."""


@pytest.fixture
def api(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AirflowApi:
    monkeypatch.setattr("deploy.local.api.BACKOFF_SECONDS", 0.01)
    api = AirflowApi(settings)
    api.wait_until_up(unbothered)
    return api


def test_waits_until_every_part_is_healthy(
    settings: Settings, airflow_standin: AirflowStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow_standin.health["dag_processor"]["status"] = "unhealthy"
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 2:
            airflow_standin.health["dag_processor"]["status"] = "healthy"

    AirflowApi(settings).wait_until_up(check)
    assert len(asked) == 2

    monkeypatch.setattr("deploy.local.api.STARTUP_SECONDS", 0.1)
    airflow_standin.health["scheduler"]["status"] = "unhealthy"
    with pytest.raises(TimeoutError, match="did not become healthy"):
        AirflowApi(settings).wait_until_up(unbothered)


def test_waiting_ends_when_a_component_has_ended(settings: Settings) -> None:
    def check() -> None:
        raise RuntimeError("the scheduler ended")

    with pytest.raises(RuntimeError, match="the scheduler ended"):
        AirflowApi(settings).wait_until_up(check)


@pytest.mark.parametrize(
    "faults", [[500], [503, DISCONNECT, 500], [401], [401, 500]], ids=lambda faults: "-".join(map(str, faults))
)
def test_a_server_that_falters_for_a_moment_is_asked_again(
    api: AirflowApi, airflow_standin: AirflowStandIn, faults: list[int]
) -> None:
    airflow_standin.moments = [Moment(queued={"train_retriever"})]
    airflow_standin.faults = faults
    assert api.has_queued_assets("train_retriever")
    assert airflow_standin.faults == []


def test_a_token_that_ran_out_is_replaced(api: AirflowApi, airflow_standin: AirflowStandIn) -> None:
    airflow_standin.expire_token()
    assert api.trigger("ingest_episodes") == "manual__1"


@pytest.mark.parametrize("fault", [500, DISCONNECT])
def test_a_server_that_does_not_recover_is_named_with_the_call(
    api: AirflowApi, airflow_standin: AirflowStandIn, fault: int
) -> None:
    airflow_standin.faults = [fault] * 5
    with pytest.raises(ApiError, match="does not answer POST /api/v2/dags/ingest_episodes/dagRuns: "):
        api.trigger("ingest_episodes")


def test_a_refusal_is_final_and_says_why(api: AirflowApi, airflow_standin: AirflowStandIn) -> None:
    with pytest.raises(ApiError, match=r"refused PATCH .*no_such_dag: 404 .*no such DAG"):
        api.unpause("no_such_dag")
    assert airflow_standin.requests.count("PATCH /api/v2/dags/no_such_dag") == 1


def test_a_pool_is_made_once_and_then_left_as_somebody_sized_it(
    api: AirflowApi, airflow_standin: AirflowStandIn
) -> None:
    api.ensure_pool("gpu", 1, "Model work")
    assert airflow_standin.pools["gpu"]["slots"] == 1
    airflow_standin.pools["gpu"]["slots"] = 4
    api.ensure_pool("gpu", 1, "Model work")
    assert airflow_standin.pools["gpu"]["slots"] == 4


def test_dags_are_waited_for_until_all_are_read(api: AirflowApi, airflow_standin: AirflowStandIn) -> None:
    airflow_standin.dags = {"a": True}

    def check() -> None:
        airflow_standin.dags["b"] = True

    api.wait_for_dags(["a", "b"], check)
    api.unpause("b")
    assert airflow_standin.dags == {"a": True, "b": False}


def test_a_dag_that_cannot_be_imported_is_not_waited_for(api: AirflowApi, airflow_standin: AirflowStandIn) -> None:
    airflow_standin.import_errors = [{"filename": "ingest_episodes.py", "stack_trace": "SyntaxError: invalid"}]
    with pytest.raises(ApiError, match=r"ingest_episodes.py cannot be imported:\nSyntaxError: invalid"):
        api.wait_for_dags(["ingest_episodes"], unbothered)


def test_finished_runs_of_earlier_are_left_out_and_unfinished_ones_are_not(
    api: AirflowApi, airflow_standin: AirflowStandIn
) -> None:
    airflow_standin.queued_at = "2020-01-01T00:00:00Z"
    airflow_standin.moments = [Moment(runs={("a", "1"): "success", ("b", "2"): "running", ("c", "3"): "failed"})]
    assert [run.dag_id for run in api.runs(datetime(2021, 1, 1, tzinfo=UTC))] == ["b"]
    assert [run.dag_id for run in api.runs(datetime(2019, 1, 1, tzinfo=UTC))] == ["a", "b", "c"]


def test_all_tasks_of_a_run_over_many_shards_are_seen(api: AirflowApi, airflow_standin: AirflowStandIn) -> None:
    """Airflow answers a hundred at a time, whatever is asked for."""
    mapped = [task("encode_shard", "success", map_index=n, rendered_map_index=f"shard {n}") for n in range(230)]
    airflow_standin.moments = [Moment(tasks={("reindex_episodes", "r1"): [*mapped, task("activate", "failed")]})]
    tasks = api.tasks(RUN)
    assert len({one.key for one in tasks}) == 231
    assert tasks[-1].state == "failed"
    assert tasks[7].label == "encode_shard [shard 7]"
    assert tasks[-1].label == "activate"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_file_of_passwords_is_named(settings: Settings, content: str) -> None:
    passwords_file(settings).write_text(content)
    with pytest.raises(ApiError, match=rf"{passwords_file(settings)} is damaged: remove it"):
        AirflowApi(settings).login()
