"""What holds for every test: it touches neither the Airflow nor the podsearch of the person who runs it."""

from __future__ import annotations

import gc
import os
import tempfile
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Before Airflow is imported: it makes its folders then.
_home = tempfile.TemporaryDirectory(prefix="podsearch-tests-")
for _name in [name for name in os.environ if name.startswith(("AIRFLOW_", "PODSEARCH_"))]:
    if not _name.startswith("PODSEARCH_TEST_"):
        del os.environ[_name]
os.environ["AIRFLOW_HOME"] = _home.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

# Until all is imported: most that comes then stays, and looking for garbage among it is a third of the time.
gc.disable()

FIRST = (
    "e2e/test_production.py",
    "e2e/test_kaggle.py",
    "e2e/test_cluster.py",
    "e2e/test_pipeline.py",
    "e2e/test_airflow_pages.py",
    "e2e/test_overtaken.py",
    "e2e/test_watch_search.py",
    "e2e/test_alerts.py",
    "e2e/test_housekeeping.py",
    "operators/test_approval.py",
    "feedback/test_loop.py",
    "finetuning/test_distributed.py",
    "operators/test_bad_data.py",
)
"""The files that take a minute or more, in the order in which they are begun, by several processes or by one."""
TOGETHER = {
    **dict.fromkeys(
        (
            "e2e/test_production.py",
            "e2e/test_kaggle.py",
            "operators/test_kaggle.py",
            "sources/test_kaggle.py",
            "sources/test_kaggle_api.py",
        ),
        "Kaggle",
    ),
    **dict.fromkeys(("e2e/test_pipeline.py", "e2e/test_airflow_pages.py"), "undisturbed"),
    **dict.fromkeys(
        ("e2e/test_overtaken.py", "e2e/test_watch_search.py", "e2e/test_alerts.py", "e2e/test_housekeeping.py"),
        "telling",
    ),
}
"""Files that share something that is costly: the one port of Kaggle's stand-in, an installation."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(_name_of(item.path), len(order)))


def pytest_collection_finish() -> None:
    """What was imported stays: from now on nobody looks for garbage among it."""
    gc.freeze()
    gc.enable()


def _name_of(path: Path) -> str:
    """The name of a file with that of its folder."""
    return "/".join(path.parts[-2:])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    config.option.loadscopereorder = False
    return ByFile(config, log)


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Gives all tests of a file to one process, and to the same the files that share something."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return TOGETHER.get(_name_of(Path(file)), file)
