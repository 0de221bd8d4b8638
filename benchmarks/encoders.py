"""What :mod:`benchmarks.encoding` compares: ways of encoding, each measured in a process of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from include.retriever.encoders.contract import Vectors
    from include.retriever.encoders.opening import Engine
    from include.retriever.encoders.precision import Precision

ARTICLE_BATCH = 64
DISTILUSE = "distiluse-architecture"
"""distiluse-base-multilingual-cased-v2's shape with random weights."""

Encode = Callable[[list[str]], "Vectors"]


@dataclass(frozen=True)
class Asked:
    """What to encode with."""

    model: str
    device: str
    threads: int
    work: Path


def article(asked: Asked) -> Encode:
    """The article's calls: batches of 64 as they come, the library's defaults for the rest."""
    model = load_model(asked.model, asked.device, asked.work)

    def encode(texts: list[str]) -> Vectors:
        batches = [texts[start : start + ARTICLE_BATCH] for start in range(0, len(texts), ARTICLE_BATCH)]
        vectors = np.concatenate([model.encode(batch, show_progress_bar=False) for batch in batches])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    return encode


def torch(asked: Asked) -> Encode:
    """Ours with PyTorch: each text tokenized once, batches by the number of tokens."""
    return _ours(asked, engine="torch")


def ctranslate2(asked: Asked) -> Encode:
    """Ours with CTranslate2: the same vectors."""
    return _ours(asked)


def int8(asked: Asked) -> Encode:
    """The same with 8 bits: nearly the same vectors."""
    return _ours(asked, precision="int8")


def float16(asked: Asked) -> Encode:
    """Ours with PyTorch and 16 bits on a GPU."""
    return _ours(asked, precision="float16")


CONTENDERS: dict[str, Callable[[Asked], Encode]] = {
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
    encode = CONTENDERS[name](Asked(model, device, threads, work))
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


def _ours(asked: Asked, *, precision: Precision = "float32", engine: Engine = "auto") -> Encode:
    from include.retriever.encoders.opening import open_folder

    folder = model_folder(asked.model, asked.work)
    cache = asked.work / "converted"
    encoder = open_folder(folder, precision, asked.device, threads=asked.threads, engine=engine, cache=cache)
    return lambda texts: encoder.encode(texts)


def load_model(name: str, device: str, work: Path) -> SentenceTransformer:
    from include.retriever.registry import load_folder

    return load_folder(model_folder(name, work), device)


def model_folder(name: str, work: Path) -> Path:
    from include.retriever.registry import base_folder, load_base

    if name != DISTILUSE:
        return base_folder(name)
    folder = work / DISTILUSE
    if not (folder / "modules.json").is_file():
        build_distiluse(folder, load_base("all-MiniLM-L6-v2", "cpu").tokenizer)
    return folder


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
