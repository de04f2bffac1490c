"""Chooses the size of an item's frames: one of a job's, or the frame's own shape. Exact, without floats."""

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

from bitmill.pipeline.decode.pixels.crop import sane_aspect, scaled_size
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.models.geometry import SizePx
from bitmill.schemas.requests.frames import MAX_SIDE_PX, FrameSpec

_LARGE = 1 << 20


@dataclass(frozen=True)
class Buckets:
    """Sizes to choose from, (height, width); squares are a single one."""

    sizes: tuple[SizePx, ...]

    def size_of(self, width: int, height: int, aspect: Fraction) -> SizePx:
        """Returns the size for a frame of this size and pixel aspect ratio after rotation.

        The one whose aspect ratio is nearest (least |log ratio|); of equally near ones the largest to which
        the frame is not enlarged, then the first.
        """
        shown = width * sane_aspect(aspect) / height

        def order(size: SizePx) -> tuple[Fraction, int]:
            ratio = shown * size[0] / size[1]
            across, down = scaled_size(width, height, aspect, size)
            is_enlarged = across > width or down > height
            return max(ratio, 1 / ratio), 0 if is_enlarged else -size[0] * size[1]

        return min(self.sizes, key=order)

    def allows(self, size: SizePx) -> bool:
        """Whether a frame may have this size."""
        return size in self.sizes

    def __str__(self) -> str:
        return ", ".join(f"{height}×{width}" for height, width in self.sizes)

    @property
    def largest(self) -> SizePx:
        """The size with the most pixels."""
        return max(self.sizes, key=_num_pixels)


@dataclass(frozen=True, kw_only=True)
class NativeSizes:
    """Sizes of the frame's own shape, rounded down to the multiple; both bounds are at least the multiple."""

    multiple_px: SizePx
    short_side_px: int | None = None
    area_px: int | None = None

    def size_of(self, width: int, height: int, aspect: Fraction) -> SizePx:
        """Returns the size for a frame of this size and pixel aspect ratio after rotation.

        The largest within the bounds that enlarges neither axis, or, if that has a side below the multiple,
        the least that has not. Longer sides than ``MAX_SIDE_PX``, or than the area allows, are cropped.
        """
        aspect = sane_aspect(aspect)
        shown_width, shown_height = width * min(aspect, 1), height / max(aspect, 1)
        scaled_width, scaled_height = self._scaled(Fraction(shown_width), Fraction(shown_height))
        least_height, least_width = self.multiple_px
        if scaled_height < least_height or scaled_width < least_width:
            scaled_width, scaled_height = scaled_size(width, height, aspect, self.multiple_px)
        rows = min(scaled_height, MAX_SIDE_PX) // least_height * least_height
        columns = min(scaled_width, MAX_SIDE_PX) // least_width * least_width
        if self.area_px is not None and rows * columns > self.area_px:
            # Only a frame that was enlarged, whose short side is the multiple.
            if rows == least_height:
                columns = self.area_px // rows // least_width * least_width
            else:
                rows = self.area_px // columns // least_height * least_height
        return rows, columns

    def allows(self, size: SizePx) -> bool:
        """Whether a frame may have this size."""
        (down, across), (height, width) = self.multiple_px, size
        return (
            height % down == width % across == 0
            and max(size) <= MAX_SIDE_PX
            and (self.short_side_px is None or min(size) <= self.short_side_px)
            and (self.area_px is None or height * width <= self.area_px)
        )

    def __str__(self) -> str:
        told = [f"multiples of {self.multiple_px[0]}×{self.multiple_px[1]}"]
        told += [] if self.short_side_px is None else [f"a short side of at most {self.short_side_px}"]
        told += [] if self.area_px is None else [f"an area of at most {self.area_px:,}"]
        return ", ".join(told)

    def _scaled(self, width: Fraction, height: Fraction) -> tuple[int, int]:
        """Returns (width, height) scaled to the bounds and rounded down."""
        across, down = [int(width)], [int(height)]
        if self.short_side_px is not None:
            across.append(int(self.short_side_px * width / min(width, height)))
            down.append(int(self.short_side_px * height / min(width, height)))
        if self.area_px is not None:
            across.append(isqrt(int(self.area_px * width / height)))
            down.append(isqrt(int(self.area_px * height / width)))
        return min(across), min(down)

    @property
    def largest(self) -> SizePx:
        """The size with the most pixels of a large square frame and one that is twice as wide as high."""
        return max(
            (self.size_of(width, _LARGE, Fraction(1)) for width in (_LARGE, 2 * _LARGE)), key=_num_pixels
        )


FrameSizes = Buckets | NativeSizes


def squares(size_px: int) -> Buckets:
    """Returns the sizes of a job whose frames are all squares of this side."""
    return Buckets(((size_px, size_px),))


def frame_sizes(frames: FrameSpec, *, square_px: int | None, multiple_px: SizePx) -> FrameSizes:
    """Returns the sizes that a job asks for; ``square_px`` is the side of its squares, if it has squares."""
    if frames.buckets is not None:
        return Buckets(frames.buckets)
    if frames.native is not None:
        return NativeSizes(multiple_px=multiple_px, **frames.native.model_dump())
    if square_px is None:
        raise ValueError("a job of squares needs their side")
    return squares(square_px)


def stored_frame_sizes(card: DatasetCard) -> FrameSizes:
    """Returns the sizes that the job of a dataset asked for."""
    return frame_sizes(
        FrameSpec.model_validate(card.job.get("frames", {})),
        square_px=card.fingerprint_fields["frames.size_px"],
        multiple_px=card.geometry.multiple_px,
    )


def _num_pixels(size: SizePx) -> int:
    return size[0] * size[1]
