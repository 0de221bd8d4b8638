"""What :mod:`benchmarks.encoding` compares: ways of encoding, each measured in a process of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from include.retriever.encoders.contract import Encoder, Vectors

ARTICLE_BATCH = 64
DISTILUSE = "distiluse-architecture"
"""distiluse-base-multilingual-cased-v2's shape with random weights."""

Encode = Callable[[list[str]], "Vectors"]


def article(model: SentenceTransformer, cache: Path) -> Encode:
    """The article's calls: batches of 64 as they come, the library's defaults for the rest."""

    def encode(texts: list[str]) -> Vectors:
        batches = [texts[start : start + ARTICLE_BATCH] for start in range(0, len(texts), ARTICLE_BATCH)]
        vectors = np.concatenate([model.encode(batch, show_progress_bar=False) for batch in batches])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return encode


def torch(model: SentenceTransformer, cache: Path) -> Encode:
    """Ours with PyTorch: each text tokenized once, batches by the number of tokens."""
    from include.retriever.encoders.opening import make_encoder

    return _ours(make_encoder(model, "float32", engine="torch", cache=cache))


def ctranslate2(model: SentenceTransformer, cache: Path) -> Encode:
    """Ours with CTranslate2: the same vectors."""
    from include.retriever.encoders.opening import make_encoder

    return _ours(make_encoder(model, "float32", cache=cache))


def int8(model: SentenceTransformer, cache: Path) -> Encode:
    """The same with 8 bits: nearly the same vectors."""
    from include.retriever.encoders.opening import make_encoder

    return _ours(make_encoder(model, "int8", cache=cache))


def float16(model: SentenceTransformer, cache: Path) -> Encode:
    """Ours with PyTorch and 16 bits on a GPU."""
    from include.retriever.encoders.opening import make_encoder

    return _ours(make_encoder(model, "float16", cache=cache))


CONTENDERS: dict[str, Callable[[SentenceTransformer, Path], Encode]] = {
    "article": article,
    "torch": torch,
    "ctranslate2": ctranslate2,
    "int8": int8,
    "float16": float16,
}
BY_DEVICE = {"cpu": ("article", "torch", "ctranslate2", "int8"), "cuda": ("article", "torch", "float16")}
"""Who is measured on a device, the baseline first."""


def measure(
    name: str, *, model: str, device: str, threads: int, work: Path, texts: Path, target: Path
) -> dict[str, Any]:
    """Encode with one of the contenders, and write the vectors.

    :param texts: a JSON object of ``documents``, which are timed, and ``queries``, which are not.
    :param target: gets an ``.npz`` file of both.
    :returns: seconds (wall, and CPU time of all threads) without loading, and the GPU's peak memory, MiB.
    """
    import torch

    torch.set_num_threads(threads)
    asked = json.loads(texts.read_text())
    encode = CONTENDERS[name](load_model(model, device, work), work / "converted")
    encode(asked["documents"][:8])
    started, started_cpu = time.perf_counter(), time.process_time()
    documents = encode(asked["documents"])
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
    queries = encode(asked["queries"]) if asked["queries"] else documents[:0]
    np.savez(target, documents=documents, queries=queries)
    gpu = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0.0
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "gpu_mib": gpu}


def token_counts(model: str, work: Path, texts: list[str]) -> list[int]:
    """How many tokens of each text the model reads."""
    loaded = load_model(model, "cpu", work)
    tokens = loaded.tokenizer(texts, truncation=True, max_length=loaded.max_seq_length)["input_ids"]
    return [len(own) for own in tokens]


def _ours(encoder: Encoder) -> Encode:
    return lambda texts: encoder.encode(texts)


def load_model(name: str, device: str, work: Path) -> SentenceTransformer:
    from include.retriever.registry import load_base

    if name != DISTILUSE:
        return load_base(name, device)
    folder = work / DISTILUSE
    if not (folder / "modules.json").is_file():
        build_distiluse(folder, load_base("all-MiniLM-L6-v2", "cpu").tokenizer)
    return load_base(str(folder), device)


def build_distiluse(folder: Path, tokenizer: Any) -> None:
    """Six layers of 768, mean pooling, a dense layer to 512, 128 tokens; only the tokenizer is another model's."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer
    from transformers import DistilBertConfig, DistilBertModel

    transformer = str(folder / "transformer")
    torch.manual_seed(1)
    tokenizer.save_pretrained(transformer)
    DistilBertModel(DistilBertConfig(vocab_size=119_547)).save_pretrained(transformer)
    modules = [
        Transformer(transformer, max_seq_length=128),
        Pooling(768, "mean"),
        Dense(768, 512, activation_function=torch.nn.Tanh()),
    ]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder))
