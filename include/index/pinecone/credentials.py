"""Pinecone's credentials and address."""

from __future__ import annotations

from dataclasses import dataclass, field

from include.errors import PermanentError

CONTROL_PLANE = "https://api.pinecone.io"
KEYS_PAGE = "https://app.pinecone.io"


@dataclass(frozen=True)
class Credentials:
    """A project of Pinecone's.

    :param api_key: never shown, not even in part.
    :param host: of the control plane; ``http://`` is for private networks only, and then applies to indexes, too.
    :param cloud: where new indexes are created; ``region`` likewise.
    :raises PermanentError: there is no key.
    """

    api_key: str = field(repr=False)
    host: str = CONTROL_PLANE
    cloud: str = "aws"
    region: str = "us-east-1"

    def __post_init__(self) -> None:
        if not self.api_key.strip():
            raise PermanentError(
                f"Pinecone needs an API key: create one at {KEYS_PAGE}, and put it into PODSEARCH_PINECONE_API_KEY, or "
                "into the password of the Airflow connection (type Pinecone)."
            )
