"""Clips for export: columns, and tokens as the smallest unsigned integers that fit them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.reading import TokenDataset
from bitmill.schemas.dataset.packing import unpack_unsigned
from bitmill.schemas.dataset.token_shard import TOKEN_COLUMNS
from bitmill.schemas.errors import FormatError

Tokens = npt.NDArray[Any]
"""[T, h, w], unsigned, little-endian; each index in [0, 2^L)."""

CLIP_COLUMNS = tuple(field.name for field in TOKEN_COLUMNS if field.name != "codes")

SHAPE_COLUMNS = ("num_frames", "height", "width")


@dataclass(frozen=True, kw_only=True)
class ExportedClip:
    """One clip as a format writes it."""

    columns: Mapping[str, Any]
    """The token shard's columns except ``codes``, as plain values."""
    tokens_THW: Tokens

    @property
    def clip_id(self) -> str:
        """The clip's name in every format."""
        return self.columns["clip_id"]


def token_dtype(bits_per_token: int, *, smallest_bits: int = 8) -> np.dtype[Any]:
    """The smallest little-endian unsigned integer of at least ``smallest_bits`` that fits L bits."""
    width = next(width for width in (8, 16, 32, 64) if width >= max(bits_per_token, smallest_bits))
    return np.dtype(f"<u{width // 8}")


def open_clips(uri: str, *, allow_incomplete: bool) -> TokenDataset:
    """Open the dataset in the view that ``read_clips`` needs."""
    return TokenDataset(uri, view="packed", columns=CLIP_COLUMNS, allow_incomplete=allow_incomplete)


def read_clips(dataset: TokenDataset, first: int, count: int, dtype: np.dtype[Any]) -> Iterator[ExportedClip]:
    """Yield clips ``first`` to ``first + count``, in the dataset's order.

    Raises FormatError, naming the clip, if its codes are damaged.
    """
    for sample in dataset.between(first, first + count):
        columns = {name: _plain(sample[name]) for name in CLIP_COLUMNS}
        shape = tuple(columns[name] for name in SHAPE_COLUMNS)
        try:
            index_N = unpack_unsigned(sample["tokens"].numpy(), prod(shape), dataset.bits_per_token)
        except ValueError as error:
            raise FormatError(f"{dataset.uris[0]}, clip {columns['clip_id']}: {error}") from error
        yield ExportedClip(columns=columns, tokens_THW=index_N.astype(dtype).reshape(shape))


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
