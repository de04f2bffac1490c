"""A form of export that takes its process along; quick to import in that process."""

import os
from dataclasses import dataclass

from bitmill.pipeline.exporting.formats.bin import BinForm


@dataclass(frozen=True)
class Deadly(BinForm):
    """Reads a clip and is gone."""

    dtype = BinForm(18).dtype

    def write_clips(self, path, clips):
        next(clips)
        os._exit(7)
