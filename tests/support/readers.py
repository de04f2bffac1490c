"""What tests ask of training readers: the ids of their batches, and the same from a process of its own."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bitmill.pipeline.reading import Padding, TokenBatches, TokenDataset
from tests.support.random_datasets import Shape, write_dataset

Ids = list[list[str]]

LENGTHS = (4, 4, 1, 3)


def write_odd_dataset(uri: str) -> None:
    """Six shards, one larger, of 200 clips of unequal lengths, on a grid of 5×3, of 13 bits."""
    shapes: list[list[Shape]] = [[] for _ in range(6)]
    for number in range(200):
        shapes[number % 7 % 6].append((LENGTHS[number % len(LENGTHS)], 5, 3))
    write_dataset(uri, shapes, bits_per_token=13)


def odd_batches(data: str | Path | TokenDataset, **options: Any) -> TokenBatches:
    """Small shuffled batches, from many windows, with the clips' ids."""
    if not isinstance(data, TokenDataset):
        data = TokenDataset(data, view="integers", columns=("clip_id",))
    return TokenBatches(
        data,
        **{"batch_size": 12, "shuffle": True, "seed": 5, "shape": Padding(), "window_bytes": 4096} | options,
    )


def ids_of(batches: Iterable[dict[str, Any]]) -> Ids:
    return [batch["clip_id"] for batch in batches]
