"""The DAGs, read as Airflow's DAG processor reads them."""

from __future__ import annotations

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from include.settings import PROJECT


@pytest.fixture(scope="session")
def dag_bag() -> DagBag:
    return DagBag(dag_folder=PROJECT / "dags", safe_mode=True)


@pytest.fixture(scope="session")
def ingest(dag_bag: DagBag) -> DAG:
    return dag_bag.dags["ingest_episodes"]


@pytest.fixture(scope="session")
def train(dag_bag: DagBag) -> DAG:
    return dag_bag.dags["train_retriever"]


@pytest.fixture(scope="session")
def reindex(dag_bag: DagBag) -> DAG:
    return dag_bag.dags["reindex_episodes"]
