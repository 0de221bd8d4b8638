"""Whether our engines sample queries from the same distribution as transformers: on a small trained T5."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

TEXTS = 60
SAMPLES = 60
STEPS = 12
TOLERANCE = {"float32": 0.0, "bfloat16": 0.1, "int8": 0.1}
"""What rounding to a format may add to a mean, as a part of it."""


def agreement(device: str, folder: Path) -> dict[str, Any]:
    """Mean length and mean log-probability (by transformers) of some thousand samples of each, with standard errors.

    They agree if the means are no further apart than four standard errors, and what rounding to a number format adds.
    """

    from include.queries.doc2query.engine import TokenizedText
    from include.queries.doc2query.load import load_model, load_tokenizer, locate
    from include.queries.doc2query.sampling import Sampling
    from include.queries.doc2query.torch_engine import TorchEngine
    from tests.t5 import build_t5, example

    source = locate(str(build_t5(folder / "trained", steps=200)), None)
    tokenizer, model = load_tokenizer(source), load_model(source)
    chance = random.Random(3)  # noqa: S311
    texts = [example(chance)[0] for _ in range(TEXTS)]
    sources = [TokenizedText(str(at), tuple(tokenizer.encode(text))) for at, text in enumerate(texts)]
    settings: dict[str, Any] = {"sampling": Sampling(), "steps": STEPS, "device": device, "batch_size": 16}
    torch_engine = TorchEngine(load_model(source), **settings)
    engines: dict[str, tuple[Any, str]] = {
        "torch": (torch_engine, str(torch_engine.model.dtype).removeprefix("torch."))
    }
    if device == "cpu" and find_spec("ctranslate2"):
        from include.queries.doc2query.conversion import compute_type, convert
        from include.queries.doc2query.ctranslate2_engine import CTranslate2Engine

        kind = compute_type(device)
        converted = convert(model, folder / "converted-small", kind=kind)
        engines["ctranslate2"] = (CTranslate2Engine(converted, kind=kind, threads=1, **settings), kind)
    expected = _figures(model, sources, _generate(model, tokenizer, texts))
    figures: dict[str, Any] = {"transformers": expected, "agree": True}
    for name, (engine, number_format) in engines.items():
        found = _figures(model, sources, engine.sample(sources, SAMPLES, 1, lambda _: None))
        found["format"] = number_format
        found["agrees"] = all(
            abs(found[what] - expected[what])
            <= 4 * (found[f"{what}_error"] ** 2 + expected[f"{what}_error"] ** 2) ** 0.5
            + TOLERANCE[number_format] * abs(expected[what])
            for what in ("length", "log_probability")
        )
        figures[name] = found
        figures["agree"] &= found["agrees"]
    return figures


def _generate(model: Any, tokenizer: Any, texts: Sequence[str]) -> list[list[list[int]]]:
    import torch

    torch.manual_seed(1)
    batch = tokenizer(list(texts), padding=True, return_tensors="pt")
    with torch.no_grad():
        rows = model.generate(
            **batch, do_sample=True, top_p=0.95, max_new_tokens=STEPS, num_return_sequences=SAMPLES
        ).tolist()
    plain = [row[1 : row.index(1)] if 1 in row else row[1:] for row in rows]
    return [plain[at : at + SAMPLES] for at in range(0, len(plain), SAMPLES)]


def _figures(model: Any, sources: Sequence[Any], samples: Sequence[Sequence[Sequence[int]]]) -> dict[str, Any]:
    import torch
    from torch.nn.functional import cross_entropy

    lengths = [len(own) for rows in samples for own in rows]
    scores: list[float] = []
    for source, rows in zip(sources, samples, strict=True):
        longest = max(map(len, rows)) + 1
        labels = torch.tensor([[*own, 1, *[-100] * (longest - len(own) - 1)] for own in rows])
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([source.tokens]).expand(len(rows), -1), labels=labels).logits
        losses = cross_entropy(logits.transpose(1, 2), labels, reduction="none")
        scores += (-losses.sum(-1)).tolist()
    return {
        "length": round(statistics.fmean(lengths), 4),
        "length_error": round(statistics.stdev(lengths) / len(lengths) ** 0.5, 4),
        "log_probability": round(statistics.fmean(scores), 4),
        "log_probability_error": round(statistics.stdev(scores) / len(scores) ** 0.5, 4),
    }
