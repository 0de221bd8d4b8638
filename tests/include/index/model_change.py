"""Searching without pause while one model after another is indexed, goes live and is retired."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from include.index.contract import EpisodeIndex, Vectors
from include.index.plan import namespace_of, plan_reindex
from include.index.retire import retire
from include.search import service as service_module
from include.search.service import Result, SearchService
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import episode, publish
from tests.include.index.workshop import embedding, register, reindex

KEPT = [episode(number) for number in range(30)]
"""Episodes that stay as they are: each is asked for by its own text, and must be the best answer."""
FIRST = [*KEPT, *(episode(number) for number in range(30, 40))]
SECOND = [*KEPT, *(episode(number, title="Edited") for number in range(33, 45))]
MODELS = ["m1", "m2", "m3", "m4"]
K = 5


@dataclass
class KnowingEncoder:
    """Gives a query, which begins with a content hash, the vector that a model gave it; and knows which model."""

    version: str
    used: threading.local
    tokens: int = 0

    def encode(self, texts: Sequence[str], *, batch_size: int = 0, kind: str = "document") -> Vectors:
        self.used.version = self.version
        return np.stack([embedding(text.split()[0], self.version) for text in texts])


@dataclass
class Searcher:
    """A thread that asks and asks; ``ask`` gives the answers to some queries."""

    ask: Callable[[list[str]], list[list[Result]]]
    used: threading.local
    answered: Counter[str] = field(default_factory=Counter)
    """How many answers, by the model of their episodes."""
    wrong: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        draw = random.Random(7)
        while not self.stopped.wait(0.005):
            rows = draw.sample(KEPT, 2)
            try:
                answers = self.ask([f"{row['content_hash']} {row['title']}" for row in rows])
            except Exception as error:
                self.wrong.append(repr(error))
                continue
            for row, hits in zip(rows, answers, strict=True):
                if not (hits and hits[0].dense and hits[0].lexical):
                    self.wrong.append(f"{row['episode_id']} is not found by both sides")
                models = {hit.metadata.model_version for hit in hits}
                first = hits[0].episode_id if hits else None
                if (len(hits), first, models) != (K, row["episode_id"], {self.used.version}):
                    self.wrong.append(f"{row['episode_id']} by {self.used.version}: {len(hits)}, {first} of {models}")
                self.answered.update(models)

    def wait_for(self, version: str) -> None:
        """Until it has had answers of a model."""
        end = time.monotonic() + 60
        while not self.answered[version] and time.monotonic() < end:
            time.sleep(0.005)
        assert self.answered[version], f"no answer of {version}, but {self.wrong or self.answered}"


def assert_search_never_fails(
    store: ArtifactStore, opened: Callable[[], EpisodeIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Search as a service that stays open, and as the terminal does, which opens one for each query."""
    index = opened()

    def encoder(used: threading.local) -> Callable[..., KnowingEncoder]:
        return lambda store, version, device: KnowingEncoder(version, used)

    used = threading.local()
    monkeypatch.setattr(service_module, "open_encoder", encoder(used))
    register(store, MODELS[0], age=len(MODELS))
    publish(store, FIRST, shards=2)
    reindex(store, index, MODELS[0])
    served, terminal = opened(), opened()
    open_long = SearchService(store, lambda live: served, weight=0.6)
    searchers = [
        Searcher(lambda queries: open_long.search_many(queries, K), used),
        Searcher(lambda queries: SearchService(store, lambda live: terminal, weight=0.6).search_many(queries, K), used),
    ]
    threads = [threading.Thread(target=searcher.run) for searcher in searchers]
    for thread in threads:
        thread.start()
    try:
        for number, version in enumerate(MODELS):
            register(store, version, age=len(MODELS) - number)
            reindex(store, index, version)
            retire(store, index, keep=1)
            for searcher in searchers:
                searcher.wait_for(version)
            publish(store, SECOND if number % 2 == 0 else FIRST, shards=2)
            assert reindex(store, index, version).action == "difference"
    finally:
        for searcher in searchers:
            searcher.stopped.set()
        for thread in threads:
            thread.join(20)
    assert [searcher.wrong for searcher in searchers] == [[], []]
    assert index.namespaces() == [namespace_of(model) for model in MODELS[-2:]], (
        "others were dropped while search went on"
    )
    assert plan_reindex(store, model_version=MODELS[0], live=None).action == "full"
