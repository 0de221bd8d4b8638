"""In-batch evaluation: the eval pairs' queries against the same pairs' texts, before, during and after a training.

By InformationRetrievalEvaluator, which gives RerankingEvaluator's MRR with each text encoded once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from include.storage import ArtifactStore

log = logging.getLogger(__name__)

MAX_EVAL_PAIRS = 1000
FIGURES = {"MRR@5": "eval_cosine_mrr@5", "Recall@1": "eval_cosine_recall@1"}
"""Our names of the metrics, and the evaluator's."""
BEST_BY = FIGURES["MRR@5"]


def create_evaluator(pairs: pa.Table) -> InformationRetrievalEvaluator | None:
    """One query an episode against the pairs' positives. None where there are too few.

    :param pairs: of the eval split.
    """
    first = {row["episode_id"]: row for row in reversed(pairs.to_pylist())}
    rows = list(first.values())[:MAX_EVAL_PAIRS]
    if len(rows) < 2:
        log.warning("Only %d eval pairs: in-batch metrics are left out.", len(rows))
        return None
    return InformationRetrievalEvaluator(
        queries={row["episode_id"]: row["query"] for row in rows},
        corpus={row["episode_id"]: row["positive"] for row in rows},
        relevant_docs={row["episode_id"]: {row["episode_id"]} for row in rows},
        mrr_at_k=[5],
        precision_recall_at_k=[1],
        accuracy_at_k=[1],
        ndcg_at_k=[10],
        map_at_k=[10],
        batch_size=16,
        name="eval",
        write_csv=False,
    )


def measure(
    evaluator: InformationRetrievalEvaluator | None, model: SentenceTransformer, memory: Path | None
) -> dict[str, float]:
    """In-batch MRR@5 and Recall@1.

    :param memory: a file to remember them in, so that a resumed training does not measure anew.
    """
    if evaluator is None:
        return {}
    if memory and memory.is_file():
        remembered: dict[str, float] = json.loads(memory.read_text())
        return remembered
    figures = figures_of(evaluator(model))
    log.info("In-batch: MRR@5 %.3f, Recall@1 %.3f.", figures["MRR@5"], figures["Recall@1"])
    if memory:
        ArtifactStore(memory.parent).write_json(figures, memory.name)
    return figures


def figures_of(scores: Mapping[str, float]) -> dict[str, float]:
    """The metrics that are kept, by our names."""
    return {name: float(scores[theirs]) for name, theirs in FIGURES.items()}


class EarlyStop(TrainerCallback):
    """Ends a training whose evaluations no longer get better.

    It remembers nothing: all that it goes by is in the trainer's state, and so in each checkpoint.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if self.has_ended(state):
            log.info("No better evaluation in the last %d: training ends here.", self.patience)
            control.should_training_stop = True

    def has_ended(self, state: TrainerState) -> bool:
        scores = [entry[BEST_BY] for entry in state.log_history if BEST_BY in entry]
        return bool(scores) and len(scores) - 1 - scores.index(max(scores)) >= self.patience
