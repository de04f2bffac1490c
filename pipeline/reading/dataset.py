"""TokenDataset: a dataset folder as a map-style PyTorch dataset of clips."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import torch
from torch.utils.data import Dataset

from pipeline.dataset_folder import committed_shards, load_plan, require_card
from pipeline.reading.index import RowGroup, build_index, open_shard
from pipeline.reading.views import View, check_view, view_tokens
from pipeline.storage import Folder
from schemas.dataset import shard_file
from schemas.errors import BadJobError, FormatError, TokenizerMismatchError
from schemas.token_shard import TOKEN_COLUMNS

TokenSample = dict[str, Any]
"""``tokens``: the chosen view's tensor; beside it the chosen columns, as Python values."""

_SHAPE_COLUMNS = ("num_frames", "height", "width")
_CACHED_ROW_GROUPS = 4


class TokenDataset(Dataset[TokenSample]):
    """Clips of a dataset folder, local or on any store: ``len``, ``dataset[i]`` and iteration, in plan order.

    ``view`` chooses the form of ``tokens`` (see ``pipeline.reading.View``), ``group_bits`` the g of groups,
    ``columns`` what else a sample carries (any column of the token shard but ``codes``).

    A dataset whose job is not finished is refused unless ``allow_incomplete``; one made by another tokenizer
    than ``expect_tokenizer`` (a fingerprint) always is. Page checksums are verified on reading.

    Safe to share between threads and to send to worker processes. Holds a few row groups in memory.
    Raises BadJobError, TokenizerMismatchError, FormatError, each naming the folder or file.
    """

    def __init__(
        self,
        uri: str,
        *,
        view: View = "bits",
        group_bits: int | None = None,
        columns: Sequence[str] = ("clip_id", "source", "start_ns", "end_ns"),
        expect_tokenizer: str | None = None,
        allow_incomplete: bool = False,
    ) -> None:
        self.folder = Folder(uri)
        self.card = require_card(self.folder)
        if expect_tokenizer is not None and expect_tokenizer != self.card.tokenizer_fingerprint:
            raise TokenizerMismatchError(
                f"{self.folder.uri} was made by tokenizer {self.card.tokenizer_fingerprint}, "
                f"not by the expected {expect_tokenizer}."
            )
        self.bits_per_token = self.card.tokenizer.bits_per_token
        check_view(view, self.bits_per_token, group_bits)
        self._view: View = view
        self._group_bits = group_bits
        self._columns = _checked_columns(columns)
        shard_ids = _readable_shards(self.folder, [s.shard_id for s in load_plan(self.folder, self.card)])
        if len(shard_ids) < self.card.num_shards and not allow_incomplete:
            raise BadJobError(
                f"{self.folder.uri} has {len(shard_ids)} of {self.card.num_shards} shards; finish its job "
                "(run it again), or pass allow_incomplete=True to read what is there."
            )
        self._index = build_index(self.folder, shard_ids, self.card.tokenizer_fingerprint)
        self._reset_cache()

    def __len__(self) -> int:
        return self._index.num_samples

    def __getitem__(self, index: int) -> TokenSample:
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        group, row = self._index.find(number)
        return self._sample(group, self._table(group), row)

    def __iter__(self) -> Iterator[TokenSample]:
        """All samples in plan order, one row group in memory at a time."""
        for group in self._index.row_groups:
            table = self._read(group)
            for row in range(group.num_samples):
                yield self._sample(group, table, row)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_cache", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset_cache()

    def _reset_cache(self) -> None:
        self._cache: OrderedDict[RowGroup, pa.Table] = OrderedDict()
        self._lock = threading.Lock()

    def _table(self, group: RowGroup) -> pa.Table:
        with self._lock:
            if group in self._cache:
                self._cache.move_to_end(group)
                return self._cache[group]
        table = self._read(group)
        with self._lock:
            self._cache[group] = table
            while len(self._cache) > _CACHED_ROW_GROUPS:
                self._cache.popitem(last=False)
        return table

    def _read(self, group: RowGroup) -> pa.Table:
        names = list(dict.fromkeys([*_SHAPE_COLUMNS, "codes", *self._columns]))
        with open_shard(self.folder, group.shard_id) as file:
            return file.read_row_group(group.number, columns=names)

    def _sample(self, group: RowGroup, table: pa.Table, row: int) -> TokenSample:
        frames, height, width = (int(table.column(name)[row].as_py()) for name in _SHAPE_COLUMNS)
        codes = memoryview(table.column("codes")[row].as_buffer())
        try:
            tokens = view_tokens(
                codes, (frames, height, width), self.bits_per_token, self._view, self._group_bits
            )
        except ValueError as error:
            where = f"{self.folder.uri}/{shard_file(group.shard_id)}, row group {group.number}, row {row}"
            raise FormatError(f"{where}: {error}") from error
        others = {name: _plain(table.column(name)[row].as_py()) for name in self._columns}
        return {"tokens": tokens, **others}


def _plain(value: object) -> object:
    """Times of frames become a tensor [T], which collates; all else stays."""
    return torch.tensor(value, dtype=torch.int64) if isinstance(value, list) else value


def _checked_columns(columns: Sequence[str]) -> tuple[str, ...]:
    known = [field.name for field in TOKEN_COLUMNS if field.name != "codes"]
    for name in columns:
        if name not in known:
            raise BadJobError(f"Unknown column {name!r}; a token shard has {', '.join(known)}.")
    return tuple(columns)


def _readable_shards(folder: Folder, planned: Sequence[str]) -> list[str]:
    """Planned shards that are committed, in plan order; other files in the folder are not the dataset's."""
    committed = committed_shards(folder)
    return [shard_id for shard_id in planned if shard_id in committed]
