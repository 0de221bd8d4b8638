"""Converting a sentence-transformers model for :mod:`.ctranslate2_encoder`, whole: its tokenizer, its transformer, and
what follows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling
from tokenizers import Tokenizer

from include.conversion.transformers import convert
from include.retriever.encoders.contract import EncoderError, TextKind
from include.retriever.encoders.ctranslate2_encoder import TOKENIZER, CTranslate2Encoder
from include.retriever.encoders.features import plain_tokenizer, prompt_of
from include.retriever.encoders.head import Activation, Head, Shape
from include.retriever.encoders.head import Dense as Layer
from include.retriever.encoders.parity import LEAST_COSINE, PROBES, least_cosine
from include.retriever.encoders.precision import Precision
from include.retriever.encoders.torch_encoder import TorchEncoder
from include.retriever.registry import load_folder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch.nn import Module
    from transformers import PreTrainedModel

KINDS: tuple[TextKind, ...] = ("query", "document")
ACTIVATIONS: dict[type, Activation] = {torch.nn.Tanh: "tanh", torch.nn.Identity: "none"}


def convert_model(source: Path, target: Path, *, precision: Precision) -> None:
    """Convert a model, and compare its vectors.

    :param source: in sentence-transformers' format.
    :param target: a new folder.
    :raises EncoderError: it cannot be converted, or its vectors would differ too much.
    :raises ModelError: it cannot be loaded.
    """
    model = load_folder(source, "cpu")
    head = _head(model)
    try:
        # BERT has no other positions since transformers 5, and no longer says so; the converter asks.
        convert(
            cast("PreTrainedModel", model.transformers_model),
            target,
            compute_type=precision,
            config={"position_embedding_type": "absolute"},
        )
    except (AttributeError, KeyError, ValueError) as error:
        raise EncoderError(f"CTranslate2 cannot convert the model ({error})") from error
    head.write(target)
    _tokenizer(model, head.shape.max_tokens).save(str(target / TOKENIZER))
    encoder, reference = CTranslate2Encoder(target, precision=precision, threads=1), TorchEncoder(model)
    cosine = min(least_cosine(encoder.encode(PROBES, kind=kind), reference.encode(PROBES, kind=kind)) for kind in KINDS)
    if cosine < LEAST_COSINE[precision]:
        raise EncoderError(f"a vector computed by CTranslate2 in {precision} has a cosine of {cosine:.3f} to its own")


def _head(model: SentenceTransformer) -> Head:
    """What is told to the transformer and follows it.

    :raises EncoderError: there is something that is not known here.
    """
    tokenizer = plain_tokenizer(model)
    _, *after = model.children()
    pooling = after[0] if after else None
    if tokenizer is None or not tokenizer.is_fast or not isinstance(pooling, Pooling):
        raise EncoderError("it is no plain transformer with pooling")
    prompts = {kind: prompt_of(model, kind) or "" for kind in KINDS}
    if pooling.pooling_mode not in ("cls", "mean") or (any(prompts.values()) and not pooling.include_prompt):
        raise EncoderError(f"its pooling ({pooling.pooling_mode}) is not known")
    first = model[0]
    if first.query_length is not None or first.document_length is not None:
        raise EncoderError("queries and documents have lengths of their own")
    layers = [_layer(module) for module in after[1:] if not isinstance(module, Normalize)]
    positions = int(first.config.max_position_embeddings)
    shape = Shape(
        max_tokens=min(int(model.max_seq_length or positions), positions),
        pad=tokenizer.pad_token_id,
        prompts=prompts,
        pooling=pooling.pooling_mode,
        activations=tuple(layer.activation for layer in layers),
        dimension=model.get_embedding_dimension(),
    )
    return Head(shape, layers)


def _layer(module: Module) -> Layer:
    if not isinstance(module, Dense) or module.use_residual:
        raise EncoderError(f"what follows the pooling is not known ({type(module).__name__})")
    activation = ACTIVATIONS.get(type(cast("object", module.activation_function)))
    if activation is None or {module.module_input_name, module.module_output_name} != {"sentence_embedding"}:
        raise EncoderError(f"what follows the pooling is not known ({module.get_config_dict()})")
    weight = module.linear.weight.detach().float().numpy()
    bias = module.linear.bias.detach().float().numpy() if module.bias else np.zeros(len(weight), np.float32)
    return Layer(weight, bias, activation)


def _tokenizer(model: SentenceTransformer, max_tokens: int) -> Tokenizer:
    tokenizer = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer
