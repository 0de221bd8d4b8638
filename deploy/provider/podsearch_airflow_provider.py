"""What Airflow reads of an installed provider: connection types, and the forms to make such a connection with."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The metadata, as Airflow's ``provider_info.schema.json`` has it."""
    return {
        "package-name": "podsearch-airflow-provider",
        "name": "podsearch",
        "description": "Natural-language podcast search, kept fresh by Airflow",
        "connection-types": [
            {
                "connection-type": "kaggle",
                "hook-name": "Kaggle",
                "hook-class-name": "operators.kaggle.KaggleHook",
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "port", "schema", "extra"],
                    "relabeling": {"login": "User name", "password": "API token or key"},
                    "placeholders": {
                        "login": "only with a key: leave it empty with an API token",
                        "password": "an API token; or, with a user name, its key",
                    },
                },
            },
            {
                "connection-type": "pinecone",
                "hook-name": "Pinecone",
                "hook-class-name": "operators.pinecone.PineconeHook",
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "port", "schema"],
                    "relabeling": {"password": "API key", "host": "Control plane"},
                    "placeholders": {
                        "host": "https://api.pinecone.io",
                        "extra": '{"cloud": "aws", "region": "us-east-1"}',
                    },
                },
            },
        ],
    }
