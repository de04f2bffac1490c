"""bitmill's reader over a committed dataset, with its defaults: page checksums are verified in epochs.

``TokenBatches`` in the training process, whose own threads read and unpack; single clips by ``TokenDataset``.
With workers, each process has these threads, and hands over whole batches of int64.
"""

from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.reader.contender import folder_bytes
from benchmarks.reader.dataset import write_dataset
from benchmarks.reader.workers import NUM_WORKERS
from bitmill.pipeline.reading import TokenBatches, TokenDataset, TokenLoader
from bitmill.schemas.dataset.card import TOKENIZER_FOLDER


class Ours:
    """TokenBatches for epochs, TokenDataset for single clips, TokenLoader for workers."""

    title = "bitmill"
    packages = ()
    no_s3 = None
    write = staticmethod(write_dataset)

    @staticmethod
    def stored_bytes(folder: Path) -> int:
        """All but the tokenizer: shards, plan, ledgers, card."""
        return folder_bytes(folder) - folder_bytes(folder / TOKENIZER_FOLDER)

    def __init__(self, uri: str, *, batch_size: int, cache: Path) -> None:  # noqa: ARG002 - reads in place
        dataset = TokenDataset(uri, view="integers")
        self._dataset = dataset
        # As a training run does: one for all epochs, which goes on using the same memory. ``keep``: the last
        # clips are not left out, so that all can be compared with what was stored.
        self._epochs = {
            shuffled: TokenBatches(dataset, batch_size=batch_size, shuffle=shuffled, remainder="keep")
            for shuffled in (False, True)
        }

    def batches(self, *, shuffled: bool, epoch: int) -> Iterator[torch.Tensor]:
        return (batch["tokens"] for batch in self._epoch(shuffled=shuffled, epoch=epoch))

    def clip(self, number: int) -> torch.Tensor:
        return self._dataset[number]["tokens"]

    def worker_batches(self, *, epoch: int) -> Iterator[torch.Tensor]:
        loader = TokenLoader(self._epoch(shuffled=True, epoch=epoch), num_workers=NUM_WORKERS)
        return (batch["tokens"] for batch in loader)

    def _epoch(self, *, shuffled: bool, epoch: int) -> TokenBatches:
        batches = self._epochs[shuffled]
        batches.set_epoch(epoch)
        return batches
