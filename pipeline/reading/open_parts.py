"""Opens the dataset folders that are read together: checks that they fit, and applies the filter."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pyarrow as pa

from bitmill.pipeline.reading.filters import ClipFilter
from bitmill.pipeline.reading.index.footers import changed_shards, num_threads, open_shard
from bitmill.pipeline.reading.index.index import ReadingIndex
from bitmill.pipeline.reading.index.open_index import open_index
from bitmill.pipeline.reading.joining.join import Join
from bitmill.pipeline.reading.shards.row_groups import Part
from bitmill.pipeline.reading.shards.shard_files import ShardFiles
from bitmill.pipeline.storage import Folder
from bitmill.schemas.arrays import Int64s
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.dataset.token_shard import TOKEN_COLUMNS, token_columns
from bitmill.schemas.errors import FormatError, TokenizerMismatchError, WrongArgumentError
from bitmill.schemas.lists_of_names import refuse_text
from bitmill.schemas.nearest_name import did_you_mean


def checked_columns(
    columns: Sequence[str], folders: Sequence[Folder], cards: Sequence[DatasetCard], join: Join | None
) -> pa.Schema:
    """Return the columns, each once. Raises WrongArgumentError if a dataset does not have one."""
    refuse_text(columns, "columns")
    fields = {field.name: field for field in TOKEN_COLUMNS if field.name != "codes"}
    joined = {field.name: field for field in join.schema} if join else {}
    for name in columns:
        if name in joined:
            continue
        if name not in fields:
            others = f"; joined are {', '.join(joined)}" if joined else ""
            near = did_you_mean(name, fields | joined)
            raise WrongArgumentError(
                f"Unknown column {name!r}{near}; a token shard has {', '.join(fields)}{others}."
            )
        for folder, card in zip(folders, cards, strict=True):
            if name not in _names(card):
                raise WrongArgumentError(
                    f"{folder.uri} has token shards of version {card.shard_version}, which have no column "
                    f"{name!r}."
                )
    return pa.schema([(fields | joined)[name] for name in dict.fromkeys(columns)])


def _names(card: DatasetCard) -> list[str]:
    """The columns of a dataset's token shards."""
    return [field.name for field in token_columns(card.shard_version)]


def check_tokenizers(folders: Sequence[Folder], cards: Sequence[DatasetCard], expected: str | None) -> None:
    """Raise TokenizerMismatchError if a dataset's tokenizer is not the expected, or not the first's."""
    if not folders:
        raise WrongArgumentError("A TokenDataset needs at least one dataset folder.")
    for folder, card in zip(folders, cards, strict=True):
        wanted = expected or cards[0].tokenizer_fingerprint
        if card.tokenizer_fingerprint != wanted:
            of_whom = "the expected" if expected else f"that of {folders[0].uri},"
            raise TokenizerMismatchError(
                f"{folder.uri} was made by tokenizer {card.tokenizer_fingerprint}, not by {of_whom} {wanted}."
            )


def open_part(
    files: ShardFiles,
    card: DatasetCard,
    where: ClipFilter | None,
    join: Join | None,
    *,
    allow_incomplete: bool,
    skip_damaged: bool = False,
) -> Part:
    """Open a dataset's index, and read the columns that the filter needs. Raises the errors of both, and
    WrongArgumentError if the filter looks for a joined column in the metadata.

    ``join`` are the joined columns that the filter may be about.
    """
    if where is not None and join is not None:
        _check_metadata_keys(where, join)
    index = open_index(files.folder, card, allow_incomplete=allow_incomplete)
    selected: Sequence[Int64s | None] = [None] * index.num_groups
    if where is not None and where.columns():
        # An expression may be about any column; of one that these shards lack, pyarrow says so.
        names = [name for name in where.columns() if name in _names(card)]
        rows = where.rows
        if join is not None and (joined := _joined_columns(where, names, join)):
            names = sorted({*names, "clip_id"})
            rows = partial(_rows_with, where, join, joined)
        select = partial(_selected_in, files.folder, index, names, rows, skip_damaged=skip_damaged)
        with ThreadPoolExecutor(num_threads(files.folder)) as pool:
            selected = [group for shard in pool.map(select, range(len(index.shard_ids))) for group in shard]
    return Part(files=files, index=index, selected=selected)


def _check_metadata_keys(where: ClipFilter, join: Join) -> None:
    joined = sorted({*where.metadata_keys} & {*join.schema.names})
    if joined:
        raise WrongArgumentError(
            f"metadata_keys {joined} looks into the dataset's column metadata, but {joined[0]} is joined; "
            f'clips that have one: where=pyarrow.compute.field("{joined[0]}").is_valid()'
        )


def _joined_columns(where: ClipFilter, names: list[str], join: Join) -> list[str]:
    """The joined columns that the filter's expression is about."""
    if where.where is None:
        return []
    return join.needed_by(where.where, pa.schema([pa.schema(TOKEN_COLUMNS).field(name) for name in names]))


def _rows_with(where: ClipFilter, join: Join, joined: list[str], table: pa.Table) -> Int64s:
    return where.rows(join.complete(table, joined))


def _selected_in(
    folder: Folder,
    index: ReadingIndex,
    names: list[str],
    rows: Callable[[pa.Table], Int64s],
    shard: int,
    *,
    skip_damaged: bool,
) -> list[Int64s]:
    """The selected rows of each row group of a shard; of damaged ones none, with a warning, if skipped."""
    groups = index.groups_of(shard)
    try:
        return [rows(table) for table in _read(folder, index, names, shard, groups)]
    except FormatError:
        if not skip_damaged:
            raise
    tables = (_read_or_warn(folder, index, names, shard, group) for group in groups)
    return [np.empty(0, np.int64) if table is None else rows(table) for table in tables]


def _read(
    folder: Folder, index: ReadingIndex, names: list[str], shard: int, groups: Sequence[int]
) -> Iterator[pa.Table]:
    """Yield columns of a shard's row groups. Raises FormatError for damage, and if the shard has changed."""
    with open_shard(folder, index.shard_ids[shard]) as file:
        for group in groups:
            table = file.read_row_group(int(index.numbers[group]), columns=names)
            if table.num_rows != index.num_rows[group]:
                raise changed_shards(folder)
            yield table


def _read_or_warn(
    folder: Folder, index: ReadingIndex, names: list[str], shard: int, group: int
) -> pa.Table | None:
    try:
        return next(_read(folder, index, names, shard, [group]))
    except FormatError as error:
        warnings.warn(f"{error} The filter leaves out this row group's clips.", stacklevel=2)
        return None
