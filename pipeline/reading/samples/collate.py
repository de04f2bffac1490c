"""Builds batches: unpacks pieces directly into batch tensors, and adds masks, positions and columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch.utils.data import get_worker_info
from torch.utils.data._utils.collate import default_collate_fn_map

from bitmill.pipeline.reading.kernels.unpack import (
    PIECE_BYTES,
    address_of,
    bytes_at,
    int64s_at,
    unpack_pieces,
)
from bitmill.pipeline.reading.order.batch_plan import BatchPlan, Take
from bitmill.pipeline.reading.samples.column_values import collated, gathered
from bitmill.pipeline.reading.samples.cut import SampleShape
from bitmill.pipeline.reading.samples.grid_buckets import Grids
from bitmill.pipeline.reading.samples.inline_tensor import inline
from bitmill.pipeline.reading.samples.packed_rows import describe_rows, frame_by_frame, token_times
from bitmill.pipeline.reading.samples.sample_shapes import Packing, Padding
from bitmill.pipeline.reading.samples.shuffle_window import PTS, ShuffleWindow, Windows
from bitmill.pipeline.reading.samples.views import TokenView, cut_scales
from bitmill.pipeline.reading.samples.worker_buffers import Lent, WorkerBuffers, received
from bitmill.pipeline.reading.shards.buffer_pool import BufferPool
from bitmill.schemas.arrays import Int64s
from bitmill.schemas.dataset.packing import packed_size
from bitmill.schemas.errors import WrongArgumentError
from bitmill.schemas.models.geometry import Geometry, Grid


class Lendable(NamedTuple):
    """Tokens that a worker process made, in memory that another process can have without a copy."""

    buffers: WorkerBuffers
    whole: torch.Tensor
    scales: tuple[Grid, ...] | None
    parts: list[torch.Tensor]
    """``whole``, or its scales: what the batch has."""


class TokenBatch(dict[str, Any]):
    """A dict that DataLoader's default collation refuses to combine."""

    lendable: Lendable | None = None

    def __copy__(self) -> "TokenBatch":
        # A DataLoader sends a copy. Only one of both may use the memory without copying it.
        batch = TokenBatch(self)
        batch.lendable, self.lendable = self.lendable, None
        return batch

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenBatch, (dict(self),)


def _sent(batch: TokenBatch) -> tuple[Any, ...]:
    """As ``__reduce__``, to another process: there, tokens that a worker made are in the same memory."""
    lendable, batch.lendable = batch.lendable, None
    tokens: Any = batch.get("tokens")
    parts: list[Any] = tokens if isinstance(tokens, list) else [tokens]
    if lendable is None or list(map(id, parts)) != list(map(id, lendable.parts)):
        return batch.__reduce__()
    lent = lendable.buffers.lend(lendable.whole)
    if lent is None:
        return batch.__reduce__()
    others = {name: value for name, value in batch.items() if name != "tokens"}
    return _received, (lent, lendable.scales, others)


def _received(lent: Lent, scales: tuple[Grid, ...] | None, others: dict[str, Any]) -> TokenBatch:
    whole = received(lent)
    return TokenBatch(tokens=whole if scales is None else cut_scales(whole, scales, axis=1), **others)


ForkingPickler.register(TokenBatch, _sent)


def _refuse_to_collate(*_: object, **__: object) -> NoReturn:
    raise WrongArgumentError(
        "The dataset already yields batches: pass batch_size=None to the DataLoader, and the batch size "
        "to TokenBatches."
    )


# torch's registry for other types; there is no public hook in the function that makes batches.
default_collate_fn_map[TokenBatch] = _refuse_to_collate


class Placed(NamedTuple):
    """Some pieces of a window, and the batch samples that they belong to."""

    window: ShuffleWindow
    pieces: Int64s
    """Numbers of the window's pieces."""
    owners: Int64s
    """For each piece, its sample in the batch."""


@dataclass(frozen=True, kw_only=True)
class BatchMaker:
    """Makes the batches for one set of options. Safe for threads."""

    view: TokenView
    shape: SampleShape
    """Of a sample; not ``GridBuckets``."""
    geometry: Geometry
    grids: Grids | None
    """Of ``GridBuckets``, else None."""
    places: tuple[tuple[int, ...], ...]
    """By grid, axes of a sample's tokens: rows, height and width; or all of a packed row or a pyramid."""
    scales: tuple[tuple[Grid, ...], ...] | None
    """By grid, those of a pyramid's scales, if ``tokens`` are to be a list of them."""
    columns: tuple[str, ...]
    pin_memory: bool
    pool: BufferPool
    worker_buffers: WorkerBuffers
    """Those that are used in a worker process."""
    column_schema: pa.Schema
    """Of ``columns``."""

    @property
    def sample_tokens(self) -> list[int]:
        """By grid, the number of token places in a sample."""
        return [prod(places) for places in self.places]

    @property
    def read_columns(self) -> tuple[str, ...]:
        """The columns that windows need."""
        times = isinstance(self.shape, Packing) and self.shape.times
        return tuple(dict.fromkeys((*self.columns, PTS))) if times else self.columns

    def make(self, plan: BatchPlan, windows: Windows) -> TokenBatch:
        """Make a planned batch from the window of each of its takes."""
        places = self.places[plan.grid]
        size = prod(places)
        count = sum([take.num_samples for take in plan.takes])
        tokens, flat = self._allocated(count, places)
        valid = np.ones(count, np.bool_)
        if windows.runs_R3 is not None:
            self._unpack(windows.runs_R3 + plan.ahead * np.array((PIECE_BYTES, 0, -size)), flat, size)
        else:
            self._unpack_first(plan, windows, flat, valid)
        in_worker = get_worker_info() is not None
        flags = torch.from_numpy(valid)
        batch = TokenBatch(tokens=tokens, valid=inline(flags) if in_worker else flags)
        if self.grids is not None:
            batch |= {"grid": self.grids.grid(plan.grid), "global_samples": plan.num_samples}
        if self.columns or isinstance(self.shape, Packing | Padding):
            placed = [_placed(take, window) for take, window in zip(plan.now, windows, strict=True)]
            batch |= self._described(placed, count, flat, places)
        scales = None if self.scales is None else self.scales[plan.grid]
        if scales is not None:
            batch["tokens"] = cut_scales(tokens, scales, axis=1)
        if in_worker and not self.pin_memory:
            parts = [tokens] if scales is None else [*batch["tokens"]]
            batch.lendable = Lendable(self.worker_buffers, tokens, scales, parts)
        return batch

    def _unpack_first(
        self, plan: BatchPlan, windows: Windows, flat: npt.NDArray[Any], valid: npt.NDArray[np.bool_]
    ) -> None:
        """Unpack a batch, and keep what those after it need that differ only by the samples ahead."""
        held: list[Int64s] = []
        if any(window.lost is not None for window in windows):
            # A reused buffer may contain bytes that are not valid indices or bools.
            flat.fill(0)
        size = prod(self.places[plan.grid])
        runs = [
            self._run(take, window, size, valid, held) for take, window in zip(plan.now, windows, strict=True)
        ]
        runs_R3 = np.array(runs, np.int64).reshape(-1, 3)
        self._unpack(runs_R3, flat, size)
        if self.shape.per_clip and not held and valid.all():
            # A sample is one piece, so that the samples ahead are as many pieces.
            windows.runs_R3 = runs_R3 - plan.ahead * np.array((PIECE_BYTES, 0, -size))

    def _allocated(self, count: int, places: tuple[int, ...]) -> tuple[torch.Tensor, npt.NDArray[Any]]:
        """The batch's tensor, and the same memory as [rows, values per row]; zeroed for shapes with gaps."""
        dtype, size = self.view.dtype, (count, *self.view.size(places))
        values = size[1] if self.view.view == "packed" else self.view.num_values
        if self.pin_memory:
            tokens = torch.empty(size, dtype=dtype, pin_memory=True)
            flat = tokens.numpy().reshape(-1, values)
        elif get_worker_info() is not None:
            tokens = torch.from_numpy(self.worker_buffers.empty(size, self.view.numpy_dtype))
            flat = tokens.numpy().reshape(-1, values)
        else:
            num_bytes = dtype.itemsize * prod(size)
            flat = self.pool.take(num_bytes)[:num_bytes].view(self.view.numpy_dtype).reshape(-1, values)
            tokens = torch.from_numpy(flat.reshape(size))
        if isinstance(self.shape, Packing | Padding):
            flat.fill(0)
        return tokens, flat

    def _run(
        self, take: Take, window: ShuffleWindow, size: int, valid: npt.NDArray[np.bool_], held: list[Int64s]
    ) -> tuple[int, int, int]:
        """A take of samples of ``size`` tokens as a run of pieces for the kernels; marks lost samples as not
        valid.

        Pieces that are not exactly the window's own are copied and kept alive in ``held`` until unpacked.
        """
        start, end = window.bounds[take.first], window.bounds[take.first + take.num_samples]
        shift = (take.place - take.first) * size
        if not take.valid:
            valid[take.place : take.place + take.num_samples] = False
        starts = self.shape if isinstance(self.shape, Packing) and self.shape.start_tokens else None
        if window.lost is None and starts is None:
            return window.address + start * PIECE_BYTES, end - start, shift
        numbers = np.arange(start, end)
        if window.lost is not None:
            lost = window.lost[start:end]
            # In a packed row, a lost document appears as unfilled places.
            if not isinstance(self.shape, Packing):
                valid[window.owners[numbers[lost]] - take.first + take.place] = False
            numbers = numbers[~lost]
        pieces = window.unpacking_P4[numbers]
        if starts is not None:
            frame_tokens = starts.frame_tokens(window.grids_of(numbers))
            pieces = np.ascontiguousarray(frame_by_frame(pieces, frame_tokens))
        held.append(pieces)
        return address_of(pieces), len(pieces), shift

    def _unpack(self, runs_R3: Int64s, flat: npt.NDArray[Any], sample_tokens: int) -> None:
        if self.view.view != "packed":
            unpack_pieces(runs_R3, flat, self.view.code)
            return
        for place, count, shift in runs_R3.tolist():
            for address, _, tokens, target in int64s_at(place, 4 * count).reshape(-1, 4).tolist():
                size = packed_size(tokens, self.view.code.bits_per_token)
                flat[(target + shift) // sample_tokens] = bytes_at(address, size)

    def _described(
        self, placed: Sequence[Placed], count: int, flat: npt.NDArray[Any], places: tuple[int, ...]
    ) -> dict[str, Any]:
        more: dict[str, Any] = {}
        if isinstance(self.shape, Packing):
            more |= describe_rows(placed, self.shape, count, flat, self.view.special_tokens)
            if self.shape.times:
                more["times_ns"] = token_times(placed, self.shape, count, self.geometry)
        elif isinstance(self.shape, Padding):
            more["mask"] = _frame_mask(placed, count, places[0])
        return more | self._columns(placed, count) if self.columns else more

    def _columns(self, placed: Sequence[Placed], count: int) -> dict[str, Any]:
        """The selected columns: per sample its clip's value; for packed rows a list of values."""
        packed = isinstance(self.shape, Packing)
        lists: dict[str, list[Any]] = {
            name: [[] if packed else None for _ in range(count)] for name in self.columns
        }
        for window, pieces, owners in placed:
            if window.columns is None:
                continue
            for name, values in gathered(
                window.columns.select(self.columns), window.clips_of(pieces)
            ).items():
                for owner, value in zip(owners.tolist(), values, strict=True):
                    if packed:
                        lists[name][owner].append(value)
                    else:
                        lists[name][owner] = value
        if packed:
            return lists
        return {name: collated(self.column_schema.field(name), values) for name, values in lists.items()}


def _placed(take: Take, window: ShuffleWindow) -> Placed:
    start, end = int(window.bounds[take.first]), int(window.bounds[take.first + take.num_samples])
    pieces = np.arange(start, end)
    if window.lost is not None:
        pieces = pieces[~window.lost[start:end]]
    return Placed(window, pieces, window.owners[pieces] - take.first + take.place)


def _frame_mask(placed: Sequence[Placed], count: int, frames: int) -> torch.Tensor:
    """Bool [B, T]: which frames belong to the clips."""
    lengths = np.zeros(count, np.int64)
    for window, pieces, owners in placed:
        lengths[owners] = window.times_of(pieces)[:, 1]
    return torch.from_numpy(np.arange(frames) < lengths[:, None])
