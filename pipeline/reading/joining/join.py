"""Join: the columns of other files by clip id, whatever the order of their rows."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bitmill.pipeline.reading.joining.clip_ids import ClipIds, SortedIds, joined, parse_ids
from bitmill.pipeline.reading.joining.joined_file import JoinedFile
from bitmill.pipeline.reading.joining.kept_groups import KeptGroups
from bitmill.schemas.arrays import Int64s
from bitmill.schemas.errors import FormatError, WrongArgumentError

_KEPT_BYTES = 256 * 2**20

_Parts = list[JoinedFile]


class JoinedTable:
    """Files with the same columns, as one table: 20 bytes of memory a row, and the row groups in use.

    Raises WrongArgumentError, naming a file, if they have a clip twice.
    """

    def __init__(self, files: _Parts) -> None:
        self._files = files
        self.schema = files[0].schema
        self._groups = [(file, number) for file in files for number in range(len(file.group_rows))]
        self._firsts = np.cumsum(np.concatenate([[0], *(file.group_rows for file in files)]))
        ids = joined([file.clip_ids() for file in files])
        try:
            self._ids = SortedIds(ids)
        except ValueError as error:
            places = " and ".join(file.uri for file in files) if len(files) < 3 else f"{files[0].uri}, …"
            raise WrongArgumentError(
                f"{places} cannot be joined: there are two rows with the clip_id {error}."
            ) from error

    def find(self, ids: ClipIds) -> Int64s:
        """The row of each clip, -1 for one that has none, int64 [n]."""
        return self._ids.find(ids)

    def values(self, rows: Int64s, columns: Sequence[str], kept: KeptGroups) -> pa.Table:
        """These columns' values in some rows, null for row -1."""
        present = np.flatnonzero(rows >= 0)
        groups = np.searchsorted(self._firsts, rows[present], side="right") - 1
        order = np.argsort(groups, kind="stable")
        present, groups = present[order], groups[order]
        bounds = np.flatnonzero(np.diff(groups, prepend=-1))
        found = [pa.schema([self.schema.field(name) for name in columns]).empty_table()]
        for start, end in pairwise([*bounds.tolist(), len(groups)]):
            number, own = int(groups[start]), present[start:end]
            table = self._group(number, tuple(columns), kept)
            found.append(table.take(pa.array(rows[own] - self._firsts[number])))
        places = np.full(len(rows), -1, np.int64)
        places[present] = np.arange(len(present))
        indices: Any = pa.array(places, mask=places < 0)
        return pa.concat_tables(found).combine_chunks().take(indices)

    def _group(self, number: int, columns: tuple[str, ...], kept: KeptGroups) -> pa.Table:
        file, own = self._groups[number]
        return kept.get((file.uri, own, columns), lambda: file.read_group(own, columns))


class Join:
    """The columns of some files, joined to clips by ``clip_id``. Safe for threads and forks; pickles.

    Files with the same columns are the parts of one table; other columns are another table's. Row groups
    are read when a clip of theirs is, of the columns asked for alone; the latest used stay in memory.
    Raises WrongArgumentError or FormatError, naming the file.
    """

    def __init__(self, tables: Sequence[JoinedTable], max_bytes: float = _KEPT_BYTES) -> None:
        self._tables = tuple(tables)
        self._kept = KeptGroups(max_bytes)
        self.schema = pa.schema([field for table in tables for field in table.schema])
        """All joined columns."""

    @classmethod
    def open(cls, paths: str | Path | Sequence[str | Path]) -> "Join":
        """Read the footers and the clip ids of the files."""
        tables: dict[frozenset[str], _Parts] = {}
        owners: dict[str, JoinedFile] = {}
        for path in _listed(paths):
            file = JoinedFile(path)
            parts = tables.setdefault(frozenset(file.schema.names), [])
            for field in file.schema:
                first = owners.setdefault(field.name, parts[0] if parts else file)
                if first is not (parts[0] if parts else file):
                    raise WrongArgumentError(
                        f"{first.uri} and {file.uri} both have a column {field.name!r} to join, among "
                        "different others; rename one, or leave it out."
                    )
                if first.schema.field(field.name).type != field.type:
                    raise WrongArgumentError(
                        f"{file.uri} cannot be joined: its column {field.name!r} is {field.type}, that of "
                        f"{first.uri} {first.schema.field(field.name).type}."
                    )
            parts.append(file)
        return cls([JoinedTable(parts) for parts in tables.values()])

    def held(self) -> "Join":
        """The same, with every row group that is read kept in memory: for passes over the dataset."""
        return Join(self._tables, inf)

    def needed_by(self, where: pc.Expression, others: pa.Schema) -> list[str]:
        """The joined columns that an expression is about; ``others`` are the columns it also may be about.

        An expression does not list its fields, but cannot be evaluated without one of them. Raises
        WrongArgumentError if it cannot be evaluated with all columns.
        """
        whole = pa.schema([*others, *self.schema]).empty_table()
        try:
            whole.filter(where)
        except (pa.ArrowException, TypeError) as error:
            raise WrongArgumentError(f"The filter {where} cannot be evaluated: {error}") from error
        return [name for name in self.schema.names if not _evaluates(whole.drop_columns([name]), where)]

    def complete(self, table: pa.Table, names: Sequence[str]) -> pa.Table:
        """Add these joined columns to clips' own, which have ``clip_id``; a null id gets null values.

        Raises FormatError for damage of a joined file, and if the dataset has an id that is none.
        """
        known = table.column("clip_id").is_valid().to_numpy()
        try:
            ids = parse_ids(table.column("clip_id").drop_null())
        except ValueError as error:
            raise FormatError(
                f"The dataset has a clip id that is none, {error}; run `bitmill audit` on it."
            ) from error
        for joined_table in self._tables:
            wanted = [name for name in joined_table.schema.names if name in names]
            if not wanted:
                continue
            rows = np.full(table.num_rows, -1, np.int64)
            rows[known] = joined_table.find(ids)
            values = joined_table.values(rows, wanted, self._kept)
            for name in wanted:
                table = table.append_column(name, values.column(name))
        return table


def _listed(paths: object) -> list[str | Path]:
    listed = [paths] if isinstance(paths, str | Path) else paths
    if isinstance(listed, Iterable):
        found = list(cast("Iterable[object]", listed))
        if all(isinstance(path, str | Path) for path in found):
            return cast("list[str | Path]", found)
    raise WrongArgumentError(f"join must be a path or a list of paths, not {paths!r}.")


def _evaluates(table: pa.Table, where: pc.Expression) -> bool:
    try:
        table.filter(where)
    except (pa.ArrowException, TypeError):
        return False
    return True
