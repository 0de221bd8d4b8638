"""Tasks that check the data and stop a run before bad data is published.

The results of one run share a folder of the artifact store, ``quality/<run_name>``, with Data Docs under ``data_docs``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from upath import UPath

from operators.alerts import report_quality
from operators.base import PodsearchOperator
from operators.links import DataDocsLink, QuarantineLink

if TYPE_CHECKING:
    import great_expectations as gx
    import pandas as pd
    from airflow.sdk import BaseOperatorLink, Context

    from include.episodes.snapshot import Manifest


class ValidateOperator(PodsearchOperator):
    """What the checks have in common: run the suite, log its warnings, fail on a critical expectation.

    :param run_name: names the folder of the results (templated).
    """

    template_fields: Sequence[str] = ("run_name",)
    operator_extra_links: tuple[BaseOperatorLink, ...] = (DataDocsLink(),)
    suite: str
    """Name of the suite, and of its page in Data Docs."""

    def __init__(self, *, run_name: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run_name = run_name

    def accepts_drift(self, context: Context) -> bool:
        """Whether a person has said that the catalogue may be unlike those before; see the run's parameters."""
        return bool(context.get("params", {}).get("accept_drift"))

    def previous(self, context: Context) -> Manifest | None:
        """The snapshot that new data is held against: the published one, if there is one and drift is not accepted."""
        from include.episodes import snapshot

        return None if self.accepts_drift(context) else snapshot.latest(self.store)

    def check(self, frame: pd.DataFrame, suite: gx.ExpectationSuite) -> dict[str, Any]:
        """Validate, and return what other tasks need: ``suite, success, critical, warnings, docs``.

        ``docs`` is the page of Data Docs, relative to the artifact store's root.

        :raises QualityError: a critical expectation failed.
        """
        from include.quality.result import require
        from include.quality.run import validate

        result = validate(frame, suite, store=self.store, run_name=self.run_name)
        for item in result.warnings:
            self.log.warning("%s: observed %s; expected %s", item.what, item.observed, item.expected)
        self.log.info(
            "%s: %d of %d expectations met; Data Docs: %s",
            result.suite,
            result.statistics["met"],
            len(result.outcomes),
            self.store.path(result.docs_path),
        )
        require(result)
        report_quality(result)
        return {
            "suite": result.suite,
            "success": result.success,
            "critical": len(result.critical),
            "warnings": len(result.warnings),
            "docs": result.docs_path,
        }


class ValidateRawOperator(ValidateOperator):
    """Validates a file of the dataset as it was delivered, against what the last snapshot was made from.

    Returns what :meth:`check` does.

    :param folder: where the dataset is (templated).
    :param file: which file of it, by its name without ``.csv``.
    :param run_name: names the folder of the results (templated).
    """

    template_fields: Sequence[str] = ("folder", "run_name")

    def __init__(self, *, folder: str, file: Literal["podcasts", "episodes"], run_name: str, **kwargs: Any) -> None:
        super().__init__(run_name=run_name, **kwargs)
        self.folder = folder
        self.file = file
        self.suite = f"raw_{file}"

    def execute(self, context: Context) -> dict[str, Any]:
        from include.episodes.raw import RawFile
        from include.quality import frames, suites

        folder, limit = UPath(self.folder), self.settings.max_file_bytes
        raw = RawFile(folder, self.file, max_file_bytes=limit)
        if self.file == "podcasts":
            frame, build = frames.raw_podcasts(raw.reader()), suites.raw_podcasts
        else:
            podcasts = RawFile(folder, "podcasts", max_file_bytes=limit)
            frame, build = frames.raw_episodes(raw.reader(), podcasts.column("uuid")), suites.raw_episodes
        previous = self.previous(context)
        suite = build(
            malformed=raw.malformed,
            rows_read=raw.rows_read,
            previous_rows=previous.counts.get(f"{self.file}_read") if previous else None,
            max_quarantined_share=self.settings.max_quarantined_share,
            max_shrink=self.settings.max_shrink,
            max_growth=self.settings.max_growth,
        )
        return self.check(frame, suite)


class ValidateSnapshotOperator(ValidateOperator):
    """Validates a snapshot that was written and is not published yet.

    :param snapshot_id: the snapshot (templated).
    :param run_name: names the folder of the results (templated).
    """

    template_fields: Sequence[str] = ("snapshot_id", "run_name")
    operator_extra_links = (DataDocsLink(), QuarantineLink())

    def __init__(self, *, snapshot_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.snapshot_id = snapshot_id


class ValidateEpisodesOperator(ValidateSnapshotOperator):
    """Validates the episodes of a snapshot, and their number against the published one.

    Returns what :meth:`check` does. The parameters are those of :class:`ValidateSnapshotOperator`.
    """

    suite = "episodes"

    def execute(self, context: Context) -> dict[str, Any]:
        from include.episodes import snapshot
        from include.quality import frames, suites

        previous = self.previous(context)
        files = snapshot.read_quarantine(self.store, self.snapshot_id, columns=["file"])["file"].to_pylist()
        quarantined = files.count("episodes")
        suite = suites.episodes(
            quarantined=quarantined,
            rows_read=snapshot.load(self.store, self.snapshot_id).episodes + quarantined,
            previous_rows=previous.episodes if previous else None,
            max_quarantined_share=self.settings.max_quarantined_share,
            max_shrink=self.settings.max_shrink,
            max_growth=self.settings.max_growth,
            max_text_chars=self.settings.max_text_chars,
        )
        return self.check(frames.prepared_episodes(snapshot.reader(self.store, self.snapshot_id)), suite)


class ValidateDriftOperator(ValidateSnapshotOperator):
    """Holds the profile of a snapshot against those of the last published ones, and draws the trend.

    Returns what :meth:`check` does. The parameters are those of :class:`ValidateSnapshotOperator`.
    """

    suite = "drift"

    def execute(self, context: Context) -> dict[str, Any]:
        from include.quality import drift, profile, trend
        from include.quality.result import DOCS, FOLDER

        accepted = self.accepts_drift(context)
        new = profile.record(self.store, self.snapshot_id, starts_history=accepted)
        page = trend.render(
            profile.published(self.store, window=trend.WINDOW - 1, before=self.snapshot_id),
            candidate=new,
            home="index.html",
        )
        self.store.write_bytes(page.encode(), FOLDER, self.run_name, DOCS, trend.PAGE)
        window = self.settings.drift_window
        history = [] if accepted else profile.history(self.store, window=window, before=self.snapshot_id)
        if not history:
            self.log.info("Drift was accepted." if accepted else "No snapshot was published before.")
        limits = drift.Limits(**self.settings.model_dump(include=drift.LIMITS))
        frame = drift.frame(new, history, withdrawn=profile.withdrawn(self.store, self.snapshot_id))
        return self.check(frame, drift.suite(new, history, limits))
