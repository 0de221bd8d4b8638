"""Tasks of ``ingest_episodes``: check for something new, fetch it, prepare it, publish it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import DownstreamTasksSkipped
from upath import UPath

from operators.lineage import Data, Lineage
from operators.measures import Gauge, gauge
from operators.names import EPISODES
from operators.sources import SourceOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.episodes.snapshot import Manifest

GO_BACK = "go_back"
"""The task that runs instead of those that ingest."""


class CheckSourceOperator(SourceOperator):
    """Looks up the version of the source; skips the run when the last snapshot was made from it.

    Returns the version; what is the latest snapshot is pushed under ``latest``, for the task that publishes.

    :param go_back_to: an earlier snapshot that this run is to go back to; then it ingests nothing (templated; a DAG
        parameter).
    """

    template_fields: Sequence[str] = ("go_back_to",)

    def __init__(self, *, go_back_to: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.go_back_to = go_back_to

    def execute(self, context: Context) -> str:
        from include.episodes import snapshot
        from include.episodes.going_back import refused_versions
        from include.episodes.schema import SCHEMA_VERSION

        context["ti"].xcom_push(key="latest", value=snapshot.latest_entry(self.store))
        if self.go_back_to:
            self.log.info("This run goes back to the snapshot %s and does not check for new episodes.", self.go_back_to)
            raise DownstreamTasksSkipped(tasks=sorted(self.downstream_task_ids - {GO_BACK}))
        source = self.source
        version = source.latest_version()
        latest = snapshot.latest(self.store)
        if latest and (latest.source_version, latest.schema_version) == (version, SCHEMA_VERSION):
            self.skip_run(
                f"Nothing new: {source.description} is still version {version}, which is snapshot {latest.snapshot_id}."
            )
        if latest and version in refused_versions(self.store):
            self.skip_run(
                f"{source.description} is version {version}, and a person went back from it to the snapshot "
                f"{latest.snapshot_id}, which stays until there is a newer version. To go forward again, trigger "
                "ingest_episodes with go_back_to set to the snapshot that was left."
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
            work_root=settings.installation.work_root,
            shards=settings.episodes.shards,
            threads=settings.devices.threads,
            max_file_bytes=settings.episodes.max_file_bytes,
        )
        self.log.info(
            "Snapshot %s: %d episodes of %d shows; quarantined: %s.",
            manifest.snapshot_id,
            manifest.episodes,
            manifest.shows,
            manifest.quarantined or "nothing",
        )
        self.lineage = Lineage(
            reads=(Data("dataset", self.source_version),),
            writes=(Data("snapshots", manifest.snapshot_id, manifest.episodes),),
        )
        return manifest.snapshot_id


class AnnounceSnapshotOperator(SourceOperator):
    """Makes a snapshot the latest, unless a newer run has published one, and announces it with what changed.

    :param latest: what was the latest when the run began (templated).
    :param run_name: names the folder of the results of validation (templated).
    """

    template_fields: Sequence[str] = ("snapshot_id", "latest", "run_name")

    def __init__(self, *, snapshot_id: str, latest: str, run_name: str, **kwargs: Any) -> None:
        super().__init__(outlets=[EPISODES], **kwargs)
        self.snapshot_id = snapshot_id
        self.latest = latest
        self.run_name = run_name

    @abstractmethod
    def publish(self) -> Manifest:
        """Make the snapshot the latest."""

    def execute(self, context: Context) -> dict[str, Any]:
        from include.episodes import quarantine, snapshot
        from include.episodes.difference import difference
        from include.quality import result

        manifest, latest = snapshot.load(self.store, self.snapshot_id), snapshot.latest(self.store)
        # A source that is back at an old version reuses its old snapshot, which does not know of those since.
        before = latest.snapshot_id if latest and latest != manifest else manifest.previous
        change = difference(self.store, before, self.snapshot_id)
        with self.unless_overtaken():
            self.publish()
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
        gauge(Gauge.EPISODES, manifest.episodes)
        for reason in quarantine.Reason:
            gauge(Gauge.QUARANTINED, manifest.quarantined.get(reason, 0), reason=reason)
        self.lineage = Lineage(
            reads=(Data("snapshots", self.snapshot_id),),
            writes=(Data("snapshots/latest.json", self.snapshot_id, manifest.episodes),),
        )
        self.log.info("Published: %s", summary)
        self.announce(context, EPISODES, summary)
        return summary


class PublishSnapshotOperator(AnnounceSnapshotOperator):
    """Makes a written and validated snapshot the latest, and announces it with what changed and what validation found.

    :param snapshot_id: the snapshot (templated).
    :param source_version: the version that was looked up, and that it must have been made from (templated).
    """

    template_fields: Sequence[str] = (*AnnounceSnapshotOperator.template_fields, "source_version")

    def __init__(self, *, source_version: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source_version = source_version

    def publish(self) -> Manifest:
        from include.episodes import snapshot

        return snapshot.publish(self.store, self.snapshot_id, source_version=self.source_version, seen=self.latest)

    def execute(self, context: Context) -> dict[str, Any]:
        summary = super().execute(context)
        self._remove_old_downloads(self.source_version)
        return summary

    def _remove_old_downloads(self, version: str) -> None:
        """Tidy up after publishing, which has succeeded whatever becomes of this."""
        try:
            self.source.published(version)
        except Exception as error:
            self.log.warning("Old downloads could not be removed: %s", error)


class GoBackOperator(AnnounceSnapshotOperator):
    """Makes an earlier snapshot the latest again, if this run was told to.

    :param snapshot_id: the snapshot; skipped if empty (templated; a DAG parameter).
    """

    def publish(self) -> Manifest:
        from include.episodes.going_back import go_back

        manifest = go_back(self.store, self.snapshot_id, seen=self.latest)
        self.log.warning(
            "Went back, as requested, to the snapshot %s of version %s: reindex_episodes follows, and asks before it "
            "deletes much. The snapshot that was left does not come back by itself.",
            manifest.snapshot_id,
            manifest.source_version,
        )
        return manifest

    def execute(self, context: Context) -> dict[str, Any]:
        from include.episodes.going_back import require_published

        if not self.snapshot_id:
            self.skip_run("This run was not asked to go back to an earlier snapshot.")
        require_published(self.store, self.snapshot_id)
        return super().execute(context)
