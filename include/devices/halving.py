"""Continuing with half the batch when a GPU runs out of memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_halvings = 0


class HalvingBatch:
    """A batch size that is halved each time the GPU runs out of memory, and stays halved for later calls.

    .. code-block:: python

        batch = HalvingBatch(128)
        for chunk in chunks:
            batch.run(lambda size: encode(model, chunk, batch_size=size))

    :param size: to begin with.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, function: Callable[[int], Result], *, size: int | None = None, minimum: int = 1) -> Result:
        """Call a function with the batch size, and again with half of it for as long as that is too much.

        :param function: each call starts over, or continues from what is done.
        :param size: maximum for this call.
        :param minimum: not halved below this size.
        :raises torch.OutOfMemoryError: the GPU has too little memory for ``minimum``. A CPU's :class:`MemoryError` is
            passed on at once: when system memory is short, a smaller batch seldom helps.
        """
        global _halvings
        tried = min(self.size, size or self.size)
        while True:
            try:
                return function(tried)
            except Exception as error:
                if not is_out_of_memory(error) or tried <= minimum:
                    raise
                problem = str(error).partition("\n")[0]
            # Not above: while the error is handled, its traceback holds on to the tensors of the failed call.
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
            self.size = max(tried // 2, minimum)
            _halvings += 1
            log.warning("The GPU has too little memory for a batch of %d: %s", tried, problem)
            log.warning("Continuing with batches of %d.", self.size)
            tried = self.size


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a GPU is out of memory: PyTorch's own, or CTranslate2's RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
    )


def halvings() -> int:
    """How often this process has halved a batch."""
    return _halvings
