"""Vectors of texts that were edited or withdrawn, in the caches of models that are still there."""

from __future__ import annotations

from datetime import datetime

import pyarrow.compute as pc

from include.housekeeping.needs import Needs
from include.housekeeping.summary import Summary
from include.retriever import encode
from include.storage import ArtifactStore

KIND = "embeddings of texts that are gone"


def compact(store: ArtifactStore, needs: Needs, summary: Summary, *, before: datetime) -> None:
    """Write old files of the caches anew without the vectors that nothing needs, if these are more than half.

    So a cache has at most twice the vectors that are needed, beside those of files that are not old. A file that is
    written anew is young again. If it is interrupted, some vectors are in two files, of which the next call removes the
    old one.

    :param before: files that were written since then stay as they are.
    :param summary: of what is removed; whether it is of a dry run is its to say. An item is a file.
    """
    for version in sorted(needs.versions):
        for file in encode.cached(store, version):
            if file.modified >= before:
                continue
            try:
                keys = encode.cached_texts(store, file)
            except FileNotFoundError:  # a task has just merged it with others
                continue
            gone = len(keys) - (pc.sum(pc.is_in(keys, value_set=needs.texts)).as_py() or 0)
            if 2 * gone <= len(keys):
                continue
            if not summary.dry_run:
                if Needs(store).snapshots != needs.snapshots:
                    return  # a run that began meanwhile may need other texts
                encode.keep_only(store, file, needs.texts)
            summary.add(KIND, file.bytes * gone // len(keys))
