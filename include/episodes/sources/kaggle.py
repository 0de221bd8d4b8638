"""A dataset of Kaggle, downloaded into the artifact store."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path

from include.episodes.sources.contract import Folder
from include.episodes.sources.download import CHUNK_BYTES, download, require_space
from include.episodes.sources.files import FILES, DamagedFileError, open_source
from include.episodes.sources.kaggle_api import Dataset, KaggleApi
from include.errors import PermanentError
from include.storage import MANIFEST, ArtifactStore

FOLDER = ("downloads", "kaggle")
"""Where downloads are in the store: ``downloads/kaggle/<owner>/<name>/<version>``."""
log = logging.getLogger(__name__)


class KaggleSource:
    """The files ``podcasts.csv`` and ``episodes.csv`` of a dataset of Kaggle, at its newest or at a given version.

    Kaggle hands out a large file as a zip under its plain name; downloads are kept as they came.

    :param dataset: ``owner/name``.
    :param pinned: the version to ingest, in place of the newest.
    :param connect: opens Kaggle with an account, when something is to be asked of it.
    :param work: folder on this machine for unfinished downloads, which a later try goes on with.
    :param max_file_bytes: most bytes that a file may hold, unpacked.
    """

    def __init__(
        self,
        dataset: str,
        *,
        connect: Callable[[], KaggleApi],
        store: ArtifactStore,
        work: Path,
        max_file_bytes: int,
        pinned: int | None = None,
    ) -> None:
        self.dataset = Dataset(*dataset.split("/"))
        self.pinned = pinned
        self._connect = connect
        self._store = store
        self._work = work.joinpath(*FOLDER, self.dataset.owner, self.dataset.name)
        self._max_file_bytes = max_file_bytes

    @property
    def description(self) -> str:
        return f"Kaggle's dataset {self.dataset}"

    @cached_property
    def _api(self) -> KaggleApi:
        return self._connect()

    def latest_version(self) -> str:
        """The pinned version, or the newest one after one request to Kaggle: ``<owner>.<name>.v<number>``."""
        return self._name(self.pinned or self._api.latest_version(self.dataset))

    def fetch(self, version: str) -> Folder:
        """Download a version into the artifact store, unless it is there; the folder in the store.

        :raises PermanentError: a person must act: credentials, names, disk space, a file that is not a dataset.
        :raises RetryLaterError: try again later; what has come already is kept on this machine.
        """
        number = self._number(version)
        place = self._place(number)
        if self._store.is_complete(*place):
            return self._store.path(*place)
        work = self._work / str(number)
        for other in self._work.glob("*"):
            if other != work:
                shutil.rmtree(other)  # unfinished, and never asked for again
        whole = work / "whole"
        for name in FILES:
            self._download(work / "partial", whole, name, number)
        sizes = {file.name: file.stat().st_size for file in sorted(whole.glob("*.csv"))}
        manifest = {"dataset": str(self.dataset), "version": number, "fetched_at": datetime.now(UTC), "bytes": sizes}
        ArtifactStore(whole).write_json(manifest, MANIFEST)
        folder = self._store.publish_directory(whole, *place)
        shutil.rmtree(work)
        log.info("Version %d of %s is in %s.", number, self.dataset, folder)
        return folder

    def published(self, version: str) -> None:
        """Remove all downloads of the dataset but this one and the newest of the others."""
        number = self._number(version)
        there = sorted(int(name) for name in self._store.names(*self._place()) if name.isdecimal())
        others = [other for other in there if other != number and self._store.is_complete(*self._place(other))]
        for old in set(there) - {number, *others[-1:]}:
            self._store.remove(*self._place(old))
            log.info("Removed the download of version %d of %s.", old, self.dataset)

    def _download(self, unchecked: Path, whole: Path, name: str, number: int) -> None:
        """Download one file and hold that it can be read to its end, with the checksums of its zip.

        A file that arrives damaged is downloaded once more.
        """
        file = f"{name}.csv"
        for last in (False, True):
            if (whole / file).exists():
                return
            download(
                partial(self._api.open_file, self.dataset, number, file),
                unchecked / file,
                backoff=self._api.backoff(),
                require_space=partial(self._require_space, file),
            )
            try:
                with open_source(unchecked, name, max_file_bytes=self._max_file_bytes) as stream:
                    while stream.read(CHUNK_BYTES):
                        pass
            except DamagedFileError as error:
                (unchecked / file).unlink()
                if last:
                    raise
                log.warning("%s Downloading it once more.", error)
                continue
            whole.mkdir(exist_ok=True)
            (unchecked / file).replace(whole / file)

    def _require_space(self, file: str, to_come: int, size: int) -> None:
        """Room for what is to come, and for its copy in the store if that is on a disk here."""
        needs = [(self._work, to_come)]
        if self._store.local_root:
            needs.append((self._store.local_root, size))
        require_space(needs, f"{file} of {self.dataset}")

    def _place(self, *number: int) -> tuple[str, ...]:
        return (*FOLDER, self.dataset.owner, self.dataset.name, *map(str, number))

    def _name(self, number: int) -> str:
        return f"{self.dataset.owner}.{self.dataset.name}.v{number}"

    def _number(self, version: str) -> int:
        found = re.fullmatch(r"(.+)\.v([0-9]+)", version)
        if not found or self._name(int(found[2])) != version:
            raise PermanentError(
                f"{version} is not a version of {self.description}: the settings were changed during the run; trigger "
                "ingest_episodes again."
            )
        return int(found[2])
