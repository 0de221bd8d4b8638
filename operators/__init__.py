"""Airflow's side: operators that read settings and parameters, call include/, and publish asset events."""
