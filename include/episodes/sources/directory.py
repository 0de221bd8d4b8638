"""A folder that somebody else fills."""

from __future__ import annotations

from include.episodes.sources.contract import Folder
from include.episodes.sources.files import DatasetError, fingerprint


class DirectorySource:
    """Episodes in a folder with ``podcasts.csv`` and ``episodes.csv``, plain or zipped; its version is its content."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    @property
    def description(self) -> str:
        return f"the folder {self.folder}"

    def latest_version(self) -> str:
        """Fingerprint of the files.

        :raises DatasetError: a file is missing.
        """
        return fingerprint(self.folder)

    def fetch(self, version: str) -> Folder:
        """The folder itself.

        :raises DatasetError: its files are not those of that version (any more).
        """
        if fingerprint(self.folder) != version:
            raise DatasetError(
                f"{self.folder} has changed since it was checked: trigger ingest_episodes again to ingest the new "
                "version."
            )
        return self.folder

    def published(self, version: str) -> None:
        """Nothing to do: the folder is not ours to tidy."""
