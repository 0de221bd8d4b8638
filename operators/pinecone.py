"""Pinecone's side of Airflow: the connection of type ``pinecone``, and the index that tasks work on.

The form of the connection in Airflow's pages is defined in deploy/provider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from include.errors import PermanentError
from include.settings import get_settings

if TYPE_CHECKING:
    from include.index.contract import EpisodeIndex
    from include.index.live import LivePointer
    from include.index.pinecone.credentials import Credentials
    from include.settings import Settings


class PineconeHook(BaseHook):
    """Opens the index of the settings with the credentials of a connection.

    The connection is that of Airflow's own provider: its password is the API key, its host the control plane (default:
    Pinecone's), its extras ``cloud`` and ``region`` where a new index is made. What it leaves out, and everything where
    there is no such connection, comes from the settings.

    :param pinecone_conn_id: id of the connection.
    """

    conn_name_attr = "pinecone_conn_id"
    default_conn_name = "pinecone_default"
    conn_type = "pinecone"
    hook_name = "Pinecone"

    def __init__(self, pinecone_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.pinecone_conn_id = pinecone_conn_id

    def get_credentials(self) -> Credentials:
        """Who asks Pinecone, and where.

        :raises PermanentError: neither the connection nor the settings have an API key.
        """
        from include.index.pinecone.credentials import Credentials

        settings = get_settings()
        connection = self._connection()
        key = (
            (connection.password if connection else "") or settings.index.pinecone_api_key.get_secret_value()
        ).strip()
        if not key:
            raise PermanentError(
                f"Neither the connection {self.pinecone_conn_id} nor PODSEARCH_PINECONE_API_KEY has a Pinecone "
                "API key: create one at https://app.pinecone.io, and put it into either; see .env.example."
            )
        mask_secret(key)
        extra = connection.extra_dejson if connection else {}
        return Credentials(
            key,
            host=(connection.host if connection else "") or settings.index.pinecone_host,
            cloud=extra.get("cloud") or Credentials.cloud,
            region=extra.get("region") or Credentials.region,
        )

    def get_conn(self) -> EpisodeIndex:
        """The index in the settings; no request is sent to Pinecone yet."""
        from include.index.pinecone.index import PineconeIndex

        return PineconeIndex(get_settings().index.pinecone_index, self.get_credentials())

    def test_connection(self) -> tuple[bool, str]:
        """Ask Pinecone once, for the namespaces of the index."""
        try:
            names = self.get_conn().namespaces()
        except Exception as error:
            return False, str(error)
        return True, f"{get_settings().index.pinecone_index} has {len(names)} namespaces."

    def _connection(self) -> Connection | None:
        try:
            return self.get_connection(self.pinecone_conn_id)
        except AirflowNotFoundException:
            return None


def open_index(settings: Settings, *, live: LivePointer | None = None) -> EpisodeIndex:
    """An index, with Airflow's credentials where it needs some. Call it inside a task.

    :param live: opens what it names, for what is live may still be in another than the settings name by now
        (default: what the settings name).
    """
    from include.index import opening

    pinecone = (live.backend if live else settings.index.backend) == "pinecone"
    credentials = PineconeHook().get_credentials() if pinecone else None
    return opening.open_index(settings, live=live, credentials=credentials)
