"""litdata, as its documentation has it for tokens: ``optimize`` with a ``TokensLoader``; a block is a clip.

A ``TokensLoader`` cuts blocks out of mapped chunks without deserializing. Of the forms that were tried (the
others: int32 tensors, numpy arrays, dictionaries of arrays, each as litdata stores it by default) it was by
far the quickest for single clips and with workers, and level with the best in epochs. Chunks of 64 MB, as in
its documentation. Tokens are stored and collated as int32, so that a worker hands over half the bytes, and
widened in the training process. Local folders are mapped in place (its "POSIX-fast" mode, the default); from
S3, chunks are copied to the cache first. Shuffling is its default: chunks in random order, clips in random
order within blocks of 256 of a chunk. A batch so comes from one or two chunks: those of ``LitdataMixed`` are
small enough that an epoch is mixed as well as bitmill's. (Its shuffling can be set by chunks alone.)
"""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from benchmarks.reader.contender import folder_bytes
from benchmarks.reader.corpus import SHAPE_THW, TOKENS_PER_CLIP, open_corpus
from benchmarks.reader.workers import NUM_WORKERS


class LitdataChunks:
    """StreamingDataset and StreamingDataLoader."""

    title = "litdata, TokensLoader"
    packages = ("litdata",)
    no_s3 = None
    stored_bytes = staticmethod(folder_bytes)
    _chunks: ClassVar[dict[str, str | int]] = {"chunk_bytes": "64MB"}

    @classmethod
    def write(cls, corpus: Path, folder: Path) -> None:
        import litdata

        litdata.optimize(
            fn=partial(stored_clip, corpus),
            inputs=list(range(len(open_corpus(corpus)))),
            output_dir=str(folder),
            **cls._chunks,
            num_workers=1,
            item_loader=litdata.TokensLoader(block_size=TOKENS_PER_CLIP),
            verbose=False,
        )

    def __init__(self, uri: str, *, batch_size: int, cache: Path) -> None:
        if os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"):
            _allow_http()
        self._uri = uri
        self._batch_size = batch_size
        self._cache = cache
        self._single = self._dataset(shuffled=False, epoch=0)

    def batches(self, *, shuffled: bool, epoch: int) -> Iterator[torch.Tensor]:
        return self._batches(self._dataset(shuffled=shuffled, epoch=epoch), num_workers=0)

    def clip(self, number: int) -> torch.Tensor:
        return self._single[number].to(torch.int64).view(SHAPE_THW)

    def worker_batches(self, *, epoch: int) -> Iterator[torch.Tensor]:
        return self._batches(self._dataset(shuffled=True, epoch=epoch), num_workers=NUM_WORKERS)

    def _dataset(self, *, shuffled: bool, epoch: int):
        import litdata

        return litdata.StreamingDataset(
            self._uri,
            cache_dir=str(self._cache) if "://" in self._uri else None,
            item_loader=litdata.TokensLoader(block_size=TOKENS_PER_CLIP),
            shuffle=shuffled,
            seed=epoch,
        )

    def _batches(self, dataset, *, num_workers: int) -> Iterator[torch.Tensor]:
        import litdata

        loader = litdata.StreamingDataLoader(dataset, batch_size=self._batch_size, num_workers=num_workers)
        return (batch_BK.to(torch.int64).view(-1, *SHAPE_THW) for batch_BK in loader)


class LitdataMixed(LitdataChunks):
    """The same, with chunks of two clips."""

    title = "litdata, TokensLoader, mixed"
    # In tokens, as its TokensLoader counts.
    _chunks: ClassVar[dict[str, str | int]] = {"chunk_size": 2 * TOKENS_PER_CLIP}


def _allow_http() -> None:
    """Its quick client of S3 refuses a server without TLS, and has no option for it that a user could set."""
    from litdata.streaming import downloader

    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True


def stored_clip(corpus: Path, number: int) -> torch.Tensor:
    """What is stored of one clip: int32 [T·h·w]."""
    return torch.from_numpy(open_corpus(corpus)[number].astype(np.int32))
