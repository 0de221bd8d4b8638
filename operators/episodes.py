"""Tasks of ``ingest_episodes``: is there something new, prepare it, publish it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from operators.base import PodsearchOperator
from operators.names import EPISODES

if TYPE_CHECKING:
    from airflow.sdk import Context


class CheckSourceOperator(PodsearchOperator):
    """Looks up the version of the source; skips the run when the last snapshot was made from it.

    Returns the version.
    """

    def execute(self, context: Context) -> str:
        from include.episodes import snapshot
        from include.episodes.schema import SCHEMA_VERSION
        from include.episodes.source import source_version

        folder = self.settings.required_dataset_dir
        version = source_version(folder)
        latest = snapshot.latest(self.store)
        if latest and (latest.source_version, latest.schema_version) == (version, SCHEMA_VERSION):
            self.skip_run(f"Nothing new: {folder} is still version {version}, which is snapshot {latest.snapshot_id}.")
        self.log.info("Version %s of %s is new.", version, folder)
        return version


class PrepareSnapshotOperator(PodsearchOperator):
    """Cleans the source and writes it as a snapshot, which nobody reads until it is published.

    Returns the snapshot's id.

    :param source_version: the version that was looked up and validated (templated).
    """

    template_fields: Sequence[str] = ("source_version",)

    def __init__(self, *, source_version: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source_version = source_version

    def execute(self, context: Context) -> str:
        from include.episodes import snapshot
        from include.episodes.prepare import prepare
        from include.episodes.source import DatasetError, source_version

        settings, folder = self.settings, self.settings.required_dataset_dir
        prepared = prepare(folder, max_file_bytes=settings.max_file_bytes, max_text_chars=settings.max_text_chars)
        if source_version(folder) != self.source_version:
            raise DatasetError(
                f"{folder} is not what was checked any more: trigger ingest_episodes again to ingest the new version."
            )
        manifest = snapshot.write(
            self.store,
            prepared.episodes,
            source_version=self.source_version,
            shards=settings.shards,
            counts=prepared.counts,
            quarantined=prepared.quarantined,
            quarantine=prepared.quarantine,
        )
        self.log.info(
            "Snapshot %s: %d episodes of %d shows; quarantined: %s.",
            manifest.snapshot_id,
            manifest.episodes,
            manifest.shows,
            manifest.quarantined or "nothing",
        )
        return manifest.snapshot_id


class PublishSnapshotOperator(PodsearchOperator):
    """Makes a written and validated snapshot the latest, and announces it with what changed.

    :param snapshot_id: the snapshot (templated).
    """

    template_fields: Sequence[str] = ("snapshot_id",)

    def __init__(self, *, snapshot_id: str, **kwargs: Any) -> None:
        super().__init__(outlets=[EPISODES], **kwargs)
        self.snapshot_id = snapshot_id

    def execute(self, context: Context) -> dict[str, Any]:
        from include.episodes import snapshot

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
        }
        self.log.info("Published: %s", summary)
        self.announce(context, EPISODES, summary)
        return summary
