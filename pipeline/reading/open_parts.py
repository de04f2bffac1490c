"""Opens the dataset folders that are read together: checks that they fit, and applies the filter."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.reading.filters import ClipFilter
from bitmill.pipeline.reading.index.footers import num_threads, open_shard
from bitmill.pipeline.reading.index.index import ReadingIndex
from bitmill.pipeline.reading.index.open_index import open_index
from bitmill.pipeline.reading.shards.row_groups import Part
from bitmill.pipeline.reading.shards.shard_files import ShardFiles
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.dataset.token_shard import TOKEN_COLUMNS, token_columns
from bitmill.schemas.errors import TokenizerMismatchError, WrongArgumentError


def checked_columns(
    columns: Sequence[str], folders: Sequence[Folder], cards: Sequence[DatasetCard]
) -> tuple[str, ...]:
    """Return the columns, each once. Raises WrongArgumentError if a dataset does not have one."""
    newest = [field.name for field in TOKEN_COLUMNS if field.name != "codes"]
    for name in columns:
        if name not in newest:
            raise WrongArgumentError(f"Unknown column {name!r}; a token shard has {', '.join(newest)}.")
        for folder, card in zip(folders, cards, strict=True):
            if name not in _names(card):
                raise WrongArgumentError(
                    f"{folder.uri} has token shards of version {card.shard_version}, which have no column "
                    f"{name!r}."
                )
    return tuple(dict.fromkeys(columns))


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
    files: ShardFiles, card: DatasetCard, where: ClipFilter | None, *, allow_incomplete: bool
) -> Part:
    """Open a dataset's index, and read the columns that the filter needs. Raises the errors of both."""
    index = open_index(files.folder, card, allow_incomplete=allow_incomplete)
    selected: Sequence[npt.NDArray[np.int64] | None] = [None] * index.num_groups
    if where is not None and where.columns():
        # An expression may be about any column; of one that these shards lack, pyarrow says so.
        names = [name for name in where.columns() if name in _names(card)]
        select = partial(_selected_in, files.folder, index, where, names)
        with ThreadPoolExecutor(num_threads(files.folder)) as pool:
            selected = [rows for shard in pool.map(select, range(len(index.shard_ids))) for rows in shard]
    return Part(files=files, index=index, selected=selected)


def _selected_in(
    folder: Folder, index: ReadingIndex, where: ClipFilter, names: list[str], shard: int
) -> list[npt.NDArray[np.int64]]:
    """The selected rows of each row group of a shard."""
    groups = index.groups_of(shard)
    with open_shard(folder, index.shard_ids[shard]) as file:
        return [where.rows(file.read_row_group(int(index.numbers[group]), columns=names)) for group in groups]
