"""A catalogue to train on, and a plan for it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pyarrow as pa

from include.episodes import snapshot
from include.episodes.schema import EPISODES, compose_text, content_hash
from include.queries.contract import GeneratorSpec
from include.queries.opening import create_generator
from include.retriever.recipe import Recipe
from include.retriever.training.plan import TrainingPlan, plan_training
from include.retriever.training.queries import generate_queries
from include.storage import ArtifactStore
from tests.include.episodes.catalogue import write_snapshot
from tests.models import TOPICS

RECIPE = Recipe(batch_size=16, learning_rate=1e-3, seed=5, train_share=0.6, eval_share=0.1)


def publish_snapshot(
    store: ArtifactStore, *, episodes: int = 90, source_version: str = "v1", undescribed: Collection[int] = ()
) -> None:
    """A catalogue of six shows in four shards; each description is of its own words.

    :param undescribed: numbers of the episodes that have none.
    """
    subjects, rows = sorted(TOPICS), []
    for number in range(episodes):
        topic = subjects[number % len(subjects)]
        words = TOPICS[topic]
        own = "".join(chr(ord("a") + int(digit)) for digit in f"{number:03d}")
        title = f"Ep. {number} – The {words[number % 6]} of {own}"
        description: str | None = (
            f"A {words[(number + 1) % 6]} called {own} is lost again. Nobody knows what {own} would do with a "
            f"{words[(number + 2) % 6]}, and so we walk there with everything we have and ask around."
        )
        description = None if number in undescribed else description
        show = f"Show {number % 6}"
        text = compose_text(title, description, show, None)
        rows.append(
            {
                "episode_id": f"e{number:03d}",
                "podcast_id": f"p{number % 6}",
                "title": title,
                "description": description,
                "show_title": show,
                "language": "English",
                "text": text,
                "content_hash": content_hash(text),
            }
        )
    table = pa.Table.from_pylist(rows, schema=EPISODES)
    written = write_snapshot(store, table, source_version=source_version, shards=4, counts={}, quarantined={})
    snapshot.publish(store, written.snapshot_id)


def plan(store: ArtifactStore, **changes: Any) -> TrainingPlan:
    """A training of the workshop's recipe.

    :param changes: arguments of :func:`plan_training`, or entries of the recipe.
    """
    recipe = {name: value for name, value in changes.items() if name in Recipe.model_fields}
    values: dict[str, Any] = {
        "generator": GeneratorSpec(),
        "search_logs": None,
        "recorded": None,
        "base_model": "tiny",
        "recipe": RECIPE.model_copy(update=recipe),
    }
    return plan_training(store, **(values | {name: changes[name] for name in changes.keys() - recipe.keys()}))


def generate_all(store: ArtifactStore, planned: TrainingPlan) -> int:
    generator = create_generator(planned.generator)
    return sum(generate_queries(store, planned, number, generator) for number in range(len(planned.query_shards)))
