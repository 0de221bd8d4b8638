"""The loop as a whole: listeners search and play, the next training learns from it, and search answers them better."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import torch

from include.evaluation.comparison import judge, load_comparison, plan_comparison
from include.evaluation.gate import Decision
from include.evaluation.run import evaluate_model
from include.feedback.figures import update
from include.feedback.pairs import recorded_pairs
from include.feedback.recorder import Recorder
from include.index.lancedb import LanceIndex
from include.index.live import read_live
from include.index.plan import plan_reindex
from include.index.write import encode_shard, prepare_namespace, texts_to_encode, upsert_shard, verify
from include.queries.contract import GeneratorSpec
from include.queries.opening import create_generator
from include.retriever.encoders.opening import open_encoder
from include.retriever.finetuning.hardware import Hardware
from include.retriever.manifest import ModelManifest
from include.retriever.recipe import Recipe
from include.retriever.registry import ensure_base
from include.retriever.training.model import register_trained, train
from include.retriever.training.pairing import write_pairs
from include.retriever.training.plan import plan_training
from include.retriever.training.queries import generate_queries
from include.settings import SAMPLE_DIR
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import Row, prepare_in_memory, publish
from tests.include.feedback.listening import MONDAY
from tests.include.index.workshop import activate
from tests.include.search.http.server import open_service, served

CALLED = {
    "Two Burners": "zuppi",
    "Chain Tension": "veloro",
    "Ward Nine": "pulsimo",
    "Dark Adapted": "stellano",
    "Roll for Weather": "dicetta",
    "TIDELOCK": "maromi",
    "Plot 14B": "gardino",
    "Payday Is Friday": "centolo",
}
"""What listeners call some shows of the sample; no text has these names, and no model knows them."""
SAID = (
    ("{}", "the new {}"),
    ("{} for the train", "something by {}"),
    ("play {}", "I missed the last {}"),
    ("{} please", "more {}"),
)
"""How they ask for one of its episodes: each day in other words. The last day is held out of training."""
BASE_MODEL = "all-MiniLM-L6-v2"
RECIPE = Recipe(queries_per_episode=1, eval_share=0.05, epochs=2, batch_size=32, learning_rate=2e-4, max_seq_length=48)


class Installation:
    """Some shows of the sample, search over them, and a clock that listeners move."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.store = ArtifactStore(home / "artifacts")
        self.index = LanceIndex(str(home / "artifacts" / "index"))
        self.now = MONDAY
        self.recorder = Recorder(self.store, 30, every=3_600, now=lambda: self.now)
        episodes = prepare_in_memory(SAMPLE_DIR).episodes.to_pylist()
        self.episodes: list[Row] = [row for row in episodes if row["show_title"] in CALLED]
        publish(self.store, self.episodes, shards=1)

    def go_live(self, model: ModelManifest) -> None:
        plan = plan_reindex(self.store, model_version=model.version, live=read_live(self.store))
        prepare_namespace(self.store, self.index, plan, model.dimension)
        encoder = open_encoder(self.store, model.version, "cpu")
        for shard in plan.shards:
            encode_shard(self.store, plan, shard, texts_to_encode(self.store, plan, shard), encoder, batch_size=32)
            upsert_shard(self.store, self.index, plan, shard)
        verify(self.store, self.index, plan)
        activate(self.store, self.index, plan)

    def train(self) -> ModelManifest:
        """The next training, as its tasks do it."""
        plan = plan_training(
            self.store,
            generator=GeneratorSpec(),
            search_logs=None,
            recorded=recorded_pairs(self.store),
            base_model=BASE_MODEL,
            recipe=RECIPE,
        )
        generate_queries(self.store, plan, 0, create_generator(plan.generator))
        write_pairs(self.store, plan, curated={})
        train(self.store, plan, hardware=Hardware(), work_root=self.home / "work")
        return register_trained(self.store, plan, device_usage={}, work_root=self.home / "work")

    def compare(self, base: ModelManifest, candidate: ModelManifest) -> Decision:
        """What the gate says, when both were measured."""
        planned = plan_comparison(
            self.store,
            base=base.version,
            live=read_live(self.store),
            candidate=candidate.version,
            curated_path=None,
            catalogue_size=1_000,
            max_queries=60,
            seed=0,
            hybrid_weight=0.5,
        )
        comparison, evaluation = load_comparison(self.store, planned.comparison_id)
        for version in (base.version, candidate.version):
            encoder = open_encoder(self.store, version, "cpu")
            evaluate_model(self.store, evaluation, encoder, version)
        decision = judge(self.store, comparison, tolerance=0.05)
        assert decision is not None
        return decision


def listen(installation: Installation, address: str, wanted: Row, asked: str) -> None:
    """A listener asks for an episode in their own words, then by its title if the first ten results do not have it, and
    plays it."""
    with httpx.Client(base_url=address, timeout=30) as browser:
        for query in (asked, wanted["title"]):
            page = browser.get("/", params={"q": query}).raise_for_status().text
            shown = dict(re.findall(r'class="title" href="/similar/(\w+)\?search=([\w-]+)"', page))
            installation.now += timedelta(seconds=20)
            if search := shown.get(wanted["episode_id"]):
                what = {"search_id": search, "episode_id": wanted["episode_id"], "action": "played", "seconds": 45}
                browser.post("/events", json=what).raise_for_status()
                return
    raise AssertionError(f"{wanted['title']!r} is not found by its title")


def of_the_show(address: str, asked: dict[str, str]) -> float:
    """The share of the first ten results that are of the show that was asked for."""
    shares: list[float] = []
    for query, show in asked.items():
        results = httpx.get(f"{address}/search", params={"q": query}, timeout=30).raise_for_status().json()["results"]
        shares.append(sum(result["show"] == show for result in results) / len(results))
    return sum(shares) / len(shares)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Several would spin while they wait for a core that another test has: twice the time, and more of the CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_what_listeners_play_makes_search_find_what_they_ask_for(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    store, chance = installation.store, random.Random(1)
    base = ensure_base(store, BASE_MODEL, "cpu")
    installation.go_live(base)
    with served(open_service(tmp_path), recorder=installation.recorder) as address:
        for words in SAID:
            for show, name in CALLED.items():
                wanted = [row for row in installation.episodes if row["show_title"] == show]
                for one in words:
                    listen(installation, address, chance.choice(wanted), one.format(name))
            installation.now += timedelta(days=1)
        installation.recorder.flush()
        last = {one.format(name): show for show, name in CALLED.items() for one in SAID[-1]}
        before = of_the_show(address, last)

        trained = installation.train()
        assert trained.pairs["log:reformulated"] > 20
        assert trained.pairs["log:searched"] > 20

        decision = installation.compare(base, trained)
        assert decision.passed
        found = next(check for check in decision.checks if (check.query_set, check.metric) == ("played", "recall@30"))
        assert found.difference is not None
        assert found.largest_allowed is not None
        assert found.difference > found.largest_allowed, "more than chance gives"
        assert f"Recall@30 on {found.queries} played queries went from" in "\n".join(decision.reasons)

        installation.go_live(trained)
        assert of_the_show(address, last) > before + 0.2
    days = update(store, now=installation.now)
    assert [day.played for day in days] == [len(CALLED) * len(words) for words in SAID]
    assert sum(day.reformulated for day in days) > sum(day.searches for day in days) / 4
