"""Clips for export: columns, and tokens as the smallest unsigned integers that fit them.

Axes: t, h and w of the token grid, N all tokens of a pyramid, L bits of a token, B = ⌈L/8⌉ its bytes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.dataset.dataset_folder import require_card
from bitmill.pipeline.reading.open_parts import open_part
from bitmill.pipeline.reading.shards.row_groups import ClipSource
from bitmill.pipeline.reading.shards.shard_files import ShardFiles
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.packing import packed_size, unpack_bits, unpack_unsigned
from bitmill.schemas.dataset.token_shard import token_columns
from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.geometry import Code, Geometry

Tokens = npt.NDArray[Any]
"""Unsigned, little-endian: each token's index in [0, 2^L), [t, h, w], of a pyramid [N]. Of more than 64 bits
uint8 [t, h, w, B] or [N, B], the index's lowest byte first."""

SHAPE_COLUMNS = ("num_frames", "height", "width")

_WORD_BITS = 64


@dataclass(frozen=True, kw_only=True)
class ExportedClip:
    """One clip as a format writes it."""

    columns: Mapping[str, Any]
    """The token shard's columns except ``codes``, as plain values."""
    tokens: Tokens
    num_tokens: int

    @property
    def clip_id(self) -> str:
        """The clip's name in every format."""
        return self.columns["clip_id"]


@dataclass(frozen=True, kw_only=True)
class TokenLayout:
    """How the tokens of a dataset are exported."""

    geometry: Geometry
    dtype: np.dtype[Any]
    version: int
    """Of the token shards, and so of the columns."""

    @classmethod
    def of(cls, geometry: Geometry, version: int, *, smallest_bits: int = 8) -> "TokenLayout":
        """Choose the smallest little-endian unsigned integer that fits L and ``smallest_bits`` bits."""
        bits = geometry.code.bits_per_token
        width = next((w for w in (8, 16, 32, _WORD_BITS) if w >= max(bits, smallest_bits)), 8)
        return cls(geometry=geometry, dtype=np.dtype(f"<u{width // 8}"), version=version)

    @property
    def code(self) -> Code:
        """What a token is."""
        return self.geometry.code

    @property
    def values_per_token(self) -> int:
        """1, or B of tokens of more than 64 bits."""
        bits = self.code.bits_per_token
        return 1 if bits <= _WORD_BITS else -(-bits // 8)

    @property
    def token_bytes(self) -> int:
        """Bytes of a token."""
        return self.values_per_token * self.dtype.itemsize

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a clip."""
        return clip_columns(self.version)

    def shape(self, shape_thw: tuple[int, int, int]) -> tuple[int, ...]:
        """Return the shape of a clip's array."""
        geometry, values = self.geometry, self.values_per_token
        tokens = shape_thw if geometry.layout == "grid" else (geometry.num_tokens(shape_thw),)
        return tokens if values == 1 else (*tokens, values)

    def unpack(self, codes: npt.NDArray[np.uint8], shape_thw: tuple[int, int, int]) -> Tokens:
        """Return a clip's array. Raises ValueError if the codes are damaged."""
        num_tokens, code = self.geometry.num_tokens(shape_thw), self.code
        if self.values_per_token > 1:
            bits_NL = unpack_bits(codes, num_tokens, code.bits_per_token)
            values = np.packbits(bits_NL[:, ::-1], axis=1, bitorder="little")
        else:
            values = unpack_unsigned(codes, num_tokens, code.bits_per_token)
            if code.kind != "bits" and bool((values >= code.num_codes).any()):
                raise ValueError(f"a token is not below {code.num_codes}: the codes are damaged")
        return values.astype(self.dtype).reshape(self.shape(shape_thw))


def clip_columns(version: int) -> tuple[str, ...]:
    """Return the exported columns of token shards of this version."""
    return tuple(field.name for field in token_columns(version) if field.name != "codes")


def open_clips(folder: Folder, *, allow_incomplete: bool) -> ClipSource:
    """Open the dataset as it is stored: a ``TokenDataset`` would import torch, in each worker."""
    card = require_card(folder)
    part = open_part(ShardFiles(folder), card, None, None, allow_incomplete=allow_incomplete)
    return ClipSource([part], card.geometry, verify=True, skip_damaged=False)


def read_clips(clips: ClipSource, first: int, count: int, layout: TokenLayout) -> Iterator[ExportedClip]:
    """Yield clips ``first`` to ``first + count``, in the dataset's order.

    Raises FormatError, naming the clip, if its codes are damaged.
    """
    bits = layout.code.bits_per_token
    for clip in clips.clips_between(first, first + count, layout.columns):
        columns = clip.columns.slice(clip.row, 1).to_pylist()[0]
        shape = (columns["num_frames"], columns["height"], columns["width"])
        num_tokens = layout.geometry.num_tokens(shape)
        codes = clip.codes[clip.start : clip.start + packed_size(num_tokens, bits)]
        try:
            tokens = layout.unpack(codes, shape)
        except ValueError as error:
            uri = clips.parts[0].files.folder.uri
            raise FormatError(f"{uri}, clip {columns['clip_id']}: {error}") from error
        yield ExportedClip(columns=columns, tokens=tokens, num_tokens=num_tokens)
