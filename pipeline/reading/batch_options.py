"""Checks the options of TokenBatches, and chooses what makes its batches."""

from collections.abc import Iterable, Sequence
from math import inf
from numbers import Real
from typing import cast

import numpy as np

from bitmill.pipeline.reading.bucket_plans import BucketPlans
from bitmill.pipeline.reading.dataset import TokenDataset
from bitmill.pipeline.reading.epoch_plans import EpochPlans, MixturePlans, OrderOptions, StreamPlans
from bitmill.pipeline.reading.index.index import scales_of
from bitmill.pipeline.reading.order.batch_plan import Remainder
from bitmill.pipeline.reading.order.epoch_order import choose_lanes, most_lanes
from bitmill.pipeline.reading.samples.collate import BatchMaker
from bitmill.pipeline.reading.samples.cut import SampleShape
from bitmill.pipeline.reading.samples.grid_buckets import GridBuckets, Grids, unbucketed
from bitmill.pipeline.reading.samples.sample_shapes import Clips, Packing
from bitmill.pipeline.reading.samples.worker_buffers import WorkerBuffers
from bitmill.pipeline.reading.shards.buffer_pool import BufferPool
from bitmill.pipeline.reading.shards.row_groups import ClipSource
from bitmill.schemas.arrays import Int64s
from bitmill.schemas.errors import WrongArgumentError
from bitmill.schemas.models.geometry import Grid

Weighted = tuple[TokenDataset, float]

_KEPT_BUFFERS = 64


def weighted(data: object) -> list[Weighted]:
    """The datasets of a mixture with their weights, or one dataset. Raises WrongArgumentError for others."""
    if isinstance(data, TokenDataset):
        return [(data, 1.0)]
    found: list[Weighted] = []
    for one in (
        cast(Iterable[object], data) if isinstance(data, Iterable) and not isinstance(data, str) else [data]
    ):
        match one:
            case (TokenDataset() as dataset, Real() as weight):
                found.append((dataset, cast(float, weight)))
            case _:
                raise WrongArgumentError(
                    f"TokenBatches takes a TokenDataset, or a list of (TokenDataset, weight), not {one!r}."
                )
    return found


def check_shape(shape: object) -> None:
    """Raise WrongArgumentError for what is no shape."""
    if isinstance(shape, type) or not hasattr(shape, "per_clip"):
        raise WrongArgumentError(
            f"shape must be Clips(), FrameWindows(n), Padding(), Packing(n) or GridBuckets(), not {shape!r}."
        )


def check_options(
    weighted_data: Sequence[Weighted],
    shape: SampleShape,
    *,
    mixed: bool,
    batch_size: int | None,
    shuffle: bool,
    remainder: Remainder,
    lanes: int | None,
    batches_per_epoch: int | None,
) -> None:
    """Raise WrongArgumentError for options that contradict each other."""
    _check_batch_size(shape, batch_size, lanes)
    if lanes not in (None, 1) and not shuffle:
        raise WrongArgumentError("lanes needs shuffle=True; without shuffling there is one lane.")
    if remainder not in ("drop", "pad", "keep"):
        raise WrongArgumentError(f"remainder must be drop, pad or keep, not {remainder!r}.")
    if mixed and isinstance(shape, GridBuckets):
        raise WrongArgumentError(
            "GridBuckets takes one TokenDataset (which may be of several folders), not a mixture: weights "
            "of samples do not say which grid's batch comes next."
        )
    if mixed and remainder != "drop":
        raise WrongArgumentError("A mixture never ends, so it takes no remainder.")
    if batches_per_epoch is not None and (batches_per_epoch < 1 or not mixed):
        raise WrongArgumentError("batches_per_epoch needs a mixture and must be at least 1.")
    if not weighted_data or not all(0 < weight < inf for _, weight in weighted_data):
        raise WrongArgumentError("A mixture needs datasets with weights above 0.")


def _check_batch_size(shape: SampleShape, batch_size: int | None, lanes: int | None) -> None:
    buckets = isinstance(shape, GridBuckets)
    budget = shape.tokens_per_batch if isinstance(shape, GridBuckets) else None
    if (batch_size is None) == (budget is None):
        raise WrongArgumentError(
            "TokenBatches needs either batch_size or shape=GridBuckets(tokens_per_batch=…)."
        )
    wrong_lanes = lanes is not None and (lanes < 1 or (not buckets and (batch_size or 1) % lanes > 0))
    if wrong_lanes or (batch_size is not None and batch_size < 1):
        raise WrongArgumentError(
            f"batch_size ({batch_size}) must be at least 1"
            + (f" and a multiple of lanes ({lanes})." if lanes is not None else ".")
        )


def batch_maker(datasets: Sequence[TokenDataset], shape: SampleShape, *, pin_memory: bool) -> BatchMaker:
    """What makes the batches of these datasets; ``shape`` has its lengths in rows.

    Raises WrongArgumentError if the datasets do not fit each other, or their clips do not fit the shape.
    """
    first = datasets[0]
    _check_alike(datasets)
    shapes = np.unique(np.concatenate([dataset.clips.distinct_shapes() for dataset in datasets]), axis=0)
    if not len(shapes):
        raise WrongArgumentError(
            "There are no clips to read: the datasets are empty, or the filter excludes every clip."
        )
    shape.check(shapes)
    samples = unbucketed(shape)
    if first.clips.geometry.layout == "pyramid" and not isinstance(samples, Clips | Packing):
        raise WrongArgumentError(
            "The tokens of a pyramid are not those of single frames, so they cannot be windowed or padded; "
            "use shape=Clips(), GridBuckets() for clips of several grids, or Packing(n)."
        )
    if first.scales and isinstance(samples, Packing):
        raise WrongArgumentError(
            "A packed row has tokens of several clips, so it cannot be cut into scales: leave out "
            "scales=True. The batch tells the scale of each token."
        )
    if first.view == "packed" and not isinstance(samples, Clips):
        raise WrongArgumentError(
            "The view 'packed' needs whole clips, because single frames do not start at a byte."
        )
    starts = isinstance(samples, Packing) and samples.start_tokens
    if starts and first.token_view.special_tokens is None:
        raise WrongArgumentError(
            "start_tokens needs the view 'groups' or 'integers', or 'digits' of an index, of at most 61 bits."
        )
    grids = Grids.of_samples(shape, shapes) if isinstance(shape, GridBuckets) else None
    return BatchMaker(
        view=first.token_view,
        shape=samples,
        geometry=first.clips.geometry,
        grids=grids,
        places=_places(samples, shapes, grids, first.clips),
        scales=_scales(shapes, grids, first.clips) if first.scales else None,
        columns=first.columns,
        column_schema=first.column_schema,
        pin_memory=pin_memory,
        pool=BufferPool(_KEPT_BUFFERS, level=grids is not None),
        worker_buffers=WorkerBuffers(_KEPT_BUFFERS, level=grids is not None),
    )


def full_batches(shape: SampleShape, maker: BatchMaker, batch_size: int | None) -> Int64s:
    """By grid, the number of samples of a full batch, int64."""
    if not isinstance(shape, GridBuckets):
        return np.array([batch_size], np.int64)
    return np.array([shape.batch_samples(number, batch_size) for number in maker.sample_tokens], np.int64)


def chosen_lanes(
    sources: Sequence[ClipSource],
    shape: SampleShape,
    batch_sizes: Int64s,
    window_bytes: int,
    *,
    shuffle: bool,
) -> int:
    """The number of lanes where none is given; the same for any number of ranks and workers."""
    codes_bytes = np.concatenate([source.codes_bytes for source in sources])
    if isinstance(shape, GridBuckets):
        return most_lanes(int(batch_sizes.max()), codes_bytes, window_bytes)
    return choose_lanes(int(batch_sizes[0]), codes_bytes, window_bytes) if shuffle else 1


def new_plans(
    sources: Sequence[ClipSource],
    maker: BatchMaker,
    options: OrderOptions,
    *,
    batch_sizes: Int64s,
    weights: Sequence[float] | None,
    batches_per_epoch: int | None,
) -> EpochPlans:
    """The plans of one dataset, of its buckets, or, with weights, of a mixture."""
    sizes, tokens = batch_sizes, maker.sample_tokens
    if maker.grids is not None:
        return BucketPlans(
            sources[0],
            maker.shape,
            options,
            grids=maker.grids,
            batch_sizes=sizes,
            sample_tokens=tokens,
        )
    if weights is None:
        return StreamPlans(sources, maker.shape, options, batch_size=int(sizes[0]), sample_tokens=tokens[0])
    return MixturePlans(
        sources,
        maker.shape,
        options,
        batch_size=int(sizes[0]),
        sample_tokens=tokens[0],
        weights=weights,
        batches_per_epoch=batches_per_epoch,
    )


def _check_alike(datasets: Sequence[TokenDataset]) -> None:
    first = datasets[0]
    for dataset in datasets:
        if _form(dataset) != _form(first):
            raise WrongArgumentError(
                "The datasets of a mixture must have the same view, group_bits, scales and columns (names "
                "and types)."
            )
        if dataset.tokenizer_fingerprint != first.tokenizer_fingerprint:
            raise WrongArgumentError(
                f"The datasets of a mixture must use one tokenizer, not {first.tokenizer_fingerprint} and "
                f"{dataset.tokenizer_fingerprint}."
            )


def _form(dataset: TokenDataset) -> tuple[object, ...]:
    return dataset.view, dataset.group_bits, dataset.scales, dataset.column_schema


def _scales(shapes_n3: Int64s, grids: Grids | None, clips: ClipSource) -> tuple[tuple[Grid, ...], ...]:
    """The scales of a sample, by grid."""
    own = shapes_n3[:1] if grids is None else grids.grids_B3
    return tuple(scales_of(grid, clips.geometry) for grid in own.tolist())


def _places(
    shape: SampleShape, shapes_n3: Int64s, grids: Grids | None, clips: ClipSource
) -> tuple[tuple[int, ...], ...]:
    """Axes of a sample's tokens, by grid: rows, height, width; or all of a packed row or a pyramid."""
    if grids is not None:
        return tuple(clips.places_of(grid) for grid in grids.grids_B3.tolist())
    if isinstance(shape, Packing):
        return ((shape.num_tokens,),)
    rows = getattr(shape, "num_frames", None) or int(shapes_n3[:, 0].max())
    return (clips.places_of((rows, *shapes_n3[0, 1:].tolist())),)
