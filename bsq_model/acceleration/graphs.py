"""CUDA graphs of a network's passes: shapes that come again are recorded, and then launched as one.

A pass over a few frames is over before its few hundred kernels are launched: recorded, an image at base size
takes a sixth of the time (docs/performance.md). Axes: T frames, N tokens of a frame, F and G features.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock

import torch
from torch import Tensor

Infer = Callable[[Sequence[Tensor]], list[Tensor]]
"""Clips [T, N, F] to outputs [T, N, G]."""

_MOST_GRAPHS = 8
"""Each keeps its intermediate results; the one used longest ago goes first."""


class CudaGraphs:
    """One network's recorded passes; a shape is recorded when it is met for the second time."""

    def __init__(self) -> None:
        self._recorded: OrderedDict[tuple[object, ...], _Recorded | None] = OrderedDict()
        self._lock = Lock()

    def run(self, infer: Infer, clips_TNF: Sequence[Tensor]) -> list[Tensor]:
        """``infer(clips)``, to the same bits; ``clips`` are CUDA tensors."""
        key = (clips_TNF[0].dtype, clips_TNF[0].device, *(clip.shape for clip in clips_TNF))
        with self._lock:
            if key not in self._recorded:
                self._recorded[key] = None
                while len(self._recorded) > _MOST_GRAPHS:
                    self._recorded.popitem(last=False)
                return infer(clips_TNF)
            self._recorded.move_to_end(key)
            recorded = self._recorded[key] or _Recorded(infer, clips_TNF)
            self._recorded[key] = recorded
            return recorded.replay(clips_TNF)

    def clear(self) -> None:
        """Forget all: they read the weights where these were."""
        with self._lock:
            self._recorded.clear()

    def __deepcopy__(self, memo: object) -> "CudaGraphs":
        return CudaGraphs()

    def __reduce__(self) -> tuple[type["CudaGraphs"], tuple[()]]:
        """A copy in another process records its own."""
        return CudaGraphs, ()


class _Recorded:
    def __init__(self, infer: Infer, clips_TNF: Sequence[Tensor]) -> None:
        self._inputs = [clip.clone() for clip in clips_TNF]
        # Libraries choose and set up their kernels in a first pass, which a recording must not hold.
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            infer(self._inputs)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = infer(self._inputs)

    def replay(self, clips_TNF: Sequence[Tensor]) -> list[Tensor]:
        for kept, clip in zip(self._inputs, clips_TNF, strict=True):
            kept.copy_(clip)
        self._graph.replay()
        return [output.clone() for output in self._outputs]
