"""Which index the settings, or what is live, name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.index.contract import EpisodeIndex
from include.index.live import LivePointer
from include.settings import Settings

if TYPE_CHECKING:
    from include.index.pinecone.credentials import Credentials


def open_index(
    settings: Settings, *, live: LivePointer | None = None, credentials: Credentials | None = None
) -> EpisodeIndex:
    """Open an index. Call it inside a task: backends have threads, which do not survive a fork.

    :param live: opens the index it names, because what is live may still be in another index than the settings now name
        (default: the index in the settings).
    :param credentials: for Pinecone (default: the settings').
    :raises PermanentError: Pinecone's key is needed but missing.
    """
    if (live.backend if live else settings.index.backend) == "pinecone":
        from include.index.pinecone.credentials import Credentials
        from include.index.pinecone.index import PineconeIndex

        credentials = credentials or Credentials(
            settings.index.pinecone_api_key.get_secret_value(),
            host=settings.index.pinecone_host,
        )
        return PineconeIndex(live.index if live else settings.index.pinecone_index, credentials)
    from include.index.lancedb import LanceIndex

    return LanceIndex(settings.index_root)
