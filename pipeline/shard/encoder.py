"""The interface between the shard loop and the tokenizer, without torch: clips of uint8 frames to codes.

Axes: M is the frames of all clips of a batch, n the token rows, D the dimensions of a code.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import numpy.typing as npt

from bitmill.schemas.arrays import Frames
from bitmill.schemas.errors import BitmillError

Codes = npt.NDArray[np.bool_] | npt.NDArray[np.int64]
"""[t, h, w, D]; of a pyramid [N, D]. Bool if the tokenizer's code is bits, else int64."""


class PendingCodes(Protocol):
    """A batch that an accelerator may still be encoding."""

    @property
    def gpu_s(self) -> float:
        """Seconds in which a GPU computed the batch, known once ``wait`` has returned; 0 on CPU."""
        ...

    def ready(self) -> bool:
        """Whether ``wait`` would return at once."""
        ...

    def wait(self) -> Sequence[Codes]:
        """Returns the codes of each clip of the batch."""
        ...


class ClipEncoder(Protocol):
    """The shard loop's interface to a tokenizer."""

    def begin(self, clips: Sequence[Frames]) -> PendingCodes:
        """Start encoding clips uint8 [T, H, W, 3], which must not change until the codes are ready."""
        ...


@contextmanager
def naming(what: str) -> Generator[None]:
    """Where a tokenizer raises what bitmill does not, raise a RuntimeError that names what was encoded."""
    try:
        yield
    except BitmillError:
        raise
    except Exception as error:
        raise RuntimeError(f"{type(error).__name__} while encoding {what}: {error}") from error


class ReadyCodes:
    """Codes that are already computed, as on a CPU."""

    def __init__(self, codes: Sequence[Codes], *, gpu_s: float = 0.0) -> None:
        self._codes = codes
        self.gpu_s = gpu_s

    def ready(self) -> bool:
        """Always."""
        return True

    def wait(self) -> Sequence[Codes]:
        """See PendingCodes."""
        return self._codes
