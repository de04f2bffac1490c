"""The very shards of bitmill's dataset, read by plain pyarrow, as one would after a look at docs/format.md.

One row group is read at a time, the ``codes`` column alone, and its clips are unpacked one by one into a
batch, by bitmill's compiled unpacker. Shuffled, the row groups come in random order, and the clips of each in
random order; two workers share the row groups. A single clip costs the row group in which it stands. Files
stay open; checksums are not asked for.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from benchmarks.reader.corpus import BITS_PER_TOKEN, SHAPE_THW, TOKENS_PER_CLIP
from benchmarks.reader.ours import Ours
from benchmarks.reader.workers import NUM_WORKERS
from bitmill.pipeline.dataset.dataset_folder import load_plan, require_card
from bitmill.pipeline.reading.kernels.unpack import unpack_into
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import shard_file


class PlainParquet:
    """pyarrow alone, once the plan has told the order of the files."""

    title = "the same shards, plain pyarrow"
    packages = ()
    no_s3 = None
    write = staticmethod(Ours.write)
    stored_bytes = staticmethod(Ours.stored_bytes)

    def __init__(self, uri: str, *, batch_size: int, cache: Path) -> None:  # noqa: ARG002 - reads in place
        self._batch_size = batch_size
        folder = Folder(uri)
        names = [shard_file(shard.shard_id) for shard in load_plan(folder, require_card(folder))]
        self._files = [f"{uri}/{name}" for name in names]
        self._open: dict[int, pq.ParquetFile] = {}
        self._groups = [
            (number, group)
            for number in range(len(self._files))
            for group in range(self._file(number).num_row_groups)
        ]
        rows = [self._file(number).metadata.row_group(group).num_rows for number, group in self._groups]
        self._firsts = [0, *accumulate(rows)]

    def batches(self, *, shuffled: bool, epoch: int) -> Iterator[torch.Tensor]:
        generator = np.random.default_rng(epoch) if shuffled else None
        groups = range(len(self._groups))
        order = groups if generator is None else generator.permutation(groups).tolist()
        return self._epoch(order, generator)

    def clip(self, number: int) -> torch.Tensor:
        place = bisect_right(self._firsts, number) - 1
        return _unpacked([self._codes(place)[number - self._firsts[place]].as_buffer()])[0]

    def worker_batches(self, *, epoch: int) -> Iterator[torch.Tensor]:
        self._open.clear()  # a forked worker opens its own files
        return iter(DataLoader(_Share(self, epoch), batch_size=None, num_workers=NUM_WORKERS))

    def share(self, epoch: int, worker: int, num_workers: int) -> Iterator[torch.Tensor]:
        """A worker's part of a shuffled epoch: every so manieth row group."""
        generator = np.random.default_rng(epoch)
        order = generator.permutation(len(self._groups)).tolist()
        return self._epoch(order[worker::num_workers], generator)

    def _epoch(self, places: Sequence[int], generator: np.random.Generator | None) -> Iterator[torch.Tensor]:
        waiting = []
        for place in places:
            codes = self._codes(place)
            rows = range(len(codes)) if generator is None else generator.permutation(len(codes)).tolist()
            waiting += [codes[row].as_buffer() for row in rows]
            while len(waiting) >= self._batch_size:
                yield _unpacked(waiting[: self._batch_size])
                del waiting[: self._batch_size]
        if waiting:
            yield _unpacked(waiting)

    def _codes(self, place: int):
        number, group = self._groups[place]
        return self._file(number).read_row_group(group, columns=["codes"]).column("codes").chunk(0)

    def _file(self, number: int) -> pq.ParquetFile:
        if number not in self._open:
            uri = self._files[number]
            self._open[number] = pq.ParquetFile(fsspec.open(uri, "rb").open() if "://" in uri else uri)
        return self._open[number]


class _Share(IterableDataset[torch.Tensor]):
    def __init__(self, reader: PlainParquet, epoch: int) -> None:
        self._reader = reader
        self._epoch = epoch

    def __iter__(self) -> Iterator[torch.Tensor]:
        info = get_worker_info()
        return self._reader.share(self._epoch, info.id, info.num_workers)


def _unpacked(codes: Sequence[object]) -> torch.Tensor:
    """int64 [B, 16, 16, 16] of clips' buffers."""
    batch_BK = np.empty((len(codes), TOKENS_PER_CLIP), np.int64)
    for place, buffer in enumerate(codes):
        unpack_into(np.frombuffer(buffer, np.uint8), batch_BK[place], BITS_PER_TOKEN)
    return torch.from_numpy(batch_BK.reshape(-1, *SHAPE_THW))
