"""The product: plain Python that never imports Airflow, and runs and is tested without it."""
