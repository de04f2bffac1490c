"""Captures a network's passes as CUDA graphs when their input shapes repeat.

A pass over a few frames takes less time than launching its few hundred kernels: as a graph, an image at base
size takes a sixth of the time (docs/performance.md). Axes: T frames, h and w tokens, F and G features.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from threading import Lock
from typing import Protocol

import torch
from torch import Tensor

Infer = Callable[[Sequence[Tensor]], list[Tensor]]
"""Maps clips [T, h, w, F] to outputs [T, h, w, G]."""


class Recording(Protocol):
    """A pass over inputs of fixed shapes; keeps ``reads`` alive, which ``infer`` reads."""

    def __init__(self, infer: Infer, clips_ThwF: Sequence[Tensor], reads: Tensor, /) -> None: ...

    def replay(self, clips_ThwF: Sequence[Tensor], /) -> list[Tensor]:
        """Return ``infer(clips)`` in new memory."""
        ...


_MOST_GRAPHS = 8
"""Each graph keeps its intermediate results in memory; the least recently used is evicted first."""


class CudaGraphs:
    """One network's CUDA graphs; a shape is captured the second time it occurs."""

    def __init__(self, record: type[Recording] | None = None) -> None:
        self._record = record or _Recorded
        self._recorded: OrderedDict[tuple[object, ...], Recording | None] = OrderedDict()
        self._lock = Lock()

    def run(
        self, infer: Infer, clips_ThwF: Sequence[Tensor], *, reads: Tensor, kind: Hashable = None
    ) -> list[Tensor]:
        """Return ``infer(clips)``, bit-identical; ``clips`` are CUDA tensors.

        ``infer`` is the same for the same ``kind``. It reads the network's weights and ``reads``, which a
        graph keeps alive.
        """
        like = clips_ThwF[0].dtype, clips_ThwF[0].device
        key = (kind, id(reads), *like, *(clip.shape for clip in clips_ThwF))
        with self._lock:
            if key not in self._recorded:
                self._recorded[key] = None
                while len(self._recorded) > _MOST_GRAPHS:
                    self._recorded.popitem(last=False)
                return infer(clips_ThwF)
            self._recorded.move_to_end(key)
            recorded = self._recorded[key] or self._record(infer, clips_ThwF, reads)
            self._recorded[key] = recorded
            return recorded.replay(clips_ThwF)

    def clear(self) -> None:
        """Drop all graphs, because they read the weights at their old addresses."""
        with self._lock:
            self._recorded.clear()

    def __deepcopy__(self, memo: object) -> "CudaGraphs":
        return CudaGraphs(self._record)

    def __reduce__(self) -> tuple[type["CudaGraphs"], tuple[type[Recording]]]:
        """Pickle without graphs: another process captures its own."""
        return CudaGraphs, (self._record,)


class _Recorded:
    def __init__(self, infer: Infer, clips_ThwF: Sequence[Tensor], reads: Tensor) -> None:
        self._reads = reads
        self._inputs = [clip.clone() for clip in clips_ThwF]
        # Libraries choose and initialize their kernels in a first pass, which must not be captured.
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            infer(self._inputs)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = infer(self._inputs)

    def replay(self, clips_ThwF: Sequence[Tensor]) -> list[Tensor]:
        for kept, clip in zip(self._inputs, clips_ThwF, strict=True):
            kept.copy_(clip)
        self._graph.replay()
        return [output.clone() for output in self._outputs]
