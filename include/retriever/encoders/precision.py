"""With how many bits a model computes, and how vectors are kept apart that were computed with fewer.

Vectors of a model that computes with 16 or 8 bits are close to its vectors, but they are others. So the model has
another version then, whose name says it, and that stands wherever versions do: in the embedding cache, in a plan, as a
namespace, in the live pointer (:mod:`include.retriever.encoders.variants`).
"""

from __future__ import annotations

from typing import Literal, get_args

Precision = Literal["float32", "float16", "int8"]
"""``float16`` is for GPUs, ``int8`` for CPUs; ``float32`` is the model as it was trained."""


def with_precision(model_version: str, precision: Precision) -> str:
    """The version of a model that computes in some precision.

    :param model_version: that for ``float32``, which has no suffix.
    """
    return model_version if precision == "float32" else f"{model_version}-{precision}"


def split_precision(name: str) -> tuple[str, Precision]:
    """What :func:`with_precision` made a version of."""
    for precision in get_args(Precision):
        if precision != "float32" and name.endswith(f"-{precision}"):
            return name.removesuffix(f"-{precision}"), precision
    return name, "float32"
