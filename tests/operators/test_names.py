from __future__ import annotations

from operators.names import EPISODES, LIVE_INDEX, RETRIEVER


def test_assets_can_be_told_apart() -> None:
    assert len({asset.name for asset in (EPISODES, RETRIEVER, LIVE_INDEX)}) == 3
