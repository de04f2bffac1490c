"""A tokenizer's geometry: which clips it takes, which tokens they become, and how a token is stored.

The pipeline knows a tokenizer by this value alone. Axes: T frames of a clip, t, h and w of its token grid, D
dimensions of a code, L bits of a stored token.
"""

from functools import cached_property
from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from bitmill.schemas.strict_model import StrictModel

MAX_BITS_PER_TOKEN = 256
MAX_INDEX_BITS = 63
"""Of codes that are digits or an index, so that an index fits int64."""

Positive = Annotated[int, Field(gt=0)]
SizePx = tuple[Positive, Positive]
"""Height, width."""
Grid = tuple[Positive, Positive, Positive]
"""t, h, w."""

Promise = Literal["causal", "prefix", "streams"]
"""causal: no token depends on a later frame. prefix: the tokens of a clip of a legal length are those at the
start of every longer clip that begins with the same frames. streams: ``stream_encoder`` gives the same tokens
chunk by chunk."""


class _Part(StrictModel):
    @model_serializer(mode="wrap")
    def _without_nulls(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = handler(self)
        return {name: value for name, value in document.items() if value is not None}


class Code(_Part):
    """What one token is: independent bits, digits of mixed radix, or an index into a codebook."""

    kind: Literal["bits", "digits", "index"]
    bits_per_token: Annotated[int, Field(ge=1, le=MAX_BITS_PER_TOKEN)]
    """L: bits of a stored token, ⌈log₂ K⌉ for K codes."""
    levels: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)] | None = None
    """Of digits: the number of values of each dimension."""
    size: Annotated[int, Field(ge=2)] | None = None
    """Of an index: the number of codes."""
    first: Literal["most", "least"] | None = None
    """Of bits and digits: whether dimension 0 is the most or the least significant of the stored index."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        given = {"levels": self.levels, "size": self.size, "first": self.first}
        needed = {"bits": {"first"}, "digits": {"levels", "first"}, "index": {"size"}}[self.kind]
        if {name for name, value in given.items() if value is not None} != needed:
            raise ValueError(f"a code of kind {self.kind} has exactly {' and '.join(sorted(needed))}")
        if self.kind != "bits" and self.bits_per_token != _bits_of(self.num_codes):
            raise ValueError(
                f"{self.num_codes} codes take {_bits_of(self.num_codes)} bits_per_token, "
                f"not {self.bits_per_token}"
            )
        if self.kind != "bits" and self.bits_per_token > MAX_INDEX_BITS:
            raise ValueError(f"a code of kind {self.kind} has at most {MAX_INDEX_BITS} bits_per_token")
        return self

    @classmethod
    def of_bits(cls, bits_per_token: int, first: Literal["most", "least"] = "most") -> "Code":
        """Return the code of ``bits_per_token`` independent bits."""
        return cls(kind="bits", bits_per_token=bits_per_token, first=first)

    @classmethod
    def of_digits(cls, levels: tuple[int, ...], first: Literal["most", "least"] = "least") -> "Code":
        """Return the code of a digit per entry of ``levels``; FSQ's dimension 0 is the least significant."""
        return cls(kind="digits", bits_per_token=_bits_of(prod(levels)), levels=levels, first=first)

    @classmethod
    def of_index(cls, size: int) -> "Code":
        """Return the code that is an index in [0, size)."""
        return cls(kind="index", bits_per_token=_bits_of(size), size=size)

    @property
    def num_codes(self) -> int:
        """K: the number of different tokens."""
        if self.levels is not None:
            return prod(self.levels)
        return 1 << self.bits_per_token if self.size is None else self.size

    @property
    def dimensions(self) -> int:
        """D: L bits, the digits, or 1 for an index."""
        if self.levels is not None:
            return len(self.levels)
        return self.bits_per_token if self.kind == "bits" else 1

    @property
    def bases(self) -> tuple[int, ...]:
        """The number of values of each dimension."""
        if self.levels is not None:
            return self.levels
        return (2,) * self.bits_per_token if self.size is None else (self.size,)


def _bits_of(num_codes: int) -> int:
    return max(1, (num_codes - 1).bit_length())


class Geometry(_Part):
    """The clips and token grids of a tokenizer.

    A clip of T frames has ``lead_frames`` + (T − ``lead_frames``) / ``frames_per_token`` token rows: a lead
    frame makes a row by itself, each later row covers ``frames_per_token`` frames.
    """

    layout: Literal["grid", "pyramid"] = "grid"
    """pyramid: a clip's tokens are several grids, one after the other, whose last one is ``grid``."""
    patch_px: SizePx
    """Pixels of one token."""
    frames_per_token: Positive = 1
    lead_frames: Literal[0, 1] = 0
    min_frames: Positive = 1
    max_frames: Positive | None = None
    """Least and most frames of a clip; None has no limit."""
    size_px: SizePx | None = None
    """The only frame size; None takes every multiple of ``size_multiple_px``."""
    size_multiple_px: SizePx | None = None
    """None: ``patch_px``."""
    usual_side_px: Positive | None = None
    """Of a tokenizer of any size: the side of the squares of a job that names no size; None: it has to."""
    schedules: dict[str, tuple[Grid, ...]] | None = None
    """Of pyramids: the grids of each ``grid_name``, the full one last."""
    code: Code
    promises: tuple[Promise, ...] = ()

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.layout == "pyramid") != (self.schedules is not None):
            raise ValueError("schedules belong to the layout pyramid, which needs them")
        for name, grids in (self.schedules or {}).items():
            if not grids or grid_name(*grids[-1][1:]) != name:
                raise ValueError(f"the last grid of the schedule {name!r} must be of that size")
        if self.size_px is not None and any(_rest(self.size_px, self.multiple_px)):
            raise ValueError(f"size_px {self.size_px} is no multiple of {self.multiple_px}")
        side = self.usual_side_px
        if side is not None and (self.size_px is not None or any(_rest((side, side), self.multiple_px))):
            raise ValueError(
                f"usual_side_px {side} must be a multiple of the token's, of a tokenizer of any size"
            )
        if any(_rest(self.multiple_px, self.patch_px)):
            raise ValueError(
                f"size_multiple_px {self.multiple_px} is no multiple of patch_px {self.patch_px}"
            )
        if self.max_frames is not None and self.max_frames < self.least_frames:
            raise ValueError(f"max_frames {self.max_frames} allows no clip of {self.least_frames} frames")
        return self

    @property
    def multiple_px(self) -> SizePx:
        """Height and width of frames are multiples of these."""
        return self.size_multiple_px or self.patch_px

    @cached_property
    def least_frames(self) -> int:
        """The shortest legal length."""
        return self._up(max(self.min_frames, self.lead_frames or self.frames_per_token))

    @property
    def most_frames(self) -> int | None:
        """The longest legal length, or None."""
        return None if self.max_frames is None else self._down(self.max_frames)

    def is_legal(self, num_frames: int) -> bool:
        """Whether a clip may have this number of frames."""
        most = self.most_frames
        return self.least_frames <= num_frames == self._up(num_frames) and (
            most is None or num_frames <= most
        )

    def legal_at_least(self, num_frames: int) -> int | None:
        """Return the shortest legal length of at least ``num_frames``, or None."""
        found, most = max(self.least_frames, self._up(num_frames)), self.most_frames
        return found if most is None or found <= most else None

    def legal_at_most(self, num_frames: int) -> int | None:
        """Return the longest legal length of at most ``num_frames``, or None."""
        most = self.most_frames
        found = self._down(num_frames if most is None else min(num_frames, most))
        return found if found >= self.least_frames else None

    @property
    def usual_frames(self) -> int:
        """The clip length where a job names none: the longest up to 16, or 17 with a lead frame."""
        return self.legal_at_most(16 + self.lead_frames) or self.least_frames

    def token_rows(self, num_frames: int) -> int:
        """Return t of a clip of a legal length."""
        return self.lead_frames + (num_frames - self.lead_frames) // self.frames_per_token

    def frames_of_rows(self, token_rows: int) -> int:
        """Return the number of frames that ``token_rows`` rows decode to."""
        return self.lead_frames + (token_rows - self.lead_frames) * self.frames_per_token

    def grid(self, height_px: int, width_px: int) -> tuple[int, int]:
        """Return h, w of frames of this size, which must be a multiple of ``multiple_px``."""
        return height_px // self.patch_px[0], width_px // self.patch_px[1]

    def scales(self, shape_thw: Grid) -> tuple[Grid, ...]:
        """Return the grids of a clip's tokens, one after the other; ``shape_thw`` is its (full) grid.

        Raises KeyError if a pyramid has no schedule for it.
        """
        return (shape_thw,) if self.schedules is None else self.schedules[grid_name(*shape_thw[1:])]

    def num_tokens(self, shape_thw: Grid) -> int:
        """Return the number of tokens of a clip whose (full) grid is t, h, w; errors as for ``scales``."""
        return sum(map(prod, self.scales(shape_thw)))

    def _up(self, num_frames: int) -> int:
        rest = -(num_frames - self.lead_frames) % self.frames_per_token
        return num_frames + rest if num_frames >= self.lead_frames else self.lead_frames

    def _down(self, num_frames: int) -> int:
        return num_frames - (num_frames - self.lead_frames) % self.frames_per_token


def grid_name(height: int, width: int) -> str:
    """Return the key of a pyramid's schedule: ``16x16``."""
    return f"{height}x{width}"


def _rest(size: SizePx, divisor: SizePx) -> tuple[int, int]:
    return size[0] % divisor[0], size[1] % divisor[1]
