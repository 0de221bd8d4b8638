"""The model card of a trained model."""

from __future__ import annotations

from sentence_transformers import SentenceTransformer


def write_card(model: SentenceTransformer, version: str) -> None:
    """Say in the model card what the model is, and take out the examples, which are texts of the catalogue."""
    card = model.model_card_data
    card.model_name = version
    card.task_name = "natural-language podcast search"
    card.generate_widget_examples = False
    card.widget, card.usage_examples = [], None
    for dataset in card.train_datasets:
        for examples in ("examples", "examples_table", "_example_columns"):
            dataset.pop(examples, None)
