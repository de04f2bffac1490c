"""From clips of uint8 frames to bits: the seam between the shard loop and the model."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from bsq_model import BSQTokenizer
from schemas.errors import InfrastructureError

Frames = npt.NDArray[np.uint8]
"""[T, H, W, 3]"""
Bits = npt.NDArray[np.bool_]
"""[T, h, w, L]"""


class ClipEncoder(Protocol):
    """What the shard loop needs of a tokenizer."""

    def encode(self, clips: Sequence[Frames]) -> list[Bits]:
        """Bits [T, h, w, L] for each clip uint8 [T, H, W, 3]."""
        ...


class ModelEncoder:
    """A BSQ tokenizer on its device, as a ClipEncoder."""

    def __init__(self, tokenizer: BSQTokenizer) -> None:
        self._tokenizer = tokenizer
        self._device = next(tokenizer.parameters()).device

    def encode(self, clips: Sequence[Frames]) -> list[Bits]:
        """See ClipEncoder."""
        on_cuda = self._device.type == "cuda"
        tensors: list[torch.Tensor] = []
        for frames_THWC in clips:
            # Frames from shared memory are read-only, which torch warns of; the model does not write them.
            tensor = torch.from_numpy(frames_THWC if frames_THWC.flags.writeable else frames_THWC.copy())
            tensors.append(tensor.pin_memory().to(self._device, non_blocking=True) if on_cuda else tensor)
        try:
            return [bits_THWL.cpu().numpy() for bits_THWL in self._tokenizer.encode(tensors)]
        except torch.OutOfMemoryError as error:
            raise InfrastructureError(
                f"The accelerator has too little memory for {sum(map(len, clips))} frames at once; "
                "start a new dataset with a lower compute.batch_frames."
            ) from error
