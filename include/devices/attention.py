"""Which of PyTorch's attention kernels run."""

from __future__ import annotations

from contextlib import AbstractContextManager

from torch.nn.attention import SDPBackend, sdpa_kernel


def plain_attention() -> AbstractContextManager[None]:
    """Attention without cuDNN's, which PyTorch prefers on new GPUs in 16 bits.

    It plans anew for every shape it meets, and batches of texts have a new one almost each: on an H100, five of the
    seven seconds in which 20,000 texts were encoded for the first time went into plans.
    """
    return sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])
