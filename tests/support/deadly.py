"""A format of export that takes its process along; quick to import in that process."""

import os
from dataclasses import dataclass

from bitmill.pipeline.exporting.formats.bin import BinFormat
from tests.support.exports import GEOMETRY


@dataclass(frozen=True)
class Deadly(BinFormat):
    """Reads a clip and is gone."""

    tokens = BinFormat(GEOMETRY, 2).tokens

    def write_clips(self, path, clips):
        next(clips)
        os._exit(7)
