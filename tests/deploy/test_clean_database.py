from __future__ import annotations

import yaml
from airflow.utils.db_cleanup import config_dict

from deploy.clean_database import TABLES, arguments
from include.settings import PROJECT


def test_all_is_cleaned_that_airflow_can_clean_but_the_dags() -> None:
    assert set(TABLES) == set(config_dict) - {"dag"}
    assert not [name for name in TABLES if "dag" in (config_dict[name].dependent_tables or [])], "none takes them along"
    assert arguments(3)[arguments(3).index("--tables") + 1].split(",") == list(TABLES)


def test_the_chart_cleans_the_same() -> None:
    values = yaml.safe_load((PROJECT / "deploy" / "helm" / "values.yaml").read_text(encoding="utf-8"))
    assert tuple(values["databaseCleanup"]["tables"]) == TABLES
