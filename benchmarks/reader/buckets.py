"""How quickly clips of several token grids are read, in batches of one grid each, against clips of one grid.

    python -m benchmarks.reader.buckets [--clips N] [--rounds N] [--seconds S] [--folder F]

The same random codes are stored twice: as clips of 16×16×16 tokens, and, by source in turn, of 16×16×16,
16×8×32 and 16×32×8. All ways of reading give shuffled int64 batches of as many tokens. In every round each is
measured once, in turn, from a warm page cache; ratios are to windows of the one grid in the same round. Those
of tokens per second of CPU time depend less on what else the machine does.
"""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.reader.corpus import SHAPE_THW, TOKENS_PER_CLIP, make_corpus
from benchmarks.reader.dataset import write_dataset
from benchmarks.repeated import ratio, summary
from bitmill.pipeline.reading import FrameWindows, GridBuckets, TokenBatches, TokenDataset

GRIDS = (SHAPE_THW[1:], (8, 32), (32, 8))
_REFERENCE = "windows of one grid"


def readers(one: Path, several: Path, batch_size: int) -> dict[str, TokenBatches]:
    """The ways of reading, the reference first."""
    alike, mixed = (TokenDataset(folder, view="integers") for folder in (one, several))
    windows, budget = FrameWindows(SHAPE_THW[0]), batch_size * TOKENS_PER_CLIP
    options: dict[str, Any] = {"shuffle": True, "remainder": "keep"}
    return {
        _REFERENCE: TokenBatches(alike, batch_size=batch_size, shape=windows, **options),
        "buckets, one grid": TokenBatches(
            alike, batch_size=batch_size, shape=GridBuckets(windows), **options
        ),
        "buckets, three grids": TokenBatches(
            mixed, batch_size=batch_size, shape=GridBuckets(windows), **options
        ),
        "buckets, three grids, by tokens": TokenBatches(
            mixed, shape=GridBuckets(windows, tokens_per_batch=budget), **options
        ),
    }


def rate(batches: TokenBatches, seconds: float) -> tuple[float, float]:
    """Tokens per second of time, and of the processor's, over whole epochs of at least ``seconds``."""
    begun, worked, tokens = time.perf_counter(), time.process_time(), 0
    while (taken := time.perf_counter() - begun) < seconds or not tokens:
        for batch in batches:
            tokens += batch["tokens"].numel()
    return tokens / taken, tokens / (time.process_time() - worked)


def short_batches(batches: TokenBatches, batch_size: int) -> tuple[float, float]:
    """The share of an epoch's batches that are not full, and the mean size of all, as a share of full."""
    sizes = np.array([batch["global_samples"] for batch in batches])
    return float((sizes < batch_size).mean()), float(sizes.mean()) / batch_size


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reader.buckets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--clips", type=int, default=20_000, help="of 4,096 tokens (default: %(default)s)")
    add("--batch", type=int, default=64, help="clips a batch (default: %(default)s)")
    add("--rounds", type=int, default=9, help="repetitions (default: %(default)s)")
    add("--seconds", type=float, default=1.0, help="of each measurement (default: %(default)s)")
    add("--folder", type=Path, help="keep what is written here (default: a temporary folder)")
    asked = parser.parse_args()
    where = machine.describe(["torch", "numpy", "numba", "pyarrow"])
    with ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        one, several = (folder / f"{asked.clips}-{name}" for name in ("one", "several"))
        corpus = folder / f"{asked.clips}-corpus.bin"
        make_corpus(corpus, asked.clips)
        for place, grids in ((one, GRIDS[:1]), (several, GRIDS)):
            if not place.exists():
                write_dataset(corpus, place, grids=grids)
        every = readers(one, several, asked.batch)
        short = {
            name: short_batches(batches, asked.batch) for name, batches in islice(every.items(), 1, None)
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in every}
        for name in islice(cycle(every), asked.rounds * len(every)):
            found[name].append(rate(every[name], asked.seconds))
    print(f"{asked.clips:,} clips of {TOKENS_PER_CLIP:,} tokens, batches of {asked.batch}, ", end="")
    print(f"{asked.rounds} rounds; {machine.sentence(where)}\n")
    print("| | Mtok/s: median (min–max) | × windows | × of CPU time | not full batches | mean batch |")
    print("|---|---|---|---|---|---|")
    references = [summary(rates) for rates in zip(*found[_REFERENCE], strict=True)]
    for name, rates in found.items():
        told = [summary(own) for own in zip(*rates, strict=True)]
        middle, low, high = (round(told[0][key] / 1e6) for key in ("median", "min", "max"))
        cells = [f"{ratio(*pair):.2f}" for pair in zip(told, references, strict=True)]
        cells += [f"{share:.1%}" for share in short[name]] if name in short else ["–", "–"]
        print(f"| {name} | {middle} ({low}–{high}) | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
