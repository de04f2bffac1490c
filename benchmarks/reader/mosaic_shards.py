"""mosaicml-streaming: MDS shards of 64 MB (its default size), read by ``StreamingDataset``.

A clip is the column type ``bytes``, which is stored and given as it is and became tokens a little quicker
than ``ndarray:uint32:16,16,16``. ``batch_size`` is told, as its documentation asks; ``num_canonical_nodes``
is 1, the number of machines, which a sequential order needs. ``predownload`` is the whole dataset: with its
default, eight batches, threads and loop wait for each other by sleeping, and a local dataset was read at
about half the speed. Shuffling is its default, ``py1e``. ``LocalDataset``, the reader without these threads,
was slower in epochs and the same for single clips.

``streaming`` imports torchvision and transformers for its picture and text datasets, and is pinned to an
older numpy than bitmill's. It is installed without its dependencies; where the two are not there, empty
modules stand in for them.
"""

import gc
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks.reader.contender import folder_bytes
from benchmarks.reader.corpus import SHAPE_THW, TOKENS_PER_CLIP, open_corpus
from benchmarks.reader.workers import NUM_WORKERS

_COLUMN = "tokens"
_SHARD_BYTES = 1 << 26
_STAND_INS = {
    "torchvision.datasets": ("VisionDataset", "CIFAR10"),
    "torchvision.transforms.functional": ("to_tensor",),
    "transformers.feature_extraction_utils": ("BatchFeature",),
    "transformers.tokenization_utils_base": ("BatchEncoding",),
    "transformers.models.auto.tokenization_auto": ("AutoTokenizer",),
}


class MosaicShards:
    """StreamingDataset, collated straight into int64."""

    title = "mosaicml-streaming, MDS"
    packages = ("streaming",)
    no_s3 = None
    stored_bytes = staticmethod(folder_bytes)

    @staticmethod
    def write(corpus: Path, folder: Path) -> None:
        columns = {_COLUMN: "bytes"}
        with _streaming().MDSWriter(out=str(folder), columns=columns, size_limit=_SHARD_BYTES) as writer:
            for tokens_K in open_corpus(corpus):
                writer.write({_COLUMN: tokens_K.tobytes()})

    def __init__(self, uri: str, *, batch_size: int, cache: Path) -> None:
        self._place = {"remote": uri, "local": str(cache)} if "://" in uri else {"local": uri}
        self._batch_size = batch_size
        self._dataset: Any = None
        self._shuffled = False

    def batches(self, *, shuffled: bool, epoch: int) -> Iterator[torch.Tensor]:
        dataset = self._opened(shuffled=shuffled, epoch=epoch)
        return iter(DataLoader(dataset, batch_size=self._batch_size, collate_fn=_collated))

    def clip(self, number: int) -> torch.Tensor:
        if self._dataset is None:
            self._opened(shuffled=False, epoch=0)
        return _collated([self._dataset[number]])[0]

    def worker_batches(self, *, epoch: int) -> Iterator[torch.Tensor]:
        dataset = self._opened(shuffled=True, epoch=epoch)
        loader = _streaming().StreamingDataLoader(
            dataset, batch_size=self._batch_size, collate_fn=_collated, num_workers=NUM_WORKERS
        )
        return iter(loader)

    def _opened(self, *, shuffled: bool, epoch: int):
        """A new dataset for each pass: two that live may not share a folder."""
        streaming = _streaming()
        self._dataset = None
        gc.collect()
        streaming.base.util.clean_stale_shared_memory()
        self._dataset = streaming.StreamingDataset(
            **self._place,
            batch_size=self._batch_size,
            shuffle=shuffled,
            shuffle_seed=epoch,
            num_canonical_nodes=1,
            predownload=1 << 30,
        )
        return self._dataset


def _collated(samples: Sequence[dict[str, bytes]]) -> torch.Tensor:
    """int64 [B, 16, 16, 16], each clip widened in the copy."""
    batch_BK = np.empty((len(samples), TOKENS_PER_CLIP), np.int64)
    for place, sample in enumerate(samples):
        batch_BK[place] = np.frombuffer(sample[_COLUMN], np.uint32)
    return torch.from_numpy(batch_BK.reshape(-1, *SHAPE_THW))


@cache
def _streaming() -> ModuleType:
    absent = {package for package in ("torchvision", "transformers") if find_spec(package) is None}
    for name, attributes in _STAND_INS.items():
        if name.partition(".")[0] in absent:
            _stand_in(name, attributes)
    import streaming

    return streaming


def _stand_in(name: str, attributes: Sequence[str]) -> None:
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        dotted = ".".join(parts[:end])
        sys.modules.setdefault(dotted, ModuleType(dotted))
    for attribute in attributes:
        setattr(sys.modules[name], attribute, type(attribute, (), {}))
