"""A T5 small enough to be built, and trained a little, inside a test."""

from __future__ import annotations

import random
import string
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import MT5Config, MT5ForConditionalGeneration, T5Config, T5ForConditionalGeneration, T5Tokenizer

from tests.models import TOPICS

Kind = Literal["v1.1", "first", "mt5"]
ASKED = ["why", "how", "does", "what", "is", "about"]
UNUSED = 7
"""Tokens that only the model has, as the real one has 28 more than its tokenizer."""


def build_t5(folder: Path, kind: Kind = "v1.1", *, seed: int = 7, steps: int = 0) -> Path:
    """Save a two-layer T5 and its tokenizer; words of :data:`tests.models.TOPICS` are whole tokens.

    :param kind: the first T5 has another feed-forward layer than v1.1, and one matrix for tokens going in and out.
    :param steps: train it so long to ask about the words of a text: 200 do. Without, it babbles.
    :returns: the folder, to be used as the name of a model.
    """
    tokenizer = _tokenizer()
    shape: dict[str, Any] = {} if kind == "first" else {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    config_class, model_class = (
        (MT5Config, MT5ForConditionalGeneration) if kind == "mt5" else (T5Config, T5ForConditionalGeneration)
    )
    config: Any = config_class(
        vocab_size=len(tokenizer) + UNUSED,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        **{"decoder_start_token_id": 0, **shape},
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: Any = model_class(config)
        if kind != "first":  # transformers ties them whatever the configuration says, but not those of a file
            model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
        if steps:
            _train(model, tokenizer, steps)
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


def example(chance: random.Random) -> tuple[str, str]:
    """A text of some words of one topic among others, and a question about two of them."""
    topic = chance.choice(sorted(TOPICS))
    words = chance.sample(TOPICS[topic], 3) + chance.sample(sorted(set(ASKED) - {"about"}), 2)
    about = chance.sample(words[:3], 2)
    chance.shuffle(words)
    return " ".join(words) + ".", " ".join([*chance.choice([["why"], ["how", "does"], ["what", "is"]]), *about])


def _tokenizer() -> T5Tokenizer:
    words = sorted({word for topic in TOPICS.values() for word in topic} | set(ASKED))
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"▁{word}", -2.0) for word in words), ("▁", -3.0)]
    pieces += [(letter, -4.0) for letter in string.ascii_letters + string.digits + ".,!?'-"]
    return T5Tokenizer(vocab=pieces, extra_ids=0)


def _train(model: Any, tokenizer: T5Tokenizer, steps: int) -> None:
    chance = random.Random(5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(steps):
        texts, queries = zip(*(example(chance) for _ in range(32)), strict=True)
        batch = tokenizer(list(texts), padding=True, return_tensors="pt")
        labels = tokenizer(list(queries), padding=True, return_tensors="pt")["input_ids"]
        loss = model(**batch, labels=labels.masked_fill(labels == 0, -100)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
