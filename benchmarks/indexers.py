"""What :mod:`benchmarks.reindex` compares: the article's loops and our steps, each measured in a process of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.pinecone_server import INDEX, Server

if TYPE_CHECKING:
    from include.index.pinecone.index import PineconeIndex
    from include.storage import ArtifactStore

MODEL = "all-MiniLM-L6-v2"
ARTICLE_BATCH = 64
ARTICLE_NAMESPACE = "article"
K = 30
WARM_UP = ["The first call starts threads and allocates, which is not to be timed."] * 8


@dataclass(frozen=True)
class Job:
    """What is measured.

    :param work: a folder; its ``artifacts`` have both snapshots, its ``results`` what the queries found.
    :param version: the model's, in the registry.
    :param snapshots: the first, and the one that differs from it.
    :param questions: queries, each with the id of its episode.
    """

    work: Path
    server: Server
    threads: int
    version: str
    snapshots: tuple[str, str]
    questions: list[tuple[str, str]]

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self) | {"work": str(self.work)}))

    @classmethod
    def read(cls, path: Path) -> Job:
        given = json.loads(path.read_text())
        given |= {"work": Path(given["work"]), "server": Server(**given["server"])}
        return cls(**given)

    @property
    def store(self) -> ArtifactStore:
        from include.storage import ArtifactStore

        return ArtifactStore(self.work / "artifacts")

    def index(self) -> PineconeIndex:
        from include.index.pinecone.index import PineconeIndex

        return PineconeIndex(INDEX, self.server.credentials)


class Clock:
    """Seconds of each step: by the clock, and of CPU time of this process and of the server."""

    def __init__(self, server: Server) -> None:
        self.steps: dict[str, dict[str, float]] = {}
        self._server = server

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        before = self._now()
        yield
        own = self.steps.setdefault(name, {"seconds": 0.0, "cpu": 0.0, "server_cpu": 0.0})
        for kind, (end, start) in zip(own, zip(self._now(), before, strict=True), strict=True):
            own[kind] += end - start

    def _now(self) -> tuple[float, float, float]:
        return time.perf_counter(), time.process_time(), self._server.cpu_seconds()


def article(job: Job) -> dict[str, Any]:
    """The article's loop: encode 64, write them as lists without metadata, wait, next."""
    ids, texts = _episodes(job)
    clock = Clock(job.server)
    with clock.step("open"):
        model = _article_model()
    index = job.server.article_index(_dimension(job))
    for start in range(0, len(texts), ARTICLE_BATCH):
        batch = slice(start, start + ARTICLE_BATCH)
        with clock.step("encode"):
            vectors = model.encode(texts[batch], show_progress_bar=False).tolist()
        with clock.step("upsert"):
            index.upsert(vectors=list(zip(ids[batch], vectors, strict=True)), namespace=ARTICLE_NAMESPACE)
    return {"steps": clock.steps, "written": len(texts)}


def article_queries(job: Job) -> dict[str, Any]:
    """The article's loop: encode a query, ask the index, next."""
    clock = Clock(job.server)
    with clock.step("open"):
        model = _article_model()
    index = job.server.article_index(_dimension(job))
    found = []
    for query, _ in job.questions:
        with clock.step("encode"):
            vector = model.encode([query], show_progress_bar=False).tolist()[0]
        with clock.step("search"):
            matches = index.query(vector=vector, top_k=K, namespace=ARTICLE_NAMESPACE).matches
            found.append([match.id for match in matches])
    return {"steps": clock.steps, "recall": _recall(job, found)}


def ready(job: Job) -> dict[str, Any]:
    """Make what is made once: the model converted, and the article's index."""
    from include.retriever.encoders.opening import open_encoder

    open_encoder(job.store, job.version, "cpu")
    job.index().create(ARTICLE_NAMESPACE, _dimension(job))
    return {}


def full(job: Job) -> dict[str, Any]:
    """Our full build, with the steps that the DAG's tasks are made of."""
    return _reindex(job, job.snapshots[0])


def difference(job: Job) -> dict[str, Any]:
    """The same once a little has changed."""
    return _reindex(job, job.snapshots[1])


def exact_queries(job: Job) -> dict[str, Any]:
    """Our evaluation's way: queries in batches, ranked exactly over the vectors that are cached already."""
    from include.evaluation.ranking import rank
    from include.retriever.encode import EmbeddingCache
    from include.retriever.encoders.opening import open_encoder

    clock = Clock(job.server)
    with clock.step("open"):
        model = open_encoder(job.store, job.version, "cpu")
        model.encode(WARM_UP)
    with clock.step("encode"):
        queries = model.encode([query for query, _ in job.questions], kind="query")
    with clock.step("search"):
        ids, hashes = _episodes(job, "content_hash", snapshot=1)
        catalogue = EmbeddingCache(job.store, job.version, "evaluation").vectors(hashes)
        found = rank(queries, catalogue, ids, k=K).ids
    return {"steps": clock.steps, "recall": _recall(job, found)}


def asked_queries(job: Job) -> dict[str, Any]:
    """The index asked as verification asks it: queries in batches, many questions at a time."""
    from include.retriever.encoders.opening import open_encoder

    clock = Clock(job.server)
    with clock.step("open"):
        model = open_encoder(job.store, job.version, "cpu")
        model.encode(WARM_UP)
    index = job.index()
    with clock.step("encode"):
        queries = model.encode([query for query, _ in job.questions], kind="query")
    with clock.step("search"):
        answers = index.search_vectors(job.version, queries, K)
        found = [[hit.episode_id for hit in hits] for hits in answers]
    return {"steps": clock.steps, "recall": _recall(job, found)}


CONTENDERS: dict[str, Callable[[Job], dict[str, Any]]] = {
    "article": article,
    "full": full,
    "difference": difference,
    "article-queries": article_queries,
    "exact-queries": exact_queries,
    "asked-queries": asked_queries,
    "ready": ready,
}
"""What runs in a process of its own, by name."""


def measure(name: str, path: Path) -> dict[str, Any]:
    """Run one of the contenders."""
    import torch

    job = Job.read(path)
    torch.set_num_threads(job.threads)
    return CONTENDERS[name](job)


def _reindex(job: Job, snapshot_id: str) -> dict[str, Any]:
    from include.episodes import snapshot
    from include.index import live, write
    from include.index.plan import plan_reindex
    from include.index.recall import MAX_QUERIES, index_recall
    from include.retriever.encoders.opening import open_encoder

    store, clock = job.store, Clock(job.server)
    snapshot.publish(store, snapshot_id)
    with clock.step("open"):
        model = open_encoder(store, job.version, "cpu")
        model.encode(WARM_UP)
    index = job.index()
    with clock.step("plan"):
        plan = plan_reindex(store, model_version=job.version, live=live.read_live(store))
    with clock.step("prepare"):
        write.prepare_namespace(store, index, plan, _dimension(job))
    with clock.step("encode"):
        encoded = 0
        for shard in plan.shards:
            texts = write.texts_to_encode(store, plan, shard)
            encoded += write.encode_shard(store, plan, shard, texts, model, batch_size=0)
    with clock.step("upsert"):
        written = sum(write.upsert_shard(store, index, plan, shard) for shard in plan.shards)
    with clock.step("delete"):
        deleted = write.delete_withdrawn(store, index, plan)
    with clock.step("finish"):
        write.finish_namespace(store, index, plan)
    with clock.step("verify"):
        write.verify(store, index, plan)
    with clock.step("recall"):
        asked = [query for query, _ in job.questions[:MAX_QUERIES]]
        recall = index_recall(store, index, plan, model.encode(asked, kind="query"))
    with clock.step("activate"):
        live.activate(
            store,
            backend=index.backend,
            index=index.name,
            namespace=plan.namespace,
            model_version=plan.model_version,
            snapshot_id=plan.snapshot_id,
            metrics={},
            report=None,
        )
    counts = {"encoded": encoded, "written": written, "deleted": deleted}
    return {"steps": clock.steps, "action": plan.action, "index_recall": recall, **counts}


def _article_model() -> Any:
    from include.retriever.registry import load_base

    model = load_base(MODEL, "cpu")
    model.encode(WARM_UP, show_progress_bar=False)
    return model


def _dimension(job: Job) -> int:
    from include.retriever.registry import load_manifest

    return load_manifest(job.store, job.version).dimension


def _episodes(job: Job, column: str = "text", *, snapshot: int = 0) -> tuple[list[str], list[str]]:
    """Ids, and another column, of one of the snapshots."""
    from include.episodes import snapshot as snapshots

    table = snapshots.read(job.store, job.snapshots[snapshot], columns=["episode_id", column])
    return table["episode_id"].to_pylist(), table[column].to_pylist()


def _recall(job: Job, found: list[list[str]]) -> float:
    """Share of the queries whose episode is found, so that it shows whether all search the same."""
    return float(np.mean([wanted in ids for (_, wanted), ids in zip(job.questions, found, strict=True)]))
