from __future__ import annotations

import pytest

from include.index.pinecone.credentials import Credentials
from include.index.pinecone.index import PineconeIndex
from include.storage import ArtifactStore
from tests.include.index.model_change import assert_search_never_fails
from tests.include.index.pinecone.conftest import QUICK


def test_search_goes_on_while_models_change(
    store: ArtifactStore, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_search_never_fails(store, lambda: PineconeIndex("podsearch", credentials, patience=QUICK), monkeypatch)
