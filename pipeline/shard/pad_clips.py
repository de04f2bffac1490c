"""Pads clips whose length the tokenizer does not take."""

import numpy as np

from bitmill.schemas.arrays import Frames
from bitmill.schemas.models.geometry import Geometry


def padded(frames_THWC: Frames, geometry: Geometry) -> Frames:
    """Returns a clip with its last frame again up to the next length that the tokenizer takes."""
    missing = (geometry.legal_at_least(len(frames_THWC)) or 0) - len(frames_THWC)
    if missing <= 0:
        return frames_THWC
    return np.concatenate((frames_THWC, np.repeat(frames_THWC[-1:], missing, axis=0)))
