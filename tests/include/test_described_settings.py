"""What is written about settings, and what holds for each of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from deploy.configuration import FILES, docstrings
from include.settings import GROUPS, PROJECT, Settings, get_settings
from include.settings.base import variables
from tests.include.conftest import error_of

pytestmark = pytest.mark.usefixtures("dotenv")


def fields() -> dict[str, FieldInfo]:
    return {name: info for group in GROUPS.values() for name, info in variables(group).items()}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_people_read_is_made_of_the_descriptions(file: Path) -> None:
    assert file.read_text(encoding="utf-8") == FILES[file](), "run python -m deploy.configuration"


def test_the_example_file_shows_every_setting_with_its_default(dotenv: Path) -> None:
    """What a user copies to .env and uncomments must change nothing by itself."""
    shown = dict(
        line.removeprefix("# ").split("=", 1)
        for line in (PROJECT / ".env.example").read_text().splitlines()
        if line.removeprefix("# ").startswith("PODSEARCH_")
    )
    assert set(shown) == set(fields())
    defaults = get_settings()
    dotenv.write_text("\n".join(f"{name}={value}" for name, value in shown.items() if "<" not in value))
    assert Settings() == defaults


def test_a_variable_sets_one_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    """pydantic also reads a field of another name by its own: PODSEARCH_PORT set the port of search, too."""
    monkeypatch.setenv("PODSEARCH_PORT", "8123")
    assert (get_settings().airflow.port, get_settings().search.port) == (8123, 8090)
    own = [
        f"{group.model_config['env_prefix']}{name.upper()}" for group in GROUPS.values() for name in group.model_fields
    ]
    assert len(set(own)) == len(own)
    others = set(own) - set(fields())
    assert not others & set(fields())


def test_every_setting_is_described() -> None:
    for group in GROUPS.values():
        assert docstrings(group).keys() == group.model_fields.keys()


def test_there_are_no_more_settings_than_a_person_can_look_through() -> None:
    assert len(fields()) <= 55


def numbers() -> dict[str, FieldInfo]:
    return {name: info for name, info in fields().items() if info.annotation in (int, float, int | None, float | None)}


def test_every_number_has_finite_bounds() -> None:
    """Infinity as a deadline took the DAGs away, and as a reminder it silenced alerts."""

    def bounds(text: str) -> bool:
        return any(f"{sign}=" in text for sign in ("Ge(ge", "Gt(gt")) and any(
            f"{sign}=" in text for sign in ("Le(le", "Lt(lt")
        )

    assert len(numbers()) > 15
    assert [name for name, info in numbers().items() if not bounds(repr(info.metadata) + repr(info))] == []


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e308", "9" * 5_000])
def test_no_number_is_without_end(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    message = error_of(monkeypatch, **dict.fromkeys(numbers(), value))
    assert sorted(line.split(":")[0] for line in message.splitlines()) == sorted(numbers())
