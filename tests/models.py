"""A sentence-transformers model small enough to be built and trained inside a test."""

from __future__ import annotations

import string
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import BertConfig, BertModel, BertTokenizer

DIMENSION = 32
TOPICS = {
    "sleep": ["sleep", "night", "bed", "dream", "tired", "insomnia"],
    "money": ["money", "bank", "tax", "saving", "pension", "loan"],
    "garden": ["garden", "tomato", "soil", "seed", "compost", "spade"],
    "space": ["space", "rocket", "moon", "orbit", "planet", "star"],
    "cooking": ["cooking", "soup", "onion", "pan", "salt", "recipe"],
}
"""Words that are whole tokens of the model; everything else is read letter by letter."""


def build_model(folder: Path, *, seed: int = 7) -> Path:
    """Save a two-layer BERT with mean pooling and normalised vectors of 32 numbers, weights drawn from a seed.

    :returns: the folder, to be used as the name of a base model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    letters = string.ascii_lowercase + string.digits
    words = sorted({word for topic in TOPICS.values() for word in topic})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *".,!?", *letters, *words, *("##" + x for x in letters)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    transformer = folder / "transformer"
    BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=True).save_pretrained(str(transformer))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        bert = BertModel(
            BertConfig(
                vocab_size=len(vocabulary),
                hidden_size=DIMENSION,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=64,
                max_position_embeddings=128,
            )
        )
    bert.save_pretrained(str(transformer))
    modules = [Transformer(str(transformer), max_seq_length=96), Pooling(DIMENSION, "mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder / "model"))
    return folder / "model"
