"""The only module that uses decord: reads sampled frames of one file in one forward pass."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from bitmill.schemas.arrays import Picture
from bitmill.schemas.errors import BadItemError, InfrastructureError
from bitmill.schemas.outcomes import Reason

NOT_INSTALLED = (
    "compute.decoder is decord, which is not installed here (it has wheels for Linux on x86-64 alone); "
    "leave compute.decoder out to decode with PyAV"
)


def is_installed() -> bool:
    """Whether decord can be imported on this machine."""
    return find_spec("decord") is not None


def read_frames(
    path: str,
    indices: Sequence[int],
    *,
    num_frames: int,
    height_width: tuple[int, int],
    keep: Callable[[Picture], Picture],
) -> list[Picture]:
    """Returns ``keep`` of each frame in ``indices`` (strictly increasing, in presentation order).

    decord prefetches without bound while its reader exists, and after a seek may return a neighbour's
    pixels: hence one forward pass. Raises BadItemError(DECODER_FAILED) if it fails or if its frame count
    or shape differs from the packets', InfrastructureError if decord is not installed. May hang on bad
    files: call it in a process that can be killed.
    """
    if not is_installed():
        raise InfrastructureError(f"{NOT_INSTALLED} (this node)")
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    reader: Any = None
    try:
        reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
        if len(reader) != num_frames:
            raise _disagrees(f"{len(reader)} frames where the packets hold {num_frames}")
        kept: list[Picture] = []
        at = 0
        for index in indices:
            if index > at:
                reader.skip_frames(index - at)
            pixels: Any = reader.next().asnumpy()
            if pixels.dtype != np.uint8 or pixels.shape != (*height_width, 3):
                raise _disagrees(f"pictures of shape {pixels.shape} where the packets say {height_width}")
            kept.append(keep(pixels))
            at = index + 1
        return kept
    except (decord.DECORDError, RuntimeError, StopIteration) as error:
        raise BadItemError(Reason.DECODER_FAILED, f"decord failed with {type(error).__name__}.") from error
    finally:
        del reader


def _disagrees(what: str) -> BadItemError:
    return BadItemError(Reason.DECODER_FAILED, f"decord reports {what}.")
