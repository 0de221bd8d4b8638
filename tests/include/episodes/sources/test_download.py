from __future__ import annotations

import pytest
import requests

from include.episodes.sources.download import _remote


@pytest.mark.parametrize(
    ("length", "size"), [("1024", 1024), ("", None), ("-1", None), ("many", None), ("9" * 5_000, None)]
)
def test_a_length_that_is_none_is_not_known(length: str, size: int | None) -> None:
    response = requests.Response()
    response.headers["Content-Length"] = length
    assert _remote(response).size == size
