"""Checks a job's frame sizes against its tokenizer."""

from collections.abc import Sequence
from math import lcm, prod

from bitmill.pipeline.decode.pixels.frame_sizes import FrameSizes, frame_sizes, squares
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.geometry import Geometry, SizePx, grid_name
from bitmill.schemas.requests.frames import NativeFrames
from bitmill.schemas.requests.job import JobSpec


def job_frame_sizes(job: JobSpec, geometry: Geometry) -> FrameSizes:
    """Return the sizes of the job's frames. Raises UsageError if the tokenizer does not take them."""
    frames, multiple = job.frames, geometry.multiple_px
    if not frames.is_square:
        _check_buckets(geometry, frames.buckets or ())
        if frames.native is not None:
            _check_native(geometry, frames.native)
        return frame_sizes(frames, square_px=None, multiple_px=multiple)
    others = ", frames.buckets or frames.native (docs/geometry.md)"
    return squares(square_size_px(geometry, frames.size_px, option="frames.size_px", or_else=others))


def _check_buckets(geometry: Geometry, buckets: Sequence[SizePx]) -> None:
    for height, width in buckets:
        if geometry.size_px not in (None, (height, width)):
            own = "×".join(map(str, geometry.size_px))
            raise UsageError(
                f"The tokenizer takes frames of {own} pixels alone, not of {height}×{width} (frames.buckets)."
            )
        down, across = geometry.multiple_px
        if height % down or width % across:
            raise UsageError(
                f"frames.buckets has {height}×{width} pixels, but the tokenizer takes multiples of "
                f"{down}×{across} alone."
            )
        _check_schedule(geometry, (height, width), option="frames.buckets")


def _check_native(geometry: Geometry, native: NativeFrames) -> None:
    if geometry.size_px is not None:
        own = "×".join(map(str, geometry.size_px))
        raise UsageError(f"The tokenizer takes frames of {own} pixels alone: leave frames.native out.")
    if geometry.schedules is not None:
        raise UsageError("The tokenizer takes a few sizes alone: name them in frames.buckets.")
    down, across = geometry.multiple_px
    if native.short_side_px is not None and native.short_side_px < max(down, across):
        raise UsageError(
            f"frames.native.short_side_px {native.short_side_px} is less than {max(down, across)}, the least "
            "side that the tokenizer takes."
        )
    if native.area_px is not None and native.area_px < down * across:
        raise UsageError(
            f"frames.native.area_px {native.area_px} is less than {down}×{across}, the least frame that the "
            "tokenizer takes."
        )


def _check_schedule(geometry: Geometry, size: SizePx, *, option: str) -> None:
    if geometry.schedules is not None and grid_name(*geometry.grid(*size)) not in geometry.schedules:
        known = ", ".join(geometry.schedules)
        raise UsageError(
            f"The tokenizer has no schedule for frames of {size[0]}×{size[1]} pixels ({option}); it has "
            f"those of the grids {known}, of {geometry.patch_px[0]}×{geometry.patch_px[1]} pixels a token."
        )


def square_size_px(geometry: Geometry, size_px: int | None, *, option: str, or_else: str = "") -> int:
    """Return the side of square frames: ``size_px``, or the tokenizer's own or usual one.

    ``option`` names it in errors, ``or_else`` what else may be set. Raises UsageError if the
    tokenizer does not take them.
    """
    fixed, multiple = geometry.size_px, geometry.multiple_px
    if fixed is not None and fixed[0] != fixed[1]:
        raise UsageError(
            f"The tokenizer takes frames of {fixed[0]}×{fixed[1]} pixels, which are no squares; a job names "
            f"them by frames.buckets."
        )
    if size_px is None and fixed is not None:
        return fixed[0]
    if size_px is None and geometry.usual_side_px is not None:
        return geometry.usual_side_px
    if size_px is None:
        sizes = "any size" if geometry.schedules is None else "several sizes"
        raise UsageError(
            f"The tokenizer takes frames of {sizes}: set {option}, a multiple of {lcm(*multiple)} pixels"
            f"{or_else}."
        )
    if fixed is not None and size_px != fixed[0]:
        raise UsageError(f"{option} {size_px} is not the size that the tokenizer was made for ({fixed[0]}).")
    if size_px % lcm(*multiple):
        raise UsageError(f"{option} {size_px} is not divisible by {lcm(*multiple)}, as the tokenizer needs.")
    _check_schedule(geometry, (size_px, size_px), option=option)
    return size_px


def option_size(geometry: Geometry, size: SizePx | None) -> SizePx:
    """Return the ``--size`` given, or the tokenizer's own. Raises UsageError if it does not take that."""
    if size is None and geometry.size_px is not None:
        return geometry.size_px
    if size is None or size[0] == size[1]:
        side_px = square_size_px(geometry, None if size is None else size[0], option="--size")
        return side_px, side_px
    own, (down, across) = geometry.size_px, geometry.multiple_px
    if own not in (None, size) or size[0] % down or size[1] % across:
        told = f"multiples of {down}×{across}" if own is None else f"{own[0]}×{own[1]}"
        raise UsageError(f"--size {size_text(size)}: the tokenizer takes frames of {told} pixels.")
    _check_schedule(geometry, size, option="--size")
    return size


def largest_within(geometry: Geometry, size: SizePx) -> SizePx:
    """Return the largest size that the tokenizer takes in ``size``, or the least that it takes."""
    (down, across), (height, width) = geometry.multiple_px, size
    if geometry.schedules is None:
        return max(height // down, 1) * down, max(width // across, 1) * across
    down, across = geometry.patch_px
    sizes = [(h * down, w * across) for *_, (_, h, w) in geometry.schedules.values()]
    fitting = [one for one in sizes if one[0] <= height and one[1] <= width]
    return max(fitting, key=prod) if fitting else min(sizes, key=prod)


def size_of_text(text: str) -> SizePx:
    """Parse ``256`` or ``128x224``, height before width. Raises UsageError."""
    sides = text.split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise UsageError(f"--size {text} is no size: give a square's side, or height and width as 128x224.")
    return int(sides[0]), int(sides[-1])


def size_text(size: SizePx) -> str:
    """Return what ``size_of_text`` parses."""
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"
