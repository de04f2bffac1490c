"""``frames`` of a job: the size that each item's frames get before they are tokenized."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bitmill.schemas.strict_model import StrictModel

PixelRule = Literal[1, 2]
"""The version of the arithmetic from decoded video frames to pixels (docs/decoding.md)."""

NEWEST_PIXEL_RULE: PixelRule = 2

MAX_SIDE_PX = 8192

INTERPOLATED_POSITIONS = "interpolate: bicubic, antialiased"
"""How a BSQ-ViT gets its positions for other sizes; a field of the fingerprint."""

Pixels = Annotated[int, Field(gt=0, strict=True)]
"""Strict: ``true``, ``"128"`` and ``128.0`` are slips."""
Side = Annotated[Pixels, Field(le=MAX_SIDE_PX)]


class NativeFrames(StrictModel):
    """Frames keep their aspect ratio; at least one of the bounds is given. Frames are never enlarged, except
    to the smallest size that the tokenizer takes."""

    short_side_px: Side | None = None
    """The most pixels of the short side."""
    area_px: Annotated[Pixels, Field(le=MAX_SIDE_PX**2)] | None = None
    """The most pixels of a frame."""

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        if self.short_side_px is None and self.area_px is None:
            raise ValueError("give short_side_px, area_px, or both")
        return self


class FrameSpec(StrictModel):
    """How frames are resized for the tokenizer: to a square (the default), a bucket, or their own shape."""

    size_px: Side | None = None
    """Side of the square: the short side is resized to it (Lanczos, antialiased), the centre is cropped. None
    uses the tokenizer's size."""
    buckets: tuple[tuple[Pixels, Pixels], ...] | None = None
    """Sizes, (height, width); an item gets the one nearest to its aspect ratio (docs/geometry.md)."""
    native: NativeFrames | None = None
    """Keeps the aspect ratio: scaled, then cropped to the tokenizer's multiple."""
    interpolate_positions: bool = False
    """Allow sizes that a BSQ-ViT was not made for. With ``size_px`` a resized copy, which is a different
    tokenizer, makes the tokens and is stored in the dataset; with ``buckets`` and ``native`` one with
    the same weights, whose positions are interpolated for each size."""
    pixel_rule: PixelRule | None = None
    """None keeps an existing dataset's rule; a new dataset gets the newest rule that its decoder supports."""

    @property
    def is_square(self) -> bool:
        """Whether all frames are squares of one size."""
        return self.buckets is None and self.native is None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(way is not None for way in (self.size_px, self.buckets, self.native)) > 1:
            raise ValueError("give one of size_px, buckets and native")
        if self.buckets == ():
            raise ValueError("buckets is empty")
        for size in self.buckets or ():
            if max(size) > MAX_SIDE_PX:
                raise ValueError(f"a bucket of {size[0]}×{size[1]} pixels has a side above {MAX_SIDE_PX}")
        if self.buckets is not None and len(set(self.buckets)) < len(self.buckets):
            double = next(size for size in self.buckets if self.buckets.count(size) > 1)
            raise ValueError(f"buckets has {double[0]}×{double[1]} twice")
        return self
