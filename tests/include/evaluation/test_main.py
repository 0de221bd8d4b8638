from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from include.evaluation.__main__ import main
from include.settings import get_settings
from include.storage import ArtifactStore
from tests.include.evaluation.test_compare_models import evaluate, register

Compare = Callable[..., tuple[int, str, str]]
MakeResults = Callable[..., pa.Table]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    store = ArtifactStore(tmp_path / "artifacts")
    register(store, "tiny-1", recipe={"epochs": 1, "seed": 7})
    register(store, "tiny-2", recipe={"epochs": 2, "seed": 7}, data={"languages": {"[b]\x1b[2JEnglish": 3}})
    return store


@pytest.fixture
def compare(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Compare]:
    """Run the command: exit status, output, errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["compare", *arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    for name in [name for name in os.environ if name.startswith("PODSEARCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PODSEARCH_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    get_settings.cache_clear()
    yield run
    get_settings.cache_clear()


def cells(printed: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in printed.splitlines()]


def test_what_differs_is_printed(compare: Compare) -> None:
    status, out, _ = compare("tiny-1", "tiny-2")
    assert status == 0
    assert ["epochs", "1", "2"] in cells(out)
    assert ["", "tiny-1", "tiny-2"] in cells(out)
    assert "seed" not in out
    assert "never measured on the same queries" in out


def test_what_is_the_same_is_printed_if_asked_for(compare: Compare) -> None:
    assert ["seed", "7", "7"] in cells(compare("tiny-1", "tiny-2", "--all")[1])
    _, out, _ = compare("newest", "tiny-2")
    assert "Recipe: the same." in out
    assert "They are the same version." in out


def test_a_difference_of_metrics_that_is_sure_is_marked(
    compare: Compare, store: ArtifactStore, make_results: MakeResults
) -> None:
    evaluate(
        store,
        "e",
        {"tiny-1": {"test": make_results([40] * 9 + [1])}, "tiny-2": {"test": make_results([2] * 9 + [1])}},
    )
    _, out, _ = compare("tiny-1", "tiny-2")
    assert "Test queries: 10, of 200 episodes" in out
    rows = {row[0]: row[1:] for row in cells(out)}
    assert rows["recall@30"][:2] == ["0.100", "1.000"]
    assert rows["recall@30"][2].startswith("+0.900 (+0.")
    assert rows["recall@30"][2].endswith(" *")
    assert not rows["recall@1"][2].endswith("*")


def test_how_much_was_judged_stands_beside_the_figures(
    compare: Compare, store: ArtifactStore, make_results: MakeResults
) -> None:
    tables = {name: make_results([1, 2], name=name) for name in ("test", "curated")}
    evaluate(store, "e", {"tiny-1": tables, "tiny-2": tables}, judged={"tiny-2": 0.25})
    _, out, _ = compare("tiny-1", "tiny-2")
    assert [row for row in cells(out) if "judged" in row[0]] == [["first ten that were judged", "–", "25.0 %", ""]]


def test_names_of_feeds_do_not_control_the_terminal(compare: Compare) -> None:
    _, out, _ = compare("tiny-1", "tiny-2")
    assert "[b]" in out
    assert "\x1b[2J" not in out


def test_an_unknown_version_is_answered_in_one_line(compare: Compare) -> None:
    status, out, errors = compare("tiny-1", "tiny-9")
    assert (status, out) == (1, "")
    assert errors.startswith("There is no model 'tiny-9'. Registered models: tiny-2, tiny-1")
    assert len(errors.splitlines()) == 1


def test_wrong_settings_are_named(compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODSEARCH_SHARDS", "many")
    get_settings.cache_clear()
    status, _, errors = compare("tiny-1", "tiny-2")
    assert (status, errors.split(":")[0]) == (1, "PODSEARCH_SHARDS")
