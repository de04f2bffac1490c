"""webdataset: a ``.npy`` of uint32 a clip in eight tars, read as its documentation has it.

Shuffled, the tars come in random order and a buffer of 1,000 clips mixes them. Batches are collated inside
the pipeline, straight into int64. Tars are streams: there are no single clips. From S3 it has no reader of
its own but a shell command (``pipe:aws s3 cp``); here fsspec opens the tars, which saves a process for
each.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import fsspec
import numpy as np
import torch
import webdataset

from benchmarks.reader.contender import ImpossibleError, folder_bytes
from benchmarks.reader.corpus import SHAPE_THW, TOKENS_PER_CLIP, open_corpus
from benchmarks.reader.workers import NUM_WORKERS

_NUM_TARS = 8
_BUFFER_CLIPS = 1000


class WebdatasetTars:
    """WebDataset and WebLoader."""

    title = "webdataset, .npy"
    packages = ()
    no_s3 = None
    stored_bytes = staticmethod(folder_bytes)

    @staticmethod
    def write(corpus: Path, folder: Path) -> None:
        tokens_NK = open_corpus(corpus)
        per_tar = -(-len(tokens_NK) // _NUM_TARS)
        for number in range(_NUM_TARS):
            first = number * per_tar
            with webdataset.TarWriter(str(folder / f"{number:06d}.tar")) as writer:
                for clip, tokens_K in enumerate(tokens_NK[first : first + per_tar], first):
                    writer.write({"__key__": f"{clip:09d}", "npy": np.asarray(tokens_K).reshape(SHAPE_THW)})

    def __init__(self, uri: str, *, batch_size: int, cache: Path) -> None:  # noqa: ARG002 - it keeps no copies
        webdataset.gopen_schemes["s3"] = _open_object
        self._tars = [f"{uri}/{number:06d}.tar" for number in range(_NUM_TARS)]
        self._batch_size = batch_size

    def batches(self, *, shuffled: bool, epoch: int) -> Iterator[torch.Tensor]:
        return iter(self._pipeline(shuffled=shuffled, epoch=epoch))

    def clip(self, number: int) -> torch.Tensor:
        raise ImpossibleError(f"clip {number} cannot be found in a stream")

    def worker_batches(self, *, epoch: int) -> Iterator[torch.Tensor]:
        pipeline = self._pipeline(shuffled=True, epoch=epoch)
        return iter(webdataset.WebLoader(pipeline, batch_size=None, num_workers=NUM_WORKERS))

    def _pipeline(self, *, shuffled: bool, epoch: int) -> webdataset.WebDataset:
        pipeline = webdataset.WebDataset(
            self._tars, shardshuffle=_NUM_TARS if shuffled else False, seed=epoch
        )
        if shuffled:
            pipeline = pipeline.shuffle(_BUFFER_CLIPS, seed=epoch)
        return pipeline.decode().batched(self._batch_size, collation_fn=_collated)


def _collated(samples: Sequence[dict[str, np.ndarray]]) -> torch.Tensor:
    """int64 [B, 16, 16, 16], each clip widened in the copy."""
    batch_BK = np.empty((len(samples), TOKENS_PER_CLIP), np.int64)
    for place, sample in enumerate(samples):
        batch_BK[place] = sample["npy"].reshape(-1)
    return torch.from_numpy(batch_BK.reshape(-1, *SHAPE_THW))


def _open_object(uri: str, mode: str = "rb", bufsize: int = 8192, **_: object):  # noqa: ARG001
    return fsspec.open(uri, mode).open()
