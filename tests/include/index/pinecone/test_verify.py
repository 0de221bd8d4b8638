from __future__ import annotations

import pytest

from include.index.contract import EpisodeIndex
from include.index.pinecone.credentials import Credentials
from include.index.pinecone.index import PineconeIndex
from tests.include.index.pinecone.conftest import QUICK
from tests.include.index.verification import VerificationContract


class TestPineconeVerification(VerificationContract):
    """On Pinecone, through the real client."""

    @pytest.fixture
    def index(self, credentials: Credentials) -> EpisodeIndex:
        return PineconeIndex("podsearch", credentials, patience=QUICK)
