"""Encoding with CTranslate2 on a CPU: the same vectors as PyTorch's but faster, or nearly the same in 8 bits much
faster.

The transformer is CTranslate2's; the tokenizer, and what follows the transformer (pooling, a dense layer), are the
model's own.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import ctranslate2
import numpy as np
import torch
from sentence_transformers.sentence_transformer.modules import Transformer
from torch import Tensor

from include.conversion import convert, converted
from include.retriever.encoders.batches import Features
from include.retriever.encoders.contract import EncoderError, TextKind
from include.retriever.encoders.parity import LEAST_COSINE, PROBES, least_cosine
from include.retriever.encoders.precision import Precision
from include.retriever.encoders.torch_encoder import TorchEncoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel

ARCHITECTURES = {"bert", "distilbert"}
"""Kinds of models that are known to convert well, such as all-MiniLM-L6-v2 and distiluse-base-multilingual-cased-v2."""


class CTranslate2Encoder(TorchEncoder):
    """A model whose transformer CTranslate2 computes.

    :param model: on a CPU.
    :param folder: the converted transformer.
    :param threads: batches at a time. Several threads for one batch would share its small matrices, and wait for each
        other more than they work.
    """

    def __init__(self, model: SentenceTransformer, folder: Path, *, precision: Precision, threads: int) -> None:
        super().__init__(model)
        self._device = torch.device("cpu")
        self._threads = threads
        self._transformer = ctranslate2.Encoder(
            str(folder), device="cpu", compute_type=precision, inter_threads=threads, intra_threads=1
        )
        _, *self._after = model.children()

    def _forward(self, batches: Iterable[Features], kind: TextKind) -> Iterator[Tensor]:
        ahead: deque[tuple[Features, Future[Tensor]]] = deque()
        with ThreadPoolExecutor(self._threads) as pool:
            for features in batches:
                ahead.append((features, pool.submit(self._tokens, features)))
                # So many wait that no thread does while what follows the transformer is computed here.
                if len(ahead) > 2 * self._threads:
                    yield self._embedding(*ahead.popleft())
            while ahead:
                yield self._embedding(*ahead.popleft())

    def _embedding(self, features: Features, tokens: Future[Tensor]) -> Tensor:
        """What follows the transformer."""
        features["token_embeddings"] = tokens.result()
        for module in self._after:
            features = module(features)
        embedding: Tensor = features["sentence_embedding"]
        return embedding

    def _tokens(self, features: Features) -> Tensor:
        """The transformer's output, shape (texts, length, width)."""
        ids, lengths = (
            ctranslate2.StorageView.from_array(np.ascontiguousarray(tensor.numpy(), dtype=np.int32))
            for tensor in (features["input_ids"], features["attention_mask"].sum(dim=1))
        )
        return torch.from_numpy(np.array(self._transformer.forward_batch(ids, lengths).last_hidden_state))


def transformer_of(model: SentenceTransformer) -> PreTrainedModel | None:
    """The transformer that the model begins with, if CTranslate2 knows its kind."""
    transformer = model.transformers_model
    if type(model[0]) is not Transformer or transformer is None:
        return None
    return transformer if transformer.config.model_type in ARCHITECTURES else None


def ctranslate2_encoder(
    model: SentenceTransformer, *, precision: Precision, threads: int, cache: Path
) -> CTranslate2Encoder:
    """Hand a model over to CTranslate2; the first time, it is converted and its vectors are compared.

    :param model: on a CPU. The weights of its transformer are freed: afterwards it is only usable by this encoder.
    :raises EncoderError: it cannot be converted, or its vectors would differ too much. The model is unchanged.
    """
    transformer = transformer_of(model)
    if transformer is None:
        raise EncoderError("CTranslate2 does not know this kind of model")

    def make(folder: Path) -> None:
        # BERT has no other positions since transformers 5, and no longer says so; the converter asks.
        convert(transformer, folder, compute_type=precision, config={"position_embedding_type": "absolute"})
        encoder = CTranslate2Encoder(model, folder, precision=precision, threads=1)
        cosine = least_cosine(encoder.encode(PROBES), TorchEncoder(model).encode(PROBES))
        if cosine < LEAST_COSINE[precision]:
            raise EncoderError(
                f"a vector computed by CTranslate2 in {precision} has a cosine of {cosine:.3f} to its own"
            )

    try:
        folder = converted("encoder", _fingerprint(transformer), compute_type=precision, cache=cache, convert=make)
    except (AttributeError, KeyError, ValueError) as error:
        raise EncoderError(f"CTranslate2 cannot convert the model ({error})") from error
    # First, so that the weights are not in memory twice.
    transformer.to(device="meta")  # type: ignore[call-arg]
    return CTranslate2Encoder(model, folder, precision=precision, threads=threads)


def _fingerprint(model: PreTrainedModel) -> str:
    """Identified by the weights, so that a retrained model never gets another's conversion."""
    sha = hashlib.sha256(model.config.to_json_string().encode())
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(name.encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return sha.hexdigest()
