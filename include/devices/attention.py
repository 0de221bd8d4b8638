"""Choosing PyTorch's attention kernels."""

from __future__ import annotations

from contextlib import AbstractContextManager

from torch.nn.attention import SDPBackend, sdpa_kernel


def plain_attention() -> AbstractContextManager[None]:
    """Attention without cuDNN's, which PyTorch prefers on new GPUs in 16 bits.

    cuDNN plans again for every new shape, and almost every batch of texts has one: on an H100, five of the seven
    seconds of encoding 20,000 texts for the first time went into planning.
    """
    return sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])
