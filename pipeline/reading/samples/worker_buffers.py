"""Shared memory for the batches of a DataLoader worker process, used again once their receiver dropped them.

Otherwise each batch's tensor is a new file in shared memory: its pages are faulted in one by one, and its
descriptor is requested over a socket. That costs ten times what reading and unpacking the batch do.

A tensor that arrived is this memory itself. A process that is forked while it is held sees it change once it
is dropped here.
"""

import os
from itertools import count
from math import prod
from multiprocessing import process
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, cast
from uuid import uuid4
from weakref import finalize

import numpy as np
import numpy.typing as npt
import torch

from bitmill.pipeline.reading.kernels.unpack import address_of
from bitmill.pipeline.reading.shards.buffer_pool import BufferPool

_FLAG_BYTES = 1
"""The last byte of a buffer is 1 while a receiver has it."""

Bytes = npt.NDArray[np.uint8]


class Lent(NamedTuple):
    """What a message says instead of a tensor."""

    pool: tuple[int, str]
    """The process of its buffer, and a name that no other pool has."""
    number: int
    """Of the buffer."""
    buffer: torch.Tensor | None
    """The buffer, the first time that it is sent."""
    kept: list[int]
    """Numbers of all buffers that the pool has."""
    size: tuple[int, ...]
    dtype: type[np.generic]


class WorkerBuffers(BufferPool):
    """Buffers in shared memory. Safe for threads."""

    def renew(self) -> None:
        """Drop all buffers; receivers keep theirs."""
        super().renew()
        self._pool = (os.getpid(), uuid4().hex)
        self._numbers = count()
        self._number_at: dict[int, int] = {}
        """By address, of each buffer."""
        self._sent: set[int] = set()

    def empty(self, size: tuple[int, ...], dtype: type[np.generic]) -> npt.NDArray[Any]:
        """An array in shared memory of undefined contents."""
        num_bytes = prod(size) * np.dtype(dtype).itemsize
        return self.take(num_bytes + _FLAG_BYTES)[:num_bytes].view(dtype).reshape(size)

    def lend(self, tensor: torch.Tensor) -> Lent | None:
        """A message for ``received``, of a tensor over an array of ``empty``; None for an empty one."""
        array = tensor.numpy()
        with self._lock:
            buffers = {address_of(buffer): buffer for buffer in self._arrays}
            buffer = buffers.get(address_of(array))
            if buffer is None:
                return None
            number = self._number_at[address_of(array)]
            kept = [self._number_at[address] for address in buffers]
            first = number not in self._sent
            self._sent = self._sent.intersection(kept) | {number}
            buffer[-1] = 1
        # The array's base is the tensor whose memory is shared.
        base = cast(torch.Tensor, buffer.base) if first else None
        return Lent(self._pool, number, base, kept, array.shape, array.dtype.type)

    def _new(self, num_bytes: int) -> Bytes:
        buffer = torch.zeros(num_bytes, dtype=torch.uint8).share_memory_().numpy()
        self._number_at[address_of(buffer)] = next(self._numbers)
        return buffer

    def _is_lent(self, array: Bytes) -> bool:
        return bool(array[-1])


class _Lease:
    """A received buffer; gives it back when the last array or tensor over it is gone."""

    def __init__(self, buffer: Bytes) -> None:
        self._buffer = buffer
        self._process = os.getpid()
        self.__array_interface__ = buffer.__array_interface__

    def __del__(self) -> None:
        # A process that this one forks has copies of its leases.
        if os.getpid() == self._process:
            self._buffer[-1] = 0


_RECEIVED: dict[tuple[int, str], dict[int, Bytes]] = {}
"""By pool, its buffers."""


def received(lent: Lent) -> torch.Tensor:
    """The tensor of a message from a worker process."""
    buffers = _RECEIVED.get(lent.pool)
    if buffers is None:
        buffers = _RECEIVED[lent.pool] = {}
        # Not by active_children(), which would reap a killed worker: torch would not hear of it at once.
        children: set[BaseProcess] = getattr(process, "_children", set())
        for child in list(children):
            if child.pid == lent.pool[0]:
                finalize(child, _RECEIVED.pop, lent.pool, None)
    if lent.buffer is not None:
        buffers[lent.number] = lent.buffer.numpy()
    buffer = buffers[lent.number]
    for number in buffers.keys() - set(lent.kept):
        del buffers[number]
    num_bytes = prod(lent.size) * np.dtype(lent.dtype).itemsize
    whole = np.asarray(_Lease(buffer))
    return torch.from_numpy(whole[:num_bytes].view(lent.dtype).reshape(lent.size))
