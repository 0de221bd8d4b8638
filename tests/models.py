"""Sentence-transformers models small enough to be built and trained inside a test."""

from __future__ import annotations

import string
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from torch.nn import Module, Tanh
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    DistilBertConfig,
    DistilBertModel,
    PreTrainedConfig,
    PreTrainedModel,
)

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
    tokenizer = _save_tokenizer(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=DIMENSION,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    return _save(folder, BertModel, config, [Normalize()], seed)


def build_distiluse(folder: Path, *, seed: int = 7) -> Path:
    """Save a model of the shape of distiluse-base-multilingual-cased-v2: DistilBERT, mean pooling, and a dense layer
    with tanh that makes vectors of 16 numbers, not normalised, of 32.

    :returns: the folder, to be used as the name of a base model.
    """
    tokenizer = _save_tokenizer(folder)
    config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=DIMENSION, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=128
    )
    return _save(folder, DistilBertModel, config, [Dense(DIMENSION, DIMENSION // 2, activation_function=Tanh())], seed)


def build_cross_encoder(folder: Path, *, seed: int = 3, labels: int = 1) -> Path:
    """Save a two-layer BERT that reads two texts and gives one score, or as many as there are labels, weights drawn
    from a seed.

    :returns: the folder.
    """
    tokenizer = _save_tokenizer(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=DIMENSION,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.5,  # random weights of the usual size give nearly the same score to every pair
    )
    config.num_labels = labels
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertForSequenceClassification(config).save_pretrained(str(folder / "cross-encoder"))
    tokenizer.save_pretrained(str(folder / "cross-encoder"))
    return folder / "cross-encoder"


def _save_tokenizer(folder: Path) -> BertTokenizer:
    folder.mkdir(parents=True, exist_ok=True)
    letters = string.ascii_lowercase + string.digits
    words = sorted({word for topic in TOPICS.values() for word in topic})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *".,!?", *letters, *words, *("##" + x for x in letters)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=True)
    tokenizer.save_pretrained(str(folder / "transformer"))
    return tokenizer


def _save(
    folder: Path, model: type[PreTrainedModel], config: PreTrainedConfig, after_pooling: list[Module], seed: int
) -> Path:
    transformer = folder / "transformer"
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model(config).save_pretrained(str(transformer))
        modules = [Transformer(str(transformer), max_seq_length=96), Pooling(DIMENSION, "mean"), *after_pooling]
        SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder / "model"))
    return folder / "model"
