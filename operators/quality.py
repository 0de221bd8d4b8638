"""Tasks that check the data and stop a run before bad data is published.

The results of one run share a folder of the artifact store, ``quality/<run_name>``, with Data Docs under ``data_docs``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from upath import UPath

from operators.base import PodsearchOperator
from operators.links import DataDocsLink, QuarantineLink
from operators.reports import report_quality

if TYPE_CHECKING:
    import great_expectations as gx
    import pandas as pd
    from airflow.sdk import BaseOperatorLink, Context

    from include.episodes.snapshot import Manifest


class ValidateOperator(PodsearchOperator):
    """Common ground of the checks: run the suite, log its warnings, fail on a critical expectation.

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
    """Validates a file of the dataset as delivered, compared with what the last snapshot was made from.

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
        from include.quality import ingestion

        settings = self.settings
        frame, suite = ingestion.raw_file(
            UPath(self.folder),
            self.file,
            previous=self.previous(context),
            max_file_bytes=settings.episodes.max_file_bytes,
            max_quarantined_share=settings.quality.max_quarantined_share,
            max_shrink=settings.quality.max_shrink,
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
        from include.quality import ingestion

        settings = self.settings
        frame, suite = ingestion.episodes(
            self.store,
            self.snapshot_id,
            previous=self.previous(context),
            max_quarantined_share=settings.quality.max_quarantined_share,
            max_shrink=settings.quality.max_shrink,
        )
        return self.check(frame, suite)


class ValidateDriftOperator(ValidateSnapshotOperator):
    """Compares a snapshot's profile with those of the last published ones, and draws the trend.

    Returns what :meth:`check` does. The parameters are those of :class:`ValidateSnapshotOperator`.
    """

    suite = "drift"

    def execute(self, context: Context) -> dict[str, Any]:
        from include.quality import ingestion

        frame, suite = ingestion.profiles(
            self.store,
            self.snapshot_id,
            run_name=self.run_name,
            accepted=self.accepts_drift(context),
            max_shrink=self.settings.quality.max_shrink,
        )
        return self.check(frame, suite)
