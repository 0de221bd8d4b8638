"""Kernels that are recorded once and then started all together.

A step of the decoder is some hundreds of small kernels, and to start each from Python takes longer than most of them
run. As a CUDA graph they are started in one go.
"""

from __future__ import annotations

from collections.abc import Callable

import torch


class Recorded:
    """A function of one number whose work on the GPU is recorded, once for each number.

    :param function: works in place, on tensors that stay where they are, and never waits for the GPU.
    """

    def __init__(self, function: Callable[[int], None]) -> None:
        self._function = function
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, number: int) -> None:
        """Do what the function does."""
        if number in self._graphs:
            self._graphs[number].replay()
            return
        # As it is, the first time: libraries set themselves up, and where memory is short, that shows.
        self._function(number)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            self._function(number)
        self._graphs[number] = graph
