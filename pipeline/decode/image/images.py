"""Decodes images and animations with Pillow to upright 8-bit RGB; detects formats by content."""

import struct
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from bitmill.pipeline.decode.image.jpeg_streams import is_jpeg_stream
from bitmill.pipeline.decode.image.png_chunks import SIGNATURE as PNG_SIGNATURE
from bitmill.pipeline.decode.image.png_chunks import readable_png
from bitmill.pipeline.decode.image.webp_chunks import is_webp, whole_frames
from bitmill.pipeline.decode.library_faults import library_fault
from bitmill.pipeline.decode.pixels.orientation import UPRIGHT, Orientation
from bitmill.pipeline.decode.sampling.timeline import Timed
from bitmill.pipeline.decode.video.probe import check_pixels
from bitmill.pipeline.decode.video.truncation import boxes_are_cut, riff_is_cut
from bitmill.schemas.errors import BadItemError
from bitmill.schemas.outcomes import Reason

# The job's max_pixels replaces Pillow's own guard; it is checked before anything is decoded.
Image.MAX_IMAGE_PIXELS = None

_COMMON = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "PPM", "JPEG2000"]
_RARE = ["ICO", "ICNS", "PCX", "SGI", "QOI", "DDS", "PSD", "SUN", "XBM", "XPM"]
_ANIMATED = frozenset({"GIF", "PNG", "WEBP", "AVIF"})
_SIGNATURES = (b"\xff\xd8\xff", PNG_SIGNATURE, b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_AVIF = (b"ftypavif", b"ftypavis")
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error, IndexError, RuntimeError)
"""Errors by which Pillow reports bad bytes while reading; elsewhere these are programming errors."""
_CUT = "bitmill: only what is whole of a file that ends too early"
"""Key in ``image.info`` of an image whose file is cut off."""
_DEEP_KEY = "bitmill: high bytes of the transparent colour"
"""Key in ``image.info`` of a PNG with 16 bits per colour, of which Pillow keeps only the high bytes."""
_LEVELS = {"L;2": 85, "L;4": 17}
"""By which Pillow multiplies the grey levels of a PNG, but not its transparent one; by raw mode."""
_EXIF_ORIENTATION = 0x0112
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_ORIENTATIONS = {
    2: Orientation(False, True, False),
    3: Orientation(False, True, True),
    4: Orientation(False, False, True),
    5: Orientation(True, False, False),
    6: Orientation(True, True, False),
    7: Orientation(True, True, True),
    8: Orientation(True, False, True),
}
_UNTOLD_DURATION_MS = 100
"""How long browsers show an animation's frame without a duration."""


@dataclass(frozen=True, slots=True)
class StillPicture:
    """Upright pixels, [H, W, 3] RGB."""

    pixels_HWC: npt.NDArray[np.uint8]

    def rgb(self) -> tuple[npt.NDArray[np.uint8], Fraction]:
        """Returns (image, pixel aspect ratio); images have square pixels."""
        return self.pixels_HWC, Fraction(1)


def open_image(path: str, *, max_pixels: int) -> Image.Image | None:
    """Open an image file without decoding it; returns None if the bytes are not an image, or are a stream of
    JPEGs.

    Raises BadItemError: TOO_MANY_PIXELS; CORRUPT or TRUNCATED if only the first bytes are an image's.
    """
    with Path(path).open("rb") as file:
        head = file.read(12)
    is_cut = is_webp(head) and riff_is_cut(path)
    try:
        with _reading(path):
            image = Image.open(_readable(path, head, is_cut=is_cut), formats=[*_COMMON, *_RARE])
            # The first call makes a GIF search for its second frame, once.
            _is_animated(image)
    except UnidentifiedImageError:
        # FFmpeg would read these as a video of one frame.
        is_avif = head[4:] in _AVIF
        if not (is_avif or head.startswith(_SIGNATURES) or is_webp(head)):
            return None
        reason = Reason.TRUNCATED if is_avif and boxes_are_cut(path) else Reason.CORRUPT
        raise BadItemError(reason, "The image's header is damaged or incomplete.") from None
    if image.format == "JPEG" and not _lists_other_pictures(image):
        with _reading(path):
            is_stream = is_jpeg_stream(path)
        if is_stream:
            image.close()
            return None
    if is_cut:
        image.info[_CUT] = True
    if image.format == "PNG" and "transparency" in image.info and image.tile:
        _scale_transparency(image.info, image.tile[0].args)
    check_pixels(image.width, image.height, max_pixels)
    return image


def _lists_other_pictures(image: Image.Image) -> bool:
    """Returns whether a photograph names pictures appended to it, by MPF or by XMP's containers of phones."""
    return "mp" in image.info or b"Container:Directory" in image.info.get("xmp", b"")


def _scale_transparency(info: dict[str | tuple[int, int], Any], raw_mode: object) -> None:
    """Makes the transparent colour of a PNG one of the values that Pillow decodes."""
    if raw_mode in _LEVELS:
        info["transparency"] *= _LEVELS[str(raw_mode)]
    if raw_mode == "RGB;16B":
        info[_DEEP_KEY] = [value >> 8 for value in info.pop("transparency")]


def _readable(path: str, head: bytes, *, is_cut: bool) -> str | BytesIO:
    if head.startswith(PNG_SIGNATURE):
        return readable_png(path) or path
    if not is_cut:
        return path
    frames = whole_frames(path)
    if frames is None:
        raise BadItemError(Reason.TRUNCATED, "The file ends before its first image is complete.")
    return frames


def is_animation(image: Image.Image) -> bool:
    """Returns whether the image has timed frames, unlike the pages of a TIFF or the views of an MPO."""
    return image.format in _ANIMATED and (_is_animated(image) or _CUT in image.info)


def _is_animated(image: Image.Image) -> bool:
    return bool(getattr(image, "is_animated", False))


def num_pages(image: Image.Image, path: str) -> int:
    """Returns the number of pages of a TIFF; 1 for other formats, including MPO. Raises BadItemError."""
    with _reading(path):
        return int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1


def read_still(image: Image.Image, path: str) -> StillPicture:
    """Decode the (first) image, oriented by its EXIF tag. Raises BadItemError."""
    with _reading(path):
        image.load()
    return _upright(image, _exif_orientation(image))


def read_animation(image: Image.Image, path: str) -> Iterator[Timed[StillPicture]]:
    """Yields composed frames, timed by their durations from 0, oriented by the file's EXIF tag.

    Raises BadItemError after the intact frames.
    """
    # An APNG may begin with a default image for programs that cannot play it.
    index, at_ms = int(bool(getattr(image, "default_image", False))), 0.0
    orientation: Orientation | None = None
    while True:
        with _reading(path):
            if index >= int(getattr(image, "n_frames", 1)):
                break
            image.seek(index)
            image.load()
        duration_ms = float(image.info.get("duration") or 0) or _UNTOLD_DURATION_MS
        orientation = orientation or _exif_orientation(image)
        yield Timed(round(at_ms * 1e6), round(duration_ms * 1e6), _upright(image, orientation))
        at_ms += duration_ms
        index += 1
    if _CUT in image.info:
        raise BadItemError(Reason.TRUNCATED, "The file ends before its last frame is complete.")


def upright_height_width(image: Image.Image) -> tuple[int, int]:
    """Returns (height, width) of a still image as ``read_still`` gives it; may decode it for its EXIF tag."""
    swapped = _exif_orientation(image).transpose
    return (image.width, image.height) if swapped else (image.height, image.width)


def _upright(image: Image.Image, orientation: Orientation) -> StillPicture:
    with _quiet():
        return StillPicture(orientation.apply(to_rgb(image)))


@contextmanager
def _quiet() -> Generator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _reading(path: str) -> Generator[None]:
    """Within the block, turns Pillow's errors about bad bytes into BadItemError."""
    try:
        with _quiet():
            yield
    except (UnidentifiedImageError, RecursionError):
        raise
    except _DAMAGE as error:
        raise library_fault(error, path, meaning=_meaning(error, path)) from error


def _meaning(error: Exception, path: str) -> Reason:
    with Path(path).open("rb") as file:
        if is_webp(file.read(12)):
            return Reason.TRUNCATED if riff_is_cut(path) else Reason.CORRUPT
    is_cut = isinstance(error, EOFError) or "truncated" in str(error).lower()
    return Reason.TRUNCATED if is_cut else Reason.CORRUPT


def to_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Returns [H, W, 3] RGB: of 16 bits the high byte, transparency over white, CMYK and palettes converted.

    Colour profiles are not applied. Raises BadItemError(UNSUPPORTED_CODEC) for float images, whose white
    level is undefined, and if the high bytes do not tell which pixels are transparent; and whatever Pillow
    raises for damaged bytes.
    """
    image.load()
    if image.mode == "F":
        raise BadItemError(Reason.UNSUPPORTED_CODEC, "The image has float values of unknown range.")
    if image.mode.startswith("I"):
        return np.repeat(_high_bytes(image)[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        if image.mode in ("La", "RGBa"):
            image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
        over = image.convert("RGBA")
        white = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return np.array(Image.alpha_composite(white, over).convert("RGB"), np.uint8)
    pixels = np.array(image.convert("RGB"), np.uint8)
    if _DEEP_KEY in image.info and (pixels == image.info[_DEEP_KEY]).all(axis=2).any():
        detail = "Pixels of 16 bits may be transparent, which the decoder does not tell."
        raise BadItemError(Reason.UNSUPPORTED_CODEC, detail)
    return pixels


def _high_bytes(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Returns the levels of a grey image of more than 8 bits, [H, W], its transparent one as white."""
    values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
    bits = 16
    if image.mode == "I;16" and isinstance(image, TiffImageFile):
        # Pillow neither scales 12 bits nor inverts.
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, (16,))[0]
        if image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            values = (1 << bits) - 1 - values
    levels = (values >> (bits - 8)).astype(np.uint8)
    if "transparency" in image.info:
        levels[values == image.info["transparency"]] = 255
    return levels


def _exif_orientation(image: Image.Image) -> Orientation:
    """Returns the orientation by the tag of an image; a damaged tag counts as upright."""
    try:
        with _quiet():
            tag = image.getexif().get(_EXIF_ORIENTATION, 1)
    except (*_DAMAGE, KeyError):
        return UPRIGHT
    return _ORIENTATIONS.get(tag, UPRIGHT) if isinstance(tag, int) else UPRIGHT
