from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.serde import serialize

from include.errors import PermanentError
from include.settings import get_settings
from operators.base import PodsearchOperator
from operators.names import EPISODES
from tests.operators.conftest import FakeContext, Installation


def test_an_operator_can_be_made_where_no_settings_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """DAGs are read by processes that need not have the settings of the workers."""
    monkeypatch.setenv("PODSEARCH_PROFILE", "no such profile")
    get_settings.cache_clear()
    operator = PodsearchOperator(task_id="task")
    with pytest.raises(ValueError, match="PODSEARCH_PROFILE"):
        _ = operator.settings
    get_settings.cache_clear()


def test_settings_and_store_are_those_of_the_process(installation: Installation) -> None:
    operator = PodsearchOperator(task_id="task")
    assert operator.settings is get_settings()
    assert str(operator.store.root) == installation.settings.installation.artifacts_root


def test_skipping_says_why_in_the_log(skips: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    class Idle(PodsearchOperator):
        def execute(self, context: Any) -> None:
            self.skip_run("Nothing to do today.")

    assert skips(Idle(task_id="idle"), FakeContext()) == "Nothing to do today."
    assert "Nothing to do today." in capsys.readouterr().out


def test_what_is_announced_is_attached_to_the_event_of_that_asset(context: FakeContext) -> None:
    PodsearchOperator(task_id="task", outlets=[EPISODES]).announce(context, EPISODES, {"rows": 3})  # type: ignore[arg-type]
    assert context.announced(EPISODES) == {"rows": 3}
    assert serialize(context.announced(EPISODES))


class Reader(PodsearchOperator):
    """Is told two things by other tasks."""

    template_fields = ("told", "asked")

    def __init__(self, *, told: Any, asked: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.told = told
        self.asked = asked


def render(told: Any, left: dict[str, Any], *, asked: str = "", params: dict[str, Any] | None = None) -> Reader:
    """A task whose fields Airflow has filled in, with what other tasks have left."""

    class Left:
        def xcom_pull(self, *, task_ids: str, key: str = "return_value", **_: Any) -> Any:
            return left.get(task_ids)

    task = Reader(task_id="reader", told=told, asked=asked)
    task.render_template_fields({"ti": Left(), "params": params or {}})  # type: ignore[typeddict-item]
    return task


FIRST = "{{ ti.xcom_pull(task_ids='first') }}"


@pytest.mark.parametrize(
    ("template", "left"),
    [(FIRST, {}), (FIRST, {"first": None}), (FIRST, {"first": ""}), ("training-" + FIRST, {"first": None})],
)
def test_what_another_task_did_not_leave_is_named_with_that_task(template: str, left: dict[str, Any]) -> None:
    with pytest.raises(PermanentError, match="The field told of reader is empty, because first left no value"):
        render(template, left)


def test_a_result_of_another_task_that_is_not_there_is_named_with_that_task() -> None:
    with DAG("dag"):
        first = EmptyOperator(task_id="first")
    with pytest.raises(PermanentError, match=r"The field told of reader .* Clear first, with the tasks after it"):
        render(first.output, {})


def test_what_other_tasks_left_is_filled_in_and_a_parameter_may_be_empty() -> None:
    task = render("a " + FIRST, {"first": 0}, asked="{{ params.asked or '' }}", params={"asked": None})
    assert (task.told, task.asked) == ("a 0", "")


def test_a_task_that_is_mapped_is_as_strict() -> None:
    with DAG("dag"):
        mapped = Reader.partial(task_id="mapped", told=FIRST).expand(asked=["x"])
    task = mapped.unmap({"asked": "x"})
    with pytest.raises(PermanentError, match="The field told of mapped is empty, because first left no value"):
        task._do_render_template_fields(
            parent=task,
            template_fields=task.template_fields,
            context={"ti": SimpleNamespace(xcom_pull=lambda **_: None)},  # type: ignore[typeddict-item]
            jinja_env=task.get_template_env(),
            seen_oids=set(),
        )
