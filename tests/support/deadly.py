"""A format of export that takes its process along; quick to import in that process."""

import os
from dataclasses import dataclass

from bitmill.pipeline.exporting.formats.bin import BinFormat


@dataclass(frozen=True)
class Deadly(BinFormat):
    """Reads a clip and is gone."""

    dtype = BinFormat(18).dtype

    def write_clips(self, path, clips):
        next(clips)
        os._exit(7)
