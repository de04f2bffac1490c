"""Encodes a picture with JPEG, WebP and JPEG2000 in as many bytes as its tokens take."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from bitmill.schemas.arrays import Picture

_SEARCH_STEPS = 12


@dataclass(frozen=True, kw_only=True)
class Coded:
    """One picture after encoding and decoding."""

    num_bytes: int
    """Bytes that ``Codec.size`` counts."""
    picture: Picture


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A Pillow codec with one knob, from lowest (0) to highest (1) quality."""

    name: str
    counted: str
    """Describes which bytes of the file count."""
    write: Callable[[Image.Image, float], bytes]
    size: Callable[[bytes], int] = len


def _jpeg(image: Image.Image, knob: float) -> bytes:
    return _saved(image, "JPEG", quality=round(1 + 99 * knob), optimize=True)


def _scan_bytes(data: bytes) -> int:
    """Count only JPEG's entropy-coded data: tables and headers, about 600 bytes, exceed a small picture."""
    return len(data) - data.index(b"\xff\xda")


def _webp(image: Image.Image, knob: float) -> bytes:
    return _saved(image, "WEBP", quality=round(100 * knob), method=6)


def _jpeg2000(image: Image.Image, knob: float) -> bytes:
    # From 1:1000 to 1:2; irreversible wavelets and YCC, as JPEG2000 is used at low rates. No JP2 boxes.
    return _saved(
        image,
        "JPEG2000",
        quality_mode="rates",
        quality_layers=[1000.0 ** (1 - knob) * 2],
        irreversible=True,
        mct=1,
        no_jp2=True,
    )


CODECS = (
    Codec(name="JPEG", counted="scan data, without headers and tables", write=_jpeg, size=_scan_bytes),
    Codec(name="WebP", counted="the whole file", write=_webp),
    Codec(name="JPEG2000", counted="the codestream, without JP2 boxes", write=_jpeg2000),
)


def code_at(codec: Codec, picture: Picture, budget_bytes: int) -> Coded:
    """Encode at the best quality whose bytes do not exceed the budget; at the lowest if none fits."""
    image = Image.fromarray(picture)
    low, high = 0.0, 1.0
    best = codec.write(image, 0.0)
    for _ in range(_SEARCH_STEPS):
        if codec.size(best) > budget_bytes:
            break
        middle = (low + high) / 2
        tried = codec.write(image, middle)
        if codec.size(tried) <= budget_bytes:
            low, best = middle, tried
        else:
            high = middle
    return Coded(num_bytes=codec.size(best), picture=np.asarray(Image.open(io.BytesIO(best)).convert("RGB")))


def _saved(image: Image.Image, format_name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format_name, **options)
    return buffer.getvalue()
