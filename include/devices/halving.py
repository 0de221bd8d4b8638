"""Going on with half the batch when a GPU's memory does not suffice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_halvings = 0


class HalvingBatch:
    """A batch size that is halved each time the GPU runs out of memory, and stays so for the calls that follow.

    .. code-block:: python

        batch = HalvingBatch(128)
        for chunk in chunks:
            batch.run(lambda size: encode(model, chunk, batch_size=size))

    :param size: to begin with.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, function: Callable[[int], Result], *, size: int | None = None, minimum: int = 1) -> Result:
        """Call a function with the batch size, and again with half of it as often as that is too much.

        :param function: each time it is called, starts anew or goes on from what is done.
        :param size: at most so much, this time.
        :param minimum: what is too much at this size is too much.
        :raises torch.OutOfMemoryError: the GPU's memory does not suffice for ``minimum``. A CPU's :class:`MemoryError`
            is passed on at once: where the system's memory is short, a smaller batch seldom helps.
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
            log.warning("The GPU's memory does not suffice for a batch of %d: %s", tried, problem)
            log.warning("Going on with batches of %d.", self.size)
            tried = self.size


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a GPU's memory does not suffice: PyTorch's own, or CTranslate2's RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
    )


def halvings() -> int:
    """How often this process has halved a batch."""
    return _halvings
