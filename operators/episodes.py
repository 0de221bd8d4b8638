"""Tasks of ``ingest_episodes``: is there something new, fetch it, prepare it, publish it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from upath import UPath

from operators.names import EPISODES
from operators.sources import SourceOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class CheckSourceOperator(SourceOperator):
    """Looks up the version of the source; skips the run when the last snapshot was made from it.

    Returns the version.
    """

    def execute(self, context: Context) -> str:
        from include.episodes import snapshot
        from include.episodes.schema import SCHEMA_VERSION

        source = self.source
        version = source.latest_version()
        latest = snapshot.latest(self.store)
        if latest and (latest.source_version, latest.schema_version) == (version, SCHEMA_VERSION):
            self.skip_run(
                f"Nothing new: {source.description} is still version {version}, which is snapshot {latest.snapshot_id}."
            )
        self.log.info("Version %s of %s is new.", version, source.description)
        return version


class FetchDatasetOperator(SourceOperator):
    """Fetches a version of the dataset, unless it is there.

    Returns the folder it is in.

    :param source_version: the version that was looked up (templated).
    """

    template_fields: Sequence[str] = ("source_version",)

    def __init__(self, *, source_version: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source_version = source_version

    def execute(self, context: Context) -> str:
        return str(self.source.fetch(self.source_version))


class PrepareSnapshotOperator(SourceOperator):
    """Cleans the dataset and writes it as a snapshot, which nobody reads until it is published.

    Returns the snapshot's id.

    :param folder: where the dataset is (templated).
    :param source_version: the version that was looked up, fetched and validated (templated).
    """

    template_fields: Sequence[str] = ("folder", "source_version")

    def __init__(self, *, folder: str, source_version: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder
        self.source_version = source_version

    def execute(self, context: Context) -> str:
        from include.episodes.ingest import make_snapshot

        settings = self.settings
        manifest = make_snapshot(
            self.store,
            UPath(self.folder),
            source_version=self.source_version,
            unchanged=lambda: self.source.fetch(self.source_version),
            work_root=settings.work_root,
            shards=settings.shards,
            processes=settings.processes,
            max_file_bytes=settings.max_file_bytes,
            max_text_chars=settings.max_text_chars,
        )
        self.log.info(
            "Snapshot %s: %d episodes of %d shows; quarantined: %s.",
            manifest.snapshot_id,
            manifest.episodes,
            manifest.shows,
            manifest.quarantined or "nothing",
        )
        return manifest.snapshot_id


class PublishSnapshotOperator(SourceOperator):
    """Makes a written and validated snapshot the latest, and announces it with what changed and what validation found.

    :param snapshot_id: the snapshot (templated).
    :param run_name: names the folder of the results of validation (templated).
    """

    template_fields: Sequence[str] = ("snapshot_id", "run_name")

    def __init__(self, *, snapshot_id: str, run_name: str, **kwargs: Any) -> None:
        super().__init__(outlets=[EPISODES], **kwargs)
        self.snapshot_id = snapshot_id
        self.run_name = run_name

    def execute(self, context: Context) -> dict[str, Any]:
        from include.episodes import snapshot
        from include.quality import result

        manifest, latest = snapshot.load(self.store, self.snapshot_id), snapshot.latest(self.store)
        # A source that is again what it once was has its snapshot from then, which knows nothing of those since.
        before = latest.snapshot_id if latest and latest != manifest else manifest.previous
        change = snapshot.difference(self.store, before, self.snapshot_id)
        snapshot.publish(self.store, self.snapshot_id)
        summary = {
            "snapshot_id": manifest.snapshot_id,
            "source_version": manifest.source_version,
            "episodes": manifest.episodes,
            "shows": manifest.shows,
            "quarantined": manifest.quarantined,
            "added": len(change.added),
            "changed": len(change.changed),
            "removed": len(change.removed),
            "quality": result.summary(self.store, self.run_name),
        }
        self.log.info("Published: %s", summary)
        self.announce(context, EPISODES, summary)
        self._remove_old_downloads(manifest.source_version)
        return summary

    def _remove_old_downloads(self, version: str) -> None:
        """Tidy up after publishing, which has succeeded whatever becomes of this."""
        try:
            self.source.published(version)
        except Exception as error:
            self.log.warning("Old downloads are still there: %s", error)
