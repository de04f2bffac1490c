"""JPEG, JPEG2000, WebP and AVIF by Pillow, whole files."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.compression.contender import Coded
from benchmarks.compression.media import Item


@dataclass(frozen=True, kw_only=True)
class Still:
    """A codec of Pillow's at several qualities."""

    name: str
    format: str
    settings: tuple[int, ...]
    """Quality 0 to 100; of JPEG2000 the compression ratio."""
    options: dict[str, Any]

    def code(self, item: Item, setting: int) -> Coded:
        """See Contender."""
        knob: dict[str, Any] = {"quality": setting}
        if self.format == "JPEG2000":
            knob = {"quality_mode": "rates", "quality_layers": [setting]}
        buffer = io.BytesIO()
        Image.fromarray(item.frames_THWC[0]).save(buffer, format=self.format, **knob, **self.options)
        decoded = np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB"))
        return Coded(num_bytes=len(buffer.getvalue()), frames_THWC=decoded[None])


STILLS = (
    Still(
        name="JPEG",
        format="JPEG",
        settings=(1, 4, 8, 12, 18, 25, 35, 50, 65),
        options={"optimize": True},
    ),
    Still(
        name="JPEG2000",
        format="JPEG2000",
        settings=(600, 300, 160, 90, 50, 28, 16),
        options={"irreversible": True, "mct": 1, "no_jp2": True},
    ),
    Still(
        name="WebP",
        format="WEBP",
        settings=(0, 5, 13, 25, 42, 60, 75),
        options={"method": 6},
    ),
    Still(
        name="AVIF",
        format="AVIF",
        settings=(0, 10, 20, 30, 40, 50, 60),
        options={"speed": 4, "max_threads": 1},
    ),
)
