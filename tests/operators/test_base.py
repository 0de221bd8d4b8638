from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.serde import serialize

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
    assert str(operator.store.root) == installation.settings.artifacts_root


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
