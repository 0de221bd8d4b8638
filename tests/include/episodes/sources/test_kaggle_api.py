from __future__ import annotations

import os
import subprocess
import sys

from include.settings import PROJECT
from tests.standins.kaggle import KaggleStandIn

LOOK_UP = """
import sys
from include.episodes.sources.kaggle_api import Credentials, Dataset, KaggleApi
print(KaggleApi(Credentials(sys.argv[1])).latest_version(Dataset("listennotes", "episodes")))
print("kaggle" in sys.modules)
"""


def test_the_layer_that_logs_in_when_imported_is_not_loaded(kaggle: KaggleStandIn) -> None:
    """It would ask Kaggle who owns a token that happens to be in the environment, before anything was asked of it."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK_UP, kaggle.token],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "KAGGLE_API_TOKEN": "of somebody else"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["1", "False"], done.stderr
    assert kaggle.requests == ["GetDataset"]
