"""TokenBatches: the training batches, shuffled or in order, the same for any number of ranks and workers."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import IterableDataset, get_worker_info

from bitmill.pipeline.reading.batch_options import (
    Weighted,
    batch_maker,
    check_options,
    check_shape,
    chosen_lanes,
    full_batches,
    new_plans,
    weighted,
)
from bitmill.pipeline.reading.dataset import TokenDataset
from bitmill.pipeline.reading.epoch_plans import OrderOptions, StreamPlans
from bitmill.pipeline.reading.order.batch_plan import BatchPlan, Remainder, Take
from bitmill.pipeline.reading.order.resume_state import Position, Walk
from bitmill.pipeline.reading.order.shared_state import SharedState
from bitmill.pipeline.reading.order.shuffle_quality import Mixing, measure_mixing
from bitmill.pipeline.reading.order_identity import identify_order
from bitmill.pipeline.reading.prefetch import Prefetch, Prefetcher
from bitmill.pipeline.reading.samples.collate import TokenBatch
from bitmill.pipeline.reading.samples.cut import SampleShape
from bitmill.pipeline.reading.samples.sample_shapes import Clips, Padding
from bitmill.pipeline.reading.samples.shuffle_window import ShuffleWindow, load_window
from bitmill.pipeline.reading.shards.buffer_pool import BufferPool
from bitmill.pipeline.storage import is_local
from bitmill.schemas.errors import WrongArgumentError

_WINDOW_BYTES = 64 * 2**20
_KEPT_BUFFERS = 64


class TokenBatches(IterableDataset[TokenBatch]):
    """Batches of a dataset, or of a weighted mixture of datasets; each iteration is one epoch.

    The samples of global batch t are a pure function of (seed, epoch, t); each rank takes its consecutive
    share, ``batch_size / world_size`` samples. (``GridBuckets`` may set the size of batches instead, and its
    shares may differ.) Neither the number of ranks nor the number of DataLoader
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
        batch_size: int | None = None,
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
        self._weighted = weighted(data)
        self._mixed = not isinstance(data, TokenDataset)
        self.batch_size = batch_size
        self.seed = seed
        self.shape: SampleShape = shape or Clips()
        self.remainder: Remainder = remainder
        self._shuffle = shuffle
        check_shape(self.shape)
        self._rank, self._world_size = rank, world_size
        self._prefetch = prefetch or Prefetch()
        self._local = all(is_local(uri) for dataset, _ in self._weighted for uri in dataset.uris)
        check_options(
            self._weighted,
            self.shape,
            mixed=self._mixed,
            batch_size=batch_size,
            shuffle=shuffle,
            remainder=remainder,
            lanes=lanes,
            batches_per_epoch=batches_per_epoch,
        )
        in_rows = self.shape.in_rows(self._weighted[0][0].clips.geometry)
        self._maker = batch_maker([one for one, _ in self._weighted], in_rows, pin_memory=pin_memory)
        clips = [dataset.clips for dataset, _ in self._weighted]
        sizes = full_batches(self.shape, self._maker, batch_size)
        self.lanes = lanes or chosen_lanes(clips, self.shape, sizes, window_bytes, shuffle=shuffle)
        self._plans = new_plans(
            clips,
            self._maker,
            OrderOptions(
                shuffle=shuffle,
                seed=seed,
                remainder=remainder,
                lanes=self.lanes,
                lane_bytes=max(1, window_bytes // self.lanes // len(clips)),
            ),
            batch_sizes=sizes,
            weights=[weight for _, weight in self._weighted] if self._mixed else None,
            batches_per_epoch=batches_per_epoch,
        )
        self._order_id = identify_order(
            [one for one, _ in self._weighted],
            batch_size=batch_size,
            lanes=self.lanes,
            window_bytes=window_bytes,
            shuffle=shuffle,
            remainder=remainder,
            shape=self.shape,
            weights=[float(weight) for _, weight in self._weighted] if self._mixed else None,
            batches_per_epoch=batches_per_epoch,
        )
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
        size = "" if self.batch_size is None else f" of {self.batch_size} samples"
        return f"<TokenBatches{size}, {self.shape}, {order}, at {at}: {data}>"

    def __len__(self) -> int:
        """Number of global batches in the epoch, including those before a loaded state; same on all ranks."""
        return self._plans.num_batches(self._position.epoch)

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
            self._planned(walk),
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
        plans = self._plans
        if self._mixed or not isinstance(self.shape, Clips | Padding) or not isinstance(plans, StreamPlans):
            raise WrongArgumentError("mixing() needs one dataset and whole clips.")
        return measure_mixing(plans.passes[0].order(0), plans.counts[0], self.batch_size or 1)

    def _planned(self, walk: Walk) -> Iterator[BatchPlan]:
        rank, world_size = self._place()
        for batch in walk.numbers(self._plans.num_batches(walk.epoch)):
            yield self._plans.plan(walk.epoch, batch, rank=rank, world_size=world_size)

    def _load(self, take: Take) -> ShuffleWindow:
        return load_window(
            self._weighted[take.stream][0].clips,
            self._plans.order(take).groups_of(take.window).tolist(),
            shape=self._maker.shape,
            arrange=self._plans.arrange(take),
            columns=self._maker.read_columns,
            allocate=self._allocate,
        )

    def _allocate(self, count: int, _: object) -> npt.NDArray[np.uint8]:
        return self._codes_pool.take(count)[:count]

    def _weigh(self, take: Take) -> int:
        groups = self._plans.order(take).groups_of(take.window)
        return int(self._weighted[take.stream][0].clips.codes_bytes[groups].sum())

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
