"""Airflow and podsearch on one machine: what `make run`, `make up` and `make down` do."""
