"""Measures how well an order mixes, compared to a uniform shuffle of all samples, without reading."""

from dataclasses import dataclass
from math import exp, lgamma

import numpy as np

from bitmill.pipeline.reading.order.batch_plan import Share, plan_epoch
from bitmill.pipeline.reading.order.epoch_order import PassOrder
from bitmill.schemas.arrays import Int64s


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """Two figures of an epoch; a uniform shuffle has a diversity of 1 and a spread near 1."""

    diversity: float
    """Mean number of row groups that a batch draws from, relative to a uniform shuffle. A row group contains
    neighbours: clips of one video, or of videos that were listed together."""
    spread: float
    """Mean number of batches between the first and the last that draw from a row group, relative to those of
    the epoch: how long a row group's samples keep appearing. Small if windows are small relative to the
    dataset."""


def measure_mixing(order: PassOrder, samples: Int64s, batch_size: int) -> Mixing:
    """Measure a pass over row groups of ``samples`` [n] each, in batches of ``batch_size``."""
    share = Share(batch_size=batch_size, first=0, count=batch_size)
    num_batches = order.num_samples // batch_size
    drawn = [
        np.concatenate(
            [
                _groups_of(order, samples, one.window)[one.first : one.first + one.num_samples]
                for one in plan_epoch(order, 0, batch, share, "drop")
            ]
        )
        for batch in range(num_batches)
    ]
    if not drawn:
        return Mixing(diversity=0.0, spread=0.0)
    distinct = float(np.mean([len(np.unique(groups)) for groups in drawn]))
    groups = np.concatenate(drawn)
    at = np.repeat(np.arange(num_batches), batch_size)
    order_of = np.lexsort((at, groups))
    _, firsts, counts = np.unique(groups[order_of], return_index=True, return_counts=True)
    lasts = at[order_of][firsts + counts - 1]
    spread = float(np.mean(lasts - at[order_of][firsts] + 1)) / num_batches
    return Mixing(diversity=distinct / _uniform(samples, batch_size), spread=spread)


def _groups_of(order: PassOrder, samples: Int64s, window: int) -> Int64s:
    """The row group of each of a window's samples, in the pass's order."""
    groups = order.groups_of(window)
    return np.repeat(groups, samples[groups])[order.samples_of(window)]


def _uniform(samples: Int64s, batch_size: int) -> float:
    """Expected row groups in a batch drawn uniformly without replacement (hypergeometric)."""
    total = int(samples.sum())
    missed = [
        exp(_log_choose(total - int(count), batch_size) - _log_choose(total, batch_size))
        if total - count >= batch_size
        else 0.0
        for count in samples
    ]
    return len(samples) - sum(missed)


def _log_choose(total: int, chosen: int) -> float:
    return lgamma(total + 1) - lgamma(chosen + 1) - lgamma(total - chosen + 1)
