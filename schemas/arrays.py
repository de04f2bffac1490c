"""Names of array types."""

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

Frames = npt.NDArray[np.uint8]
"""RGB [T, H, W, 3]."""
Picture = npt.NDArray[np.uint8]
"""RGB [H, W, 3]."""
Codes = npt.NDArray[np.uint8]
"""Packed codes."""
