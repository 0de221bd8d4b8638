"""Tasks that check the data and stop a run before bad data is published.

The results of one run share a folder of the artifact store, ``quality/<run_name>``, with Data Docs under ``data_docs``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from operators.base import PodsearchOperator

if TYPE_CHECKING:
    import great_expectations as gx
    import pandas as pd
    from airflow.sdk import Context


class _ValidateOperator(PodsearchOperator):
    """What the checks have in common: run the suite, log its warnings, fail on a critical expectation."""

    def __init__(self, *, run_name: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run_name = run_name

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
        return {
            "suite": result.suite,
            "success": result.success,
            "critical": len(result.critical),
            "warnings": len(result.warnings),
            "docs": result.docs_path,
        }


class ValidateRawOperator(_ValidateOperator):
    """Validates a file of the dataset as it was delivered, against what the last snapshot was made from.

    Returns what :meth:`check` does.

    :param file: which one, by its name without ``.csv``.
    :param run_name: names the folder of the results (templated).
    """

    template_fields: Sequence[str] = ("run_name",)

    def __init__(self, *, file: Literal["podcasts", "episodes"], run_name: str, **kwargs: Any) -> None:
        super().__init__(run_name=run_name, **kwargs)
        self.file = file

    def execute(self, context: Context) -> dict[str, Any]:
        from include.episodes import snapshot
        from include.episodes.raw import read_raw
        from include.quality import frames, suites

        folder, limit = self.settings.required_dataset_dir, self.settings.max_file_bytes
        raw = read_raw(folder, self.file, max_file_bytes=limit)
        if self.file == "podcasts":
            frame, build = frames.raw_podcasts(raw.to_pandas()), suites.raw_podcasts
        else:
            podcasts = read_raw(folder, "podcasts", max_file_bytes=limit)
            frame, build = frames.raw_episodes(raw.to_pandas(), podcasts.to_pandas()), suites.raw_episodes
        previous = snapshot.latest(self.store)
        suite = build(
            malformed=len(raw.malformed),
            rows_read=raw.rows_read,
            previous_rows=previous.counts.get(f"{self.file}_read") if previous else None,
            max_quarantined_share=self.settings.max_quarantined_share,
            max_shrink=self.settings.max_shrink,
        )
        return self.check(frame, suite)


class ValidateEpisodesOperator(_ValidateOperator):
    """Validates a snapshot that was written and is not published yet, against the one that is.

    Returns what :meth:`check` does.

    :param snapshot_id: the snapshot (templated).
    :param run_name: names the folder of the results (templated).
    """

    template_fields: Sequence[str] = ("snapshot_id", "run_name")

    def __init__(self, *, snapshot_id: str, run_name: str, **kwargs: Any) -> None:
        super().__init__(run_name=run_name, **kwargs)
        self.snapshot_id = snapshot_id

    def execute(self, context: Context) -> dict[str, Any]:
        from include.episodes import snapshot
        from include.quality import frames, suites

        previous = snapshot.latest(self.store)
        quarantined = snapshot.read_quarantine(self.store, self.snapshot_id)["file"].to_pylist().count("episodes")
        suite = suites.episodes(
            quarantined=quarantined,
            rows_read=snapshot.load(self.store, self.snapshot_id).episodes + quarantined,
            previous_rows=previous.episodes if previous else None,
            max_quarantined_share=self.settings.max_quarantined_share,
            max_shrink=self.settings.max_shrink,
            max_text_chars=self.settings.max_text_chars,
        )
        return self.check(frames.prepared_episodes(snapshot.read(self.store, self.snapshot_id)), suite)
