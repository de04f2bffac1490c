"""How well a shuffled epoch mixes, from what came: the figures of ``TokenBatches.mixing``, for any reader."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

NEIGHBOURS = 456
"""Consecutive clips that count as one place: those of a row group of 4 MiB, whatever the files."""

Numbers = npt.NDArray[np.int64]


def mixing(batches: Sequence[Numbers]) -> dict[str, float]:
    """Diversity and spread of batches of clip numbers, each over that of a uniform shuffle of the same clips.

    diversity: places that a batch draws from. spread: batches from the first to the last that draws from a
    place. 1 is as good as a uniform shuffle; small is nearly in order.
    """
    sizes = [len(batch) for batch in batches]
    uniform = np.random.default_rng(0).permutation(sum(sizes))
    reference = _figures(np.split(uniform, np.cumsum(sizes)[:-1]))
    return {name: value / reference[name] for name, value in _figures(batches).items()}


def _figures(batches: Sequence[Numbers]) -> dict[str, float]:
    places = [np.unique(batch // NEIGHBOURS) for batch in batches]
    at = np.repeat(np.arange(len(batches)), [len(drawn) for drawn in places])
    every = np.concatenate(places)
    spans = [at[every == place][-1] - at[every == place][0] + 1 for place in np.unique(every)]
    return {"diversity": float(np.mean([len(drawn) for drawn in places])), "spread": float(np.mean(spans))}
