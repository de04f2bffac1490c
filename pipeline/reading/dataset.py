"""TokenDataset: the clips of one or more dataset folders, by index or in order."""

import operator
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from pyarrow.compute import Expression
from torch.utils.data import Dataset

from bitmill.pipeline.dataset.dataset_folder import require_card
from bitmill.pipeline.reading.filters import ClipFilter
from bitmill.pipeline.reading.index.clip_lookup import ClipFinder, places_of_source
from bitmill.pipeline.reading.index.index import scales_of
from bitmill.pipeline.reading.joining.join import Join
from bitmill.pipeline.reading.open_parts import check_tokenizers, checked_columns, open_part
from bitmill.pipeline.reading.samples.column_values import plain_row
from bitmill.pipeline.reading.samples.views import TokenView, View, cut_scales
from bitmill.pipeline.reading.shards.after_fork import renewed_in_forks
from bitmill.pipeline.reading.shards.disk_cache import ChunkCache
from bitmill.pipeline.reading.shards.row_groups import ClipSource
from bitmill.pipeline.reading.shards.shard_files import ShardFiles
from bitmill.pipeline.reading.shards.single_clips import SingleClips
from bitmill.pipeline.storage import Folder, normalise
from bitmill.schemas.arrays import Codes
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.errors import WrongArgumentError

TokenSample = dict[str, Any]
"""``tokens``: the tensor of the chosen view, or a list of scales; plus the chosen columns, as Python values.
"""

Verify = Literal["pages", "always", "never"]
"""pages: verify checksums wherever whole pages are read, as batches and iteration do. always: also for single
clips, which then read their whole page. never: not at all.
"""

_KEPT_TABLES = 8


@dataclass(frozen=True, kw_only=True)
class DiskCache:
    """A local folder that caches ranges of remote shards up to a size; processes may share it."""

    folder: str | Path
    max_bytes: int = 16 * 2**30


class TokenDataset(Dataset[TokenSample]):
    """Clips of dataset folders, local or on any store: ``len``, ``dataset[i]`` and iteration, in plan order.

    Several folders are read one after the other; all tokens must come from one tokenizer. ``view`` chooses
    the form of ``tokens`` (see ``bitmill.pipeline.reading.View``; default: ``bits``, or ``digits`` where a
    code is not bits), ``group_bits`` the g of groups, ``columns`` the additional columns of a sample (any but
    ``codes`` that the token shards of all folders have), ``where`` filters clips. With ``scales``, the tokens
    of a pyramid are a list: a tensor [t, h, w, …] per scale in place of [N, …]. ``join`` names Parquet
    files with a column ``clip_id``: their other columns are clips' columns too, null for a clip without a
    row (docs/reading.md tells their cost).

    A dataset whose job is not finished is refused unless ``allow_incomplete``; one made by another tokenizer
    than ``expect_tokenizer`` (a fingerprint) is always refused. ``dataset[i]`` reads one byte range and
    checks its length; ``verify="always"`` also verifies the checksum of its page.

    For training, ``TokenBatches`` shuffles and batches. Safe to share between threads and to send to worker
    processes. Raises WrongArgumentError, TokenizerMismatchError, FormatError, each naming the folder or file.
    """

    def __init__(
        self,
        uris: str | Path | Sequence[str | Path],
        *,
        view: View | None = None,
        group_bits: int | None = None,
        scales: bool = False,
        columns: Sequence[str] = (),
        where: ClipFilter | Expression | None = None,
        join: str | Path | Sequence[str | Path] = (),
        expect_tokenizer: str | None = None,
        allow_incomplete: bool = False,
        verify: Verify = "pages",
        skip_damaged: bool = False,
        cache: DiskCache | None = None,
    ) -> None:
        if verify not in ("pages", "always", "never"):
            raise WrongArgumentError(f"verify must be pages, always or never, not {verify!r}.")
        if isinstance(cache, str | Path):
            raise WrongArgumentError(f"cache is a DiskCache: write cache=DiskCache(folder={str(cache)!r}).")
        where = _filter(where)
        folders = [Folder(str(uri)) for uri in ([uris] if isinstance(uris, str | Path) else uris)]
        self.cards = [require_card(folder) for folder in folders]
        check_tokenizers(folders, self.cards, expect_tokenizer)
        geometry = self.cards[0].geometry
        self.token_view = TokenView.of(view, geometry.code, group_bits)
        self.scales = scales
        """Whether ``tokens`` are a list of scales."""
        if scales and (geometry.layout != "pyramid" or view == "packed"):
            what = "packed bytes" if geometry.layout == "pyramid" else "one grid per clip"
            raise WrongArgumentError(f"scales=True cuts pyramids; these tokens are {what}, so leave it out.")
        joined = Join.open(join) if join else None
        self.column_schema = checked_columns(columns, folders, self.cards, joined)
        """The chosen columns and their types."""
        self.verify: Verify = verify
        ranges = ChunkCache(Path(cache.folder), cache.max_bytes) if cache else None
        # A filter passes over all clips, in an order that may not be the joined file's.
        held = joined.held() if joined else None
        parts = [
            open_part(
                ShardFiles(folder, ranges),
                card,
                where,
                held,
                allow_incomplete=allow_incomplete,
                skip_damaged=skip_damaged,
            )
            for folder, card in zip(folders, self.cards, strict=True)
        ]
        self.clips = ClipSource(
            parts, geometry, verify=verify != "never", skip_damaged=skip_damaged, join=joined
        )
        self._filtered = where is not None
        self._single = SingleClips(self.clips, verify=verify == "always")
        self._finders = [ClipFinder(part.files.folder, part.index) for part in parts]
        self.renew()

    def renew(self) -> None:
        """Clear the cached tables."""
        renewed_in_forks(self)
        self._lock = threading.Lock()
        self._tables: OrderedDict[int, pa.Table] = OrderedDict()

    @property
    def card(self) -> DatasetCard:
        """The dataset card; of several datasets, the first one's."""
        return self.cards[0]

    @property
    def view(self) -> View:
        """The form of ``tokens``."""
        return self.token_view.view

    @property
    def group_bits(self) -> int | None:
        """The g of groups."""
        return self.token_view.group_bits

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the chosen columns."""
        return tuple(self.column_schema.names)

    @property
    def bits_per_token(self) -> int:
        """L: bits of a stored token."""
        return self.token_view.code.bits_per_token

    @property
    def uris(self) -> list[str]:
        """URIs of the dataset folders."""
        return [part.files.folder.uri for part in self.clips.parts]

    @property
    def tokenizer_fingerprint(self) -> str:
        """Fingerprint of the tokenizer that made the tokens."""
        return self.cards[0].tokenizer_fingerprint

    def __repr__(self) -> str:
        places = ", ".join(self.uris)
        return (
            f"<TokenDataset of {len(self)} clips, {self.bits_per_token} bits a token, {self.view}: {places}>"
        )

    def __len__(self) -> int:
        return self.clips.first_clips[-1]

    def __getitem__(self, index: int) -> TokenSample:
        number, count = _index(index), self.clips.first_clips[-1]
        number += count if number < 0 else 0
        if not 0 <= number < count:
            raise IndexError(f"sample {index} of {count}")
        group = bisect_right(self.clips.first_clips, number) - 1
        wanted = number - self.clips.first_clips[group]
        row = wanted
        if self._filtered:
            part, own = self.clips.locate(group)
            selected = part.selected[own]
            row = wanted if selected is None else int(selected[wanted])
        sample = {"tokens": self._tokens(*self._single.read(group, row))}
        return sample | self._columns_at(group, wanted) if len(self.column_schema) else sample

    def _tokens(self, codes: Codes, start: int, grid: Sequence[int]) -> torch.Tensor | list[torch.Tensor]:
        tokens = self.token_view.clip(codes, start, self.clips.places_of(grid))
        return cut_scales(tokens, scales_of(grid, self.clips.geometry)) if self.scales else tokens

    def __iter__(self) -> Iterator[TokenSample]:
        """Yield all samples in plan order; with ``skip_damaged``, without those of damaged shards."""
        return self.between(0, len(self))

    def between(self, first: int, end: int) -> Iterator[TokenSample]:
        """Yield samples [first, end) in plan order, verified as ``verify`` says; one row group in memory."""
        for clip in self.clips.clips_between(first, end, self.columns):
            others = plain_row(clip.columns, clip.row) if self.columns else {}
            yield {"tokens": self._tokens(clip.codes, clip.start, clip.grid), **others}

    def find(self, clip_id: str) -> int:
        """Return the index of the sample with this clip id. Raises KeyError if there is none.

        The first call reads all ids of the dataset and stores them next to it as a sorted index.
        """
        for number, finder in enumerate(self._finders):
            for group, row in finder.places(clip_id):
                index = self._index_of(number, group, row)
                if index is not None:
                    return index
        raise KeyError(clip_id)

    def of_source(self, source: str) -> list[int]:
        """Return the indices of a source's samples, in time order; ``source`` is its URI, or a path.

        Reads the plan and the source's shard.
        """
        source, found = normalise(source), list[int]()
        for number, part in enumerate(self.clips.parts):
            for group, row in places_of_source(part.files.folder, self.cards[number], part.index, source):
                index = self._index_of(number, group, row)
                if index is not None:
                    found.append(index)
        return found

    def _index_of(self, part_number: int, group: int, row: int) -> int | None:
        """The sample's index, or None if the filter excludes it."""
        before = sum(part.index.num_groups for part in self.clips.parts[:part_number])
        selected = self.clips.parts[part_number].selected[group]
        if selected is None:
            return self.clips.first_clips[before + group] + row
        place = int(np.searchsorted(selected, row))
        there = place < len(selected) and int(selected[place]) == row
        return self.clips.first_clips[before + group] + place if there else None

    def _columns_at(self, group: int, row: int) -> dict[str, Any]:
        with self._lock:
            table = self._tables.get(group)
        if table is None:
            table = self.clips.read_columns([group], self.columns).table
            with self._lock:
                self._tables[group] = table
                while len(self._tables) > _KEPT_TABLES:
                    self._tables.popitem(last=False)
        return plain_row(table, row)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_tables")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.renew()


def _index(index: Any) -> int:
    try:
        return operator.index(index)
    except TypeError as error:
        raise WrongArgumentError(
            f"dataset[…] takes the number of one clip, not {index!r}; for several, write [dataset[i] for "
            "i in range(…)]."
        ) from error


def _filter(where: object) -> ClipFilter | None:
    if isinstance(where, Expression):
        return ClipFilter(where=where)
    if where is not None and not isinstance(where, ClipFilter):
        raise WrongArgumentError(f"where must be a ClipFilter or a pyarrow expression, not {where!r}.")
    return where
