"""Going back to an earlier snapshot of the catalogue, and forward again, because a person asks for it.

The version that was left is not ingested again by itself; otherwise the next night would bring it back. A newer version
of the source is.
"""

from __future__ import annotations

from include.episodes import snapshot
from include.errors import PermanentError
from include.storage import ArtifactStore

NAMED = 5
"""How many snapshots a message names."""


class GoingBackError(PermanentError):
    """It is not possible to go back to that snapshot; the latest snapshot is unchanged."""


def go_back(store: ArtifactStore, snapshot_id: str, *, seen: str) -> snapshot.Manifest:
    """Make an earlier snapshot the latest one again.

    :param seen: what :func:`include.episodes.snapshot.latest_entry` was when the run began.
    :raises GoingBackError: it was never published, or is not there any more.
    :raises OvertakenError: another snapshot was published since the run began.
    """
    require_published(store, snapshot_id)
    past = snapshot.publications(store)
    left, target = snapshot.load(store, past[-1].snapshot_id), snapshot.load(store, snapshot_id)
    refused = {*past[-1].refused, left.source_version} - {target.source_version}
    return snapshot.publish(store, snapshot_id, seen=seen, refused=sorted(refused))


def refused_versions(store: ArtifactStore) -> list[str]:
    """Versions of the source that a person went back from, and that are not ingested by themselves."""
    past = snapshot.publications(store)
    return past[-1].refused if past else []


def require_published(store: ArtifactStore, snapshot_id: str) -> None:
    """Do nothing if there is something to go back to.

    :raises GoingBackError: the snapshot was never published, or is not there any more.
    """
    past = snapshot.publications(store)
    published = list(dict.fromkeys(entry.snapshot_id for entry in reversed(past)))
    if snapshot_id not in published or not snapshot.exists(store, snapshot_id):
        there = [name for name in published if snapshot.exists(store, name)]
        raise GoingBackError(
            f"There is no published snapshot {snapshot_id!r} to go back to. "
            f"The last ones are: {', '.join(there[:NAMED]) or 'none'}."
        )
