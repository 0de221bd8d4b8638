"""Finding the checkpoint to go on from, among what a killed training left."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import is_zipfile


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint.

    One that was being written when the training was killed has no whole trainer state, which is written last, or, of
    several processes, not every one's random state.
    """
    whole = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json") if _is_whole(path)]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _is_whole(state: Path) -> bool:
    try:
        json.loads(state.read_bytes())
    except ValueError:
        return False
    random_states = list(state.parent.glob("rng_state*.pth"))
    # PyTorch's files are zip archives, whose directory stands at the end.
    return bool(random_states) and all(map(is_zipfile, random_states))
