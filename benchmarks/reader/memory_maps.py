"""One flat file, mapped: tokens and nothing beside them, as quick as a machine's page cache allows.

``Uint32Map`` stores four bytes a token and widens them in the one copy that makes the batch. ``PackedMap``
stores 18 bits a token, as bitmill's shards do, and unpacks a whole batch with bitmill's compiled unpacker: a
clip's 4,096 tokens fill whole bytes, so clips that are laid end to end unpack in one go.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.reader.contender import folder_bytes
from benchmarks.reader.corpus import BITS_PER_TOKEN, SHAPE_THW, TOKENS_PER_CLIP, open_corpus
from benchmarks.reader.workers import clip_numbers, worker_batches
from bitmill.pipeline.reading.kernels.unpack import unpack_into
from bitmill.schemas.dataset.packing import pack_integers, packed_size

_FILE = "tokens.bin"
_CLIP_BYTES = packed_size(TOKENS_PER_CLIP, BITS_PER_TOKEN)
_BLOCK_CLIPS = 256
_NO_S3 = "a memory map needs a local file"


class Uint32Map:
    """uint32 [N, T·h·w]."""

    title = "uint32 memory map"
    packages = ()
    no_s3 = _NO_S3
    stored_bytes = staticmethod(folder_bytes)

    @staticmethod
    def write(corpus: Path, folder: Path) -> None:
        open_corpus(corpus).tofile(folder / _FILE)

    def __init__(self, uri: str, *, batch_size: int, cache: Path) -> None:  # noqa: ARG002 - nothing to cache
        self._batch_size = batch_size
        self._tokens_NK = np.memmap(Path(uri) / _FILE, np.uint32, "r").reshape(-1, TOKENS_PER_CLIP)

    def batches(self, *, shuffled: bool, epoch: int) -> Iterator[torch.Tensor]:
        return map(self._take, self._numbers(shuffled=shuffled, epoch=epoch))

    def clip(self, number: int) -> torch.Tensor:
        return torch.from_numpy(self._tokens_NK[number].astype(np.int64).reshape(SHAPE_THW))

    def worker_batches(self, *, epoch: int) -> Iterator[torch.Tensor]:
        return worker_batches(self._take, self._numbers(shuffled=True, epoch=epoch))

    def _numbers(self, *, shuffled: bool, epoch: int) -> Iterator[range | list[int]]:
        return clip_numbers(len(self._tokens_NK), batch_size=self._batch_size, shuffled=shuffled, epoch=epoch)

    def _take(self, numbers: Sequence[int]) -> torch.Tensor:
        if isinstance(numbers, range):
            taken_BK = self._tokens_NK[numbers.start : numbers.stop].astype(np.int64)
        else:
            # Row by row: widened in the copy. numpy's own indexing would copy first and widen then.
            taken_BK = np.empty((len(numbers), TOKENS_PER_CLIP), np.int64)
            for place, number in enumerate(numbers):
                taken_BK[place] = self._tokens_NK[number]
        return torch.from_numpy(taken_BK.reshape(-1, *SHAPE_THW))


class PackedMap:
    """uint8 [N, bytes of a clip]: each clip's codes, as the ``codes`` column holds them."""

    title = "packed 18-bit memory map"
    packages = ()
    no_s3 = _NO_S3
    stored_bytes = staticmethod(folder_bytes)

    @staticmethod
    def write(corpus: Path, folder: Path) -> None:
        tokens_NK = open_corpus(corpus)
        with (folder / _FILE).open("wb") as file:
            for first in range(0, len(tokens_NK), _BLOCK_CLIPS):
                block = tokens_NK[first : first + _BLOCK_CLIPS].astype(np.uint64).reshape(-1)
                file.write(pack_integers(block, BITS_PER_TOKEN))

    def __init__(self, uri: str, *, batch_size: int, cache: Path) -> None:  # noqa: ARG002 - nothing to cache
        self._batch_size = batch_size
        self._codes_NB = np.memmap(Path(uri) / _FILE, np.uint8, "r").reshape(-1, _CLIP_BYTES)

    def batches(self, *, shuffled: bool, epoch: int) -> Iterator[torch.Tensor]:
        return map(self._take, self._numbers(shuffled=shuffled, epoch=epoch))

    def clip(self, number: int) -> torch.Tensor:
        return self._unpacked(self._codes_NB[number : number + 1])[0]

    def worker_batches(self, *, epoch: int) -> Iterator[torch.Tensor]:
        return worker_batches(self._take, self._numbers(shuffled=True, epoch=epoch))

    def _numbers(self, *, shuffled: bool, epoch: int) -> Iterator[range | list[int]]:
        return clip_numbers(len(self._codes_NB), batch_size=self._batch_size, shuffled=shuffled, epoch=epoch)

    def _take(self, numbers: Sequence[int]) -> torch.Tensor:
        if isinstance(numbers, range):
            return self._unpacked(self._codes_NB[numbers.start : numbers.stop])
        return self._unpacked(self._codes_NB[numbers])

    @staticmethod
    def _unpacked(codes_NB: np.ndarray) -> torch.Tensor:
        index_N = np.empty(len(codes_NB) * TOKENS_PER_CLIP, np.int64)
        unpack_into(codes_NB.reshape(-1), index_N, BITS_PER_TOKEN)
        return torch.from_numpy(index_N.reshape(-1, *SHAPE_THW))
