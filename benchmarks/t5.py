"""A T5 of the article's size with random weights, which ends its queries like a trained one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SEED = 20171201
VOCABULARY = 32_128
UNUSED = 28
"""Tokens that only the model has."""
STOP = 0.1
"""Chance that a query ends at a token: ten tokens in the mean, as questions have."""
SIZE = {"d_model": 768, "d_kv": 64, "d_ff": 2048, "num_layers": 12, "num_heads": 12}
"""T5 v1.1 base, as doc2query/all-t5-base-v1."""


def build_base(folder: Path, texts: Sequence[str], *, top_k: int = 50) -> Path:
    """Save the model, and a tokenizer that knows the commonest words of some texts."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(SEED)
    shape: dict[str, Any] = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, **SIZE}
    config = T5Config(vocab_size=VOCABULARY, **shape | {"decoder_start_token_id": 0})
    model: Any = T5ForConditionalGeneration(config)
    model.train(False)
    # As in a file of the real one: transformers ties the two in a new model whatever the configuration says.
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * 0.05)
    with torch.no_grad():
        # A number that all tokens share makes the decoder's outputs look alike: the end token points there.
        model.shared.weight[:, 0] = 40.0
        _end_queries(model, top_k)
    model.save_pretrained(str(folder))
    _tokenizer(texts).save_pretrained(str(folder))
    return folder


def _end_queries(model: Any, top_k: int) -> None:
    """Set the end token's weights so that it has the wanted chance among the likeliest tokens."""
    import torch

    text, query = torch.randint(3, VOCABULARY, (4, 60)), torch.randint(3, VOCABULARY, (4, 12))
    outputs = model(input_ids=text, decoder_input_ids=query, output_hidden_states=True)
    hidden = outputs.decoder_hidden_states[-1].flatten(0, 1)
    direction = hidden.mean(0) / hidden.mean(0).norm() ** 2
    low, high = -20.0, 40.0
    for _ in range(40):
        middle = (low + high) / 2
        model.lm_head.weight[1] = direction * middle
        logits = model.lm_head(hidden)
        chance = (logits[:, 1] - logits.topk(top_k).values.logsumexp(-1)).exp().mean()
        low, high = (low, middle) if chance > STOP else (middle, high)


def _tokenizer(texts: Sequence[str]) -> Any:
    from transformers import T5Tokenizer

    words = Counter(word for text in texts for word in text.split())
    letters = Counter(letter for word in words for letter in word)
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -6.0)]
    pieces += [(letter, -7.0) for letter, _ in letters.most_common(2000)]
    pieces += [(f"▁{word}", -3.0) for word, _ in words.most_common(VOCABULARY - UNUSED - len(pieces))]
    # What the model writes can be read, whichever token it is.
    pieces += [(f"▁unused{number}", -9.0) for number in range(VOCABULARY - UNUSED - len(pieces))]
    return T5Tokenizer(vocab=pieces, extra_ids=0)
