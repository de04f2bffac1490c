"""TokenBatches: the training batches, shuffled or in order, the same for any number of ranks and workers."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from numbers import Real
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import IterableDataset, get_worker_info

from bitmill.pipeline.reading.dataset import TokenDataset
from bitmill.pipeline.reading.order.batch_plan import (
    MixturePlan,
    Passes,
    Remainder,
    Share,
    Take,
    num_batches,
    plan_epoch,
)
from bitmill.pipeline.reading.order.epoch_order import PassOrder, choose_lanes, order_pass
from bitmill.pipeline.reading.order.mixture_weights import thresholds
from bitmill.pipeline.reading.order.resume_state import Position, Walk
from bitmill.pipeline.reading.order.shared_state import SharedState
from bitmill.pipeline.reading.order.shuffle_quality import Mixing, measure_mixing
from bitmill.pipeline.reading.prefetch import Prefetch, Prefetcher
from bitmill.pipeline.reading.samples.collate import BatchMaker, TokenBatch
from bitmill.pipeline.reading.samples.sample_shapes import Clips, Packing, Padding, SampleShape
from bitmill.pipeline.reading.samples.shuffle_window import ShuffleWindow, load_window
from bitmill.pipeline.reading.shards.buffer_pool import BufferPool
from bitmill.pipeline.reading.shards.row_groups import ClipSource
from bitmill.pipeline.splitmix64 import derive_key
from bitmill.pipeline.storage import is_local
from bitmill.schemas.arrays import Int64s
from bitmill.schemas.errors import WrongArgumentError

Weighted = tuple[TokenDataset, float]

_WINDOW_BYTES = 64 * 2**20
_KEPT_BUFFERS = 64


class TokenBatches(IterableDataset[TokenBatch]):
    """Batches of a dataset, or of a weighted mixture of datasets; each iteration is one epoch.

    The samples of global batch t are a pure function of (seed, epoch, t); each rank takes its consecutive
    share, ``batch_size / world_size`` samples. Neither the number of ranks nor the number of DataLoader
    workers changes the sequence. Rank and world size default to those of torch.distributed.

    A batch is a dict: ``tokens`` [B, T, h, w, …] in the datasets' view (or as ``shape`` says), ``valid`` bool
    [B], false for padding samples (``remainder="pad"``) and for samples lost to damage (``skip_damaged``),
    and the datasets' columns. ``window_bytes`` bounds the codes in memory, ``prefetch`` bounds what is read
    ahead in addition.

    For one dataset, an epoch is one pass over it. In a mixture, each dataset goes through its own passes; an
    epoch has ``batches_per_epoch`` batches, by default as many as all samples together fill.

    The iteration after a complete one is the next epoch; after a ``break`` the same epoch starts again; the
    first iteration after ``load_state_dict`` resumes from the state.

    Iterate over it directly, or use ``DataLoader(batches, batch_size=None)``: this is the fast way, because
    its own threads read and unpack. With worker processes use ``TokenLoader``, which tells workers which
    epoch begins and tracks the state. A plain ``DataLoader`` with workers does neither and is refused unless
    ``set_epoch`` was called before each epoch.

    Raises WrongArgumentError for invalid options.
    """

    def __init__(
        self,
        data: TokenDataset | Sequence[Weighted],
        *,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        shape: SampleShape | None = None,
        remainder: Remainder = "drop",
        rank: int | None = None,
        world_size: int | None = None,
        lanes: int | None = None,
        window_bytes: int = _WINDOW_BYTES,
        batches_per_epoch: int | None = None,
        prefetch: Prefetch | None = None,
        pin_memory: bool = False,
    ) -> None:
        self._weighted = _weighted(data)
        self._mixed = not isinstance(data, TokenDataset)
        self.batch_size = batch_size
        self.seed = seed
        self.shape: SampleShape = shape or Clips()
        self.remainder: Remainder = remainder
        self._shuffle = shuffle
        if isinstance(self.shape, type) or not hasattr(self.shape, "per_clip"):
            raise WrongArgumentError(
                f"shape must be Clips(), FrameWindows(n), Padding() or Packing(n), not {shape!r}."
            )
        self._rank, self._world_size = rank, world_size
        self._prefetch = prefetch or Prefetch()
        self._local = all(is_local(uri) for dataset, _ in self._weighted for uri in dataset.uris)
        self._check_options(lanes, batches_per_epoch)
        self._maker = _maker([dataset for dataset, _ in self._weighted], self.shape, pin_memory=pin_memory)
        self._counts = [self._samples_of(dataset) for dataset, _ in self._weighted]
        sizes = np.concatenate([dataset.clips.codes_bytes for dataset, _ in self._weighted])
        self.lanes = lanes or (choose_lanes(batch_size, sizes, window_bytes) if shuffle else 1)
        self._lane_bytes = max(1, window_bytes // self.lanes // len(self._weighted))
        self._passes = [
            Passes(partial(self._order, stream), alike=self.shape.per_clip)
            for stream in range(len(self._weighted))
        ]
        self._batches_per_epoch = batches_per_epoch
        self._mixture: MixturePlan | None = self._new_mixture() if self._mixed else None
        self._order_id = self._identify(window_bytes)
        self._codes_pool = BufferPool(_KEPT_BUFFERS)
        self._position = Position()
        self._given = False
        """True if the position was set explicitly and no iteration has started from it yet."""
        self._began = self._position
        """Where the latest iteration began; older iterations no longer update the position."""
        self._start = SharedState()

    @property
    def epoch(self) -> int:
        """The epoch of the next iteration."""
        return self._position.epoch + self._is_over()

    def set_epoch(self, epoch: int) -> None:
        """Start from the first batch of an epoch; no effect if a state within that epoch was just loaded."""
        loaded = self._given and epoch == self._position.epoch
        self._give(self._position if loaded else Position(epoch=epoch))

    def __repr__(self) -> str:
        order = f"shuffled by seed {self.seed}" if self._shuffle else "in order"
        at = f"epoch {self._position.epoch}, batch {self._position.batch}"
        data = ", ".join(f"{weight} of {one}" if self._mixed else str(one) for one, weight in self._weighted)
        return f"<TokenBatches of {self.batch_size} samples, {self.shape}, {order}, at {at}: {data}>"

    def __len__(self) -> int:
        """Number of global batches in the epoch, including those before a loaded state; same on all ranks."""
        return self._num_batches(self._position.epoch)

    def state_dict(self) -> dict[str, int]:
        """The position of the next batch: a few integers, valid on any rank and at any world size."""
        return {"seed": self.seed, "order": self._order_id, **self._position.state()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Resume after the last batch handed over when the state was taken.

        Raises WrongArgumentError if the state belongs to other data, options or another seed.
        """
        if not {"seed", "order", "epoch", "batch"} <= set(state):
            raise WrongArgumentError("This is not a state of TokenBatches; load what state_dict() returned.")
        if (state["seed"], state["order"]) != (self.seed, self._order_id):
            raise WrongArgumentError(
                "The state belongs to other batches: the datasets, their filters, seed, batch_size, "
                "shape, lanes, window_bytes, remainder and weights must be the same as when it was taken."
            )
        self._give(Position.of_state(state))

    def _give(self, position: Position) -> None:
        self._position = self._began = position
        self._given = True
        if get_worker_info() is None:
            self._start.tell(position)
        else:
            self._start.overrule()

    def begin(self) -> Position:
        """Begin an iteration in worker processes and return its first position."""
        first = self._begin()
        self._start.tell(first)
        return first

    def _begin(self) -> Position:
        """The first position of an iteration: an explicitly set one, else the first batch of an epoch."""
        first = self._position if self._given else Position(epoch=self.epoch)
        # A copy, because iterations are distinguished by the identity of this object.
        self._position = self._began = replace(first)
        self._given = False
        self._start.begin()
        return self._position

    def _begin_in(self, worker: int) -> Position:
        """``_begin`` in a worker process, which cannot know how many of its batches were handed over.

        Raises WrongArgumentError if the main process did not say which epoch begins. Only worker 0 checks,
        because its batch is requested first.
        """
        if worker == 0 and not self._start.begin():
            raise WrongArgumentError(
                "A DataLoader with worker processes does not tell them which epoch begins, so every "
                "epoch would repeat the first. Use TokenLoader(batches, num_workers=…) instead, or call "
                "batches.set_epoch(epoch) before each epoch."
            )
        self._position = self._began = self._start.first(self._position)
        return self._position

    def reach(self, position: Position, *, began: Position) -> None:
        """Record how far the iteration that ``began`` there has come, unless a later one has begun."""
        if began is self._began:
            self._position = position

    def _is_over(self) -> bool:
        """True if the last iteration has handed over its last batch, even if it was not asked for another."""
        return not self._given and self._position.batch > 0 and self._position.batch >= len(self)

    def __iter__(self) -> Iterator[TokenBatch]:
        worker = get_worker_info()
        if worker is None:
            began = self._begin()
            walk = began.walk(0, 1)
        else:
            began = self._begin_in(worker.id)
            walk = began.walk(worker.id, worker.num_workers)
        prefetcher = Prefetcher(
            self._plans(walk),
            load=self._load,
            weigh=self._weigh,
            make=self._maker.make,
            prefetch=self._prefetch.chosen(local=self._local, in_worker=worker is not None),
        )
        try:
            for number, batch in zip(walk.numbers(len(self)), prefetcher, strict=True):
                self.reach(walk.after(number), began=began)
                yield batch
        finally:
            prefetcher.close()
        self.reach(Position(epoch=walk.epoch + 1), began=began)

    def mixing(self) -> Mixing:
        """How well the first epoch mixes, compared to a uniform shuffle; only for whole clips of one dataset.

        Raises WrongArgumentError for other shapes and for mixtures.
        """
        if self._mixed or not isinstance(self.shape, Clips | Padding):
            raise WrongArgumentError("mixing() needs one dataset and whole clips.")
        return measure_mixing(self._passes[0].order(0), self._counts[0], self.batch_size)

    def _plans(self, walk: Walk) -> Iterator[list[Take]]:
        share = self._share()
        for batch in walk.numbers(self._num_batches(walk.epoch)):
            yield self._plan(walk.epoch, batch, share)

    def _plan(self, epoch: int, batch: int, share: Share) -> list[Take]:
        if self._mixture is None:
            return plan_epoch(self._passes[0].order(epoch), epoch, batch, share, self.remainder)
        return self._mixture.plan(epoch * self._num_batches(0) + batch, share)

    def _num_batches(self, epoch: int) -> int:
        if not self._mixed:
            total = self._passes[0].order(epoch).num_samples
            number = num_batches(total, self.batch_size, self.remainder)
            if not number:
                raise WrongArgumentError(
                    f"An epoch has {total} samples, fewer than a batch of {self.batch_size}; use a "
                    'smaller batch_size, or remainder="pad".'
                )
            return number
        if self._batches_per_epoch is None:
            self._batches_per_epoch = max(
                1, sum(passes.order(0).num_samples for passes in self._passes) // self.batch_size
            )
        return self._batches_per_epoch

    def _load(self, take: Take) -> ShuffleWindow:
        dataset = self._weighted[take.stream][0]
        return load_window(
            dataset.clips,
            self._passes[take.stream].order(take.pass_number),
            take.window,
            shape=self.shape,
            sample_tokens=self._maker.sample_tokens,
            columns=dataset.columns,
            allocate=self._allocate,
        )

    def _allocate(self, count: int, _: object) -> npt.NDArray[np.uint8]:
        return self._codes_pool.take(count)[:count]

    def _weigh(self, take: Take) -> int:
        order = self._passes[take.stream].order(take.pass_number)
        return int(self._weighted[take.stream][0].clips.codes_bytes[order.groups_of(take.window)].sum())

    def _order(self, stream: int, number: int) -> PassOrder:
        return order_pass(
            self._counts[stream],
            self._weighted[stream][0].clips.codes_bytes,
            key=derive_key(self.seed, stream, number),
            shuffle=self._shuffle,
            lanes=self.lanes,
            window_bytes=self._lane_bytes,
            count_window=None if self.shape.per_clip else partial(self._count_window, stream),
        )

    def _count_window(self, stream: int, groups: Int64s) -> int:
        clips = self._weighted[stream][0].clips
        shapes = [clips.shapes_of(group) for group in groups.tolist()]
        return int(self.shape.count(np.concatenate(shapes)).sum())

    def _samples_of(self, dataset: TokenDataset) -> Int64s:
        """Number of samples in each row group; for packed rows, its clips."""
        clips = dataset.clips
        if isinstance(self.shape, Clips | Padding) or not self.shape.per_clip:
            return clips.num_clips
        return np.array(
            [int(self.shape.count(clips.shapes_of(group)).sum()) for group in range(clips.num_groups)],
            np.int64,
        )

    def _new_mixture(self) -> MixturePlan:
        for passes, (dataset, _) in zip(self._passes, self._weighted, strict=True):
            if passes.order(0).num_samples < self.lanes:
                raise WrongArgumentError(
                    f"{dataset.clips.parts[0].files.folder.uri} has {passes.order(0).num_samples} "
                    f"samples, fewer than the {self.lanes} lanes of a batch; pass a smaller lanes=."
                )
        ends = thresholds([weight for _, weight in self._weighted])
        return MixturePlan(self._passes, ends, key=derive_key(self.seed, -1), lanes=self.lanes)

    def _share(self) -> Share:
        rank, world_size = self._place()
        if self.batch_size % world_size or not 0 <= rank < world_size:
            raise WrongArgumentError(
                f"A global batch of {self.batch_size} cannot be split over {world_size} ranks (rank "
                f"{rank}); batch_size counts the samples of all ranks and must be a multiple of their "
                "number."
            )
        count = self.batch_size // world_size
        return Share(batch_size=self.batch_size, first=rank * count, count=count)

    def _place(self) -> tuple[int, int]:
        """Rank and world size: as passed, else those of torch.distributed, else 0 and 1."""
        ready = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank = torch.distributed.get_rank() if ready else 0
        world_size = torch.distributed.get_world_size() if ready else 1
        return (
            rank if self._rank is None else self._rank,
            world_size if self._world_size is None else self._world_size,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Include rank and world size, because worker processes have no torch.distributed of their own."""
        rank, world_size = self._place()
        return self.__dict__ | {"_rank": rank, "_world_size": world_size}

    def _check_options(self, lanes: int | None, batches_per_epoch: int | None) -> None:
        if self.batch_size < 1 or (lanes is not None and (lanes < 1 or self.batch_size % lanes)):
            raise WrongArgumentError(
                f"batch_size ({self.batch_size}) must be at least 1 and a multiple of lanes ({lanes})."
            )
        if lanes not in (None, 1) and not self._shuffle:
            raise WrongArgumentError("lanes needs shuffle=True; without shuffling there is one lane.")
        if self.remainder not in ("drop", "pad", "keep"):
            raise WrongArgumentError(f"remainder must be drop, pad or keep, not {self.remainder!r}.")
        if self._mixed and self.remainder != "drop":
            raise WrongArgumentError("A mixture never ends, so it takes no remainder.")
        if batches_per_epoch is not None and (batches_per_epoch < 1 or not self._mixed):
            raise WrongArgumentError("batches_per_epoch needs a mixture and must be at least 1.")
        if not self._weighted or not all(0 < weight < inf for _, weight in self._weighted):
            raise WrongArgumentError("A mixture needs datasets with weights above 0.")

    def _identify(self, window_bytes: int) -> int:
        """A 63-bit number that identifies everything that determines the order, except seed and position."""
        digest = hashlib.sha256()
        said = (1, self.batch_size, self.lanes, window_bytes, self._shuffle, self.remainder, repr(self.shape))
        weights = [float(weight) for _, weight in self._weighted] if self._mixed else None
        digest.update(repr((*said, weights, self._batches_per_epoch)).encode())
        for dataset, _ in self._weighted:
            digest.update(b"dataset")
            for part in dataset.clips.parts:
                digest.update("\n".join(part.index.shard_ids).encode())
                # Includes row counts, because shards keep their names when clips are removed.
                digest.update(part.index.num_rows.tobytes())
                for selected in part.selected:
                    digest.update(b"all" if selected is None else b"%d " % len(selected) + selected.tobytes())
        return int.from_bytes(digest.digest()[:8], "big") >> 1


def _weighted(data: object) -> list[Weighted]:
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


def _maker(datasets: Sequence[TokenDataset], shape: SampleShape, *, pin_memory: bool) -> BatchMaker:
    first = datasets[0]
    for dataset in datasets:
        if (dataset.view, dataset.group_bits, dataset.column_schema) != (
            first.view,
            first.group_bits,
            first.column_schema,
        ):
            raise WrongArgumentError(
                "The datasets of a mixture must have the same view, group_bits and columns (names and types)."
            )
        if dataset.tokenizer_fingerprint != first.tokenizer_fingerprint:
            raise WrongArgumentError(
                f"The datasets of a mixture must use one tokenizer, not {first.tokenizer_fingerprint} and "
                f"{dataset.tokenizer_fingerprint}."
            )
    shapes = np.unique(np.concatenate([dataset.clips.distinct_shapes() for dataset in datasets]), axis=0)
    if not len(shapes):
        raise WrongArgumentError(
            "There are no clips to read: the datasets are empty, or the filter excludes every clip."
        )
    shape.check(shapes)
    if first.clips.geometry.layout == "pyramid" and not isinstance(shape, Clips):
        raise WrongArgumentError(
            "The tokens of a pyramid are not those of single frames, so they cannot be windowed, padded or "
            "packed; use shape=Clips()."
        )
    if first.view == "packed" and not isinstance(shape, Clips):
        raise WrongArgumentError(
            "The view 'packed' needs whole clips, because single frames do not start at a byte."
        )
    starts = isinstance(shape, Packing) and shape.start_tokens
    if starts and first.token_view.special_tokens is None:
        raise WrongArgumentError(
            "start_tokens needs the view 'groups' or 'integers', or 'digits' of an index, of at most 61 bits."
        )
    return BatchMaker(
        view=first.token_view,
        shape=shape,
        places=_places(shape, shapes, first.clips),
        columns=first.columns,
        pin_memory=pin_memory,
        pool=BufferPool(_KEPT_BUFFERS),
        column_schema=first.column_schema,
    )


def _places(shape: SampleShape, shapes_n3: Int64s, clips: ClipSource) -> tuple[int, ...]:
    """Axes of a sample's tokens: rows, height and width; or all tokens of a packed row or a pyramid."""
    if isinstance(shape, Packing):
        return (shape.num_tokens,)
    rows = getattr(shape, "num_frames", None) or int(shapes_n3[:, 0].max())
    return clips.places_of((rows, *shapes_n3[0, 1:].tolist()))
