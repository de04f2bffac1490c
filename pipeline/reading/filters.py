"""ClipFilter: selects clips by frames, duration, source, metadata, or any expression over columns."""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from math import isnan
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bitmill.pipeline.reading.clip_lists import CLIP_ID
from bitmill.pipeline.storage.uri import normalise
from bitmill.schemas.dataset.token_shard import TOKEN_COLUMNS
from bitmill.schemas.errors import WrongArgumentError
from bitmill.schemas.lists_of_names import refuse_text

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class ClipFilter:
    """Selects clips that satisfy all given conditions, on any columns of a token shard except its codes.

    ``where`` is a pyarrow expression, for example ``pyarrow.compute.field("source_height") >= 720``, about
    columns that the token shards of all datasets have. ``min_frames`` and ``max_frames`` are about the
    column ``num_frames``, which counts rows of the token grid; ``num_real_frames`` counts the video's.
    Durations are those of clips (``end_ns - start_ns``), in seconds; images have duration 0.
    """

    min_frames: int | None = None
    max_frames: int | None = None
    min_duration_s: float | None = None
    max_duration_s: float | None = None
    sources: Collection[str] = ()
    """Shell patterns; the source's URI must match one of them. ``*`` also matches slashes. A path that begins
    with neither ``/`` nor a wildcard is relative to the current folder, as on the command line."""
    metadata_keys: Collection[str] = ()
    """Keys that the metadata must contain, with a value that is neither null nor empty: ``caption``."""
    clip_ids: Collection[str] | None = None
    """Select only these."""
    without_clip_ids: Collection[str] = ()
    """Exclude these, for example the duplicates that an audit lists."""
    where: pc.Expression | None = None

    def __post_init__(self) -> None:
        for name in ("min_frames", "max_frames", "min_duration_s", "max_duration_s"):
            _check_number(name, getattr(self, name))
        for name in ("sources", "metadata_keys", "clip_ids", "without_clip_ids"):
            refuse_text(getattr(self, name), name)
            object.__setattr__(self, name, _plain(getattr(self, name)))
        for name in ("sources", "metadata_keys"):
            _check_all(name, getattr(self, name), lambda one: isinstance(one, str), "strings")
        for name in ("clip_ids", "without_clip_ids"):
            _check_all(name, getattr(self, name), _is_clip_id, "clip ids, 32 digits of 0-9 and a-f")

    def columns(self) -> list[str]:
        """The columns that the conditions read."""
        needed: set[str] = set()
        if self.min_frames is not None or self.max_frames is not None:
            needed.add("num_frames")
        if self.min_duration_s is not None or self.max_duration_s is not None:
            needed |= {"start_ns", "end_ns"}
        if self.sources:
            needed.add("source")
        if self.metadata_keys:
            needed.add("metadata")
        if self.clip_ids is not None or self.without_clip_ids:
            needed.add("clip_id")
        if self.where is not None:
            # A pyarrow expression does not list its fields; all columns but the codes are small.
            needed |= {field.name for field in TOKEN_COLUMNS if field.name != "codes"}
        return sorted(needed)

    def rows(self, table: pa.Table) -> npt.NDArray[np.int64]:
        """Indices of the selected rows of a table of ``columns()``, ascending, int64.

        Raises WrongArgumentError if ``where`` cannot be evaluated.
        """
        wanted = np.ones(table.num_rows, np.bool_)
        for condition in (self._by_numbers, self._by_source, self._by_metadata, self._by_id):
            wanted &= condition(table)
        if self.where is not None:
            wanted &= _satisfying(table, self.where)
        return np.flatnonzero(wanted)

    # Built once and reused for every row group.
    @cached_property
    def _source_patterns(self) -> list[str]:
        whole = ("/", "*", "?", "[")
        return [one if "://" in one or one.startswith(whole) else normalise(one) for one in self.sources]

    @cached_property
    def _wanted_ids(self) -> pa.StringArray:
        return pa.array(list(self.clip_ids or ()), pa.string())

    @cached_property
    def _unwanted_ids(self) -> pa.StringArray:
        return pa.array(list(self.without_clip_ids), pa.string())

    def _by_numbers(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        wanted = np.ones(table.num_rows, np.bool_)
        if self.min_frames is not None:
            wanted &= _numbers(table, "num_frames") >= self.min_frames
        if self.max_frames is not None:
            wanted &= _numbers(table, "num_frames") <= self.max_frames
        if self.min_duration_s is not None or self.max_duration_s is not None:
            duration = _numbers(table, "end_ns") - _numbers(table, "start_ns")
            if self.min_duration_s is not None:
                wanted &= duration >= round(self.min_duration_s * _NS_PER_S)
            if self.max_duration_s is not None:
                wanted &= duration <= round(self.max_duration_s * _NS_PER_S)
        return wanted

    def _by_source(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        if not self.sources:
            return np.ones(table.num_rows, np.bool_)
        coded: Any = pc.dictionary_encode(table.column("source").combine_chunks())
        matches = [
            any(fnmatchcase(source, pattern) for pattern in self._source_patterns)
            for source in coded.dictionary.to_pylist()
        ]
        return np.asarray(matches, np.bool_)[coded.indices.to_numpy()]

    def _by_metadata(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        if not self.metadata_keys:
            return np.ones(table.num_rows, np.bool_)
        return np.asarray([self._holds_keys(text) for text in table.column("metadata").to_pylist()], np.bool_)

    def _holds_keys(self, text: str | None) -> bool:
        metadata: dict[str, Any] = json.loads(text) if text else {}
        return all(metadata.get(key) not in (None, "", [], {}) for key in self.metadata_keys)

    def _by_id(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        wanted = np.ones(table.num_rows, np.bool_)
        if self.clip_ids is not None:
            wanted &= _is_in(table, self._wanted_ids)
        if self.without_clip_ids:
            wanted &= ~_is_in(table, self._unwanted_ids)
        return wanted


def _check_number(name: str, value: object) -> None:
    if value is not None and not (isinstance(value, Real) and not isnan(value)):
        raise WrongArgumentError(f"{name} must be a number, not {value!r}.")


def _plain(values: Any) -> Collection[Any] | None:
    """Returns columns of pyarrow, numpy and pandas as Python's values; an iterator as a tuple."""
    for name in ("to_pylist", "tolist"):
        if hasattr(values, name):
            return tuple(getattr(values, name)())
    return values if values is None or isinstance(values, Collection) else tuple(values)


def _check_all(name: str, values: Collection[Any] | None, holds: Callable[[Any], bool], kind: str) -> None:
    wrong = [one for one in values or () if not holds(one)]
    if wrong:
        raise WrongArgumentError(f"{name} are {kind}; {wrong[0]!r} is none.")


def _is_clip_id(value: object) -> bool:
    return isinstance(value, str) and CLIP_ID.fullmatch(value) is not None


def _numbers(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    return table.column(name).to_numpy()


def _is_in(table: pa.Table, clip_ids: pa.StringArray) -> npt.NDArray[np.bool_]:
    return pc.is_in(table.column("clip_id"), value_set=clip_ids).to_numpy()


def _satisfying(table: pa.Table, where: pc.Expression) -> npt.NDArray[np.bool_]:
    numbered = table.append_column("__row", pa.array(range(table.num_rows), pa.int64()))
    try:
        rows = numbered.filter(where).column("__row").to_numpy()
    except (pa.ArrowException, TypeError) as error:
        raise WrongArgumentError(f"The filter {where} cannot be evaluated: {error}") from error
    wanted = np.zeros(table.num_rows, np.bool_)
    wanted[rows] = True
    return wanted
