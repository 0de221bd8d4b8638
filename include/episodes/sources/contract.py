"""What ingestion asks of a source of episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from upath import UPath

Folder = Path | UPath
"""A folder on a disk, or in an object store."""


class Source(Protocol):
    """A dataset that has versions.

    Errors that a person must fix are :class:`include.errors.PermanentError`; any other may be gone at the next try.
    """

    @property
    def description(self) -> str:
        """What it is, for messages: ``the folder /data``, ``Kaggle's dataset owner/name``."""
        ...

    def latest_version(self) -> str:
        """Name of the version that is to be ingested: the same as long as the content is.

        It is also the name of a folder: letters, digits, dots, hyphens and underscores, 200 at most. Looking it up may
        poll a service; it downloads no dataset.
        """
        ...

    def fetch(self, version: str) -> Folder:
        """The folder with that version's ``podcasts.csv`` and ``episodes.csv``, plain or zipped, as a whole.

        May be called again, in another process too: what is there already is not fetched again.
        """
        ...

    def published(self, version: str) -> None:
        """Take note that a snapshot of that version was published: older downloads may go."""
        ...
