"""Allocates CPU tensors on 2 MiB pages, for weights and buffers that matrix products use repeatedly.

A layer's weights span thousands of the usual 4 KiB pages, more than a core's TLB has entries. The gain varies
with the machine's load, from nothing to a sixth of a pass (docs/performance.md); results are bit-identical.
Huge pages are requested by ``madvise(2)``'s ``MADV_HUGEPAGE``; if the kernel has none, memory is as usual.
"""

import mmap
from collections.abc import Iterable, Mapping
from itertools import accumulate

import torch
from torch import Tensor, nn

_PAGE_BYTES = 2 << 20
_LINE_BYTES = 64


def empty_on_huge_pages(like: Iterable[Tensor]) -> list[Tensor]:
    """Return uninitialized CPU tensors with the shapes and dtypes of ``like``, contiguous on huge pages.

    If together they do not fill one huge page, they are normal tensors.
    """
    like = list(like)
    sizes = [-(-tensor.nbytes // _LINE_BYTES) * _LINE_BYTES for tensor in like]
    memory = _mapped(sum(sizes)) if sum(sizes) >= _PAGE_BYTES else None
    if memory is None:
        return [torch.empty(tensor.shape, dtype=tensor.dtype) for tensor in like]
    starts = accumulate(sizes, initial=0)
    pairs = zip(like, starts, strict=False)  # The last start is the end.
    return [_view(memory[start : start + tensor.nbytes], tensor) for tensor, start in pairs]


def copies_on_huge_pages(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies of the tensors under the same names, on huge pages."""
    empty = empty_on_huge_pages(tensors.values())
    return {name: copy.copy_(tensor) for (name, tensor), copy in zip(tensors.items(), empty, strict=True)}


@torch.inference_mode(mode=False)
@torch.no_grad()
def put_on_huge_pages(network: nn.Module) -> None:
    """Move a CPU network's parameters and buffers to huge pages; objects and values stay the same."""
    tensors = [*network.parameters(), *network.buffers()]
    for tensor, empty in zip(tensors, empty_on_huge_pages(tensors), strict=True):
        tensor.data = empty.copy_(tensor)


def _mapped(num_bytes: int) -> memoryview | None:
    """Map ``num_bytes``, aligned to a huge page, freed with the last view; None if unsupported."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    whole_pages = -(-num_bytes // _PAGE_BYTES) * _PAGE_BYTES
    try:
        mapping = mmap.mmap(-1, whole_pages + _PAGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        mapping.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # The kernel has no huge pages, or memory is exhausted, which torch reports.
        return None
    start = -torch.frombuffer(mapping, dtype=torch.uint8).data_ptr() % _PAGE_BYTES
    return memoryview(mapping)[start : start + num_bytes]


def _view(memory: memoryview, like: Tensor) -> Tensor:
    if not memory.nbytes:
        return torch.empty(like.shape, dtype=like.dtype)
    return torch.frombuffer(memory, dtype=like.dtype).view(like.shape)
