"""Encodes clips of uint8 frames to bits: the interface between the shard loop and the model.

Axes: M is the frames of all clips of a batch.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from bitmill.bsq_model import BSQTokenizer
from bitmill.bsq_model.checks import refuse_unless
from bitmill.bsq_model.tokenizer import StartedEncode
from bitmill.schemas.errors import InfrastructureError

Frames = npt.NDArray[np.uint8]
"""[T, H, W, 3]"""
Bits = npt.NDArray[np.bool_]
"""[T, h, w, L]"""


class PendingBits(Protocol):
    """A batch that an accelerator may still be encoding."""

    def ready(self) -> bool:
        """Whether ``wait`` would return at once."""
        ...

    def wait(self) -> list[Bits]:
        """Returns bits [T, h, w, L] for each clip of the batch."""
        ...


class ClipEncoder(Protocol):
    """The shard loop's interface to a tokenizer."""

    def begin(self, clips: Sequence[Frames]) -> PendingBits:
        """Start encoding clips uint8 [T, H, W, 3], which must not change until the bits are ready."""
        ...


class ReadyBits:
    """Bits that are already computed, as on a CPU."""

    def __init__(self, bits: list[Bits]) -> None:
        self._bits = bits

    def ready(self) -> bool:
        """Always."""
        return True

    def wait(self) -> list[Bits]:
        """See PendingBits."""
        return self._bits


class ModelEncoder:
    """A BSQ tokenizer on its device, as a ClipEncoder."""

    def __init__(self, tokenizer: BSQTokenizer) -> None:
        self._tokenizer = tokenizer
        self._device = next(tokenizer.parameters()).device
        self._copies = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None

    def encode(self, clips: Sequence[Frames]) -> list[Bits]:
        """Encode clips and wait for their bits."""
        return self.begin(clips).wait()

    def begin(self, clips: Sequence[Frames]) -> PendingBits:
        """See ClipEncoder. On CUDA it returns once the copies in, encoding and copies out are queued."""
        try:
            if self._copies is not None:
                return self._begin_on_cuda(clips, self._copies)
            # Frames from shared memory are read-only, which torch warns about; the model does not write to
            # them.
            tensors = [torch.from_numpy(clip if clip.flags.writeable else clip.copy()) for clip in clips]
            return ReadyBits([bits_THWL.numpy() for bits_THWL in self._tokenizer.encode(tensors)])
        except torch.OutOfMemoryError as error:
            raise InfrastructureError(
                f"The accelerator ran out of memory with a batch of {sum(map(len, clips))} frames; "
                "start a new dataset with a lower compute.batch_frames."
            ) from error

    def _begin_on_cuda(self, clips: Sequence[Frames], copies: torch.cuda.Stream) -> PendingBits:
        lengths = [len(clip) for clip in clips]
        staged_MHWC = torch.empty((sum(lengths), *clips[0].shape[1:]), dtype=torch.uint8, pin_memory=True)
        np.concatenate(clips, out=staged_MHWC.numpy())
        computing = torch.cuda.current_stream(self._device)
        # A separate stream: these frames are copied while the previous batch is computed.
        with torch.cuda.stream(copies):
            frames_MHWC = staged_MHWC.to(self._device, non_blocking=True)
        computing.wait_stream(copies)
        frames_MHWC.record_stream(computing)
        return _CudaBits(self._tokenizer.start_encode(frames_MHWC.split(lengths)), lengths)


class _CudaBits:
    """Bits being copied to pinned memory, and the event that marks the end of the copy."""

    def __init__(self, started: StartedEncode, lengths: list[int]) -> None:
        self._lengths = lengths
        self._bits_MHWL = _pinned_copy(torch.cat(started.bits))
        self._finite = _pinned_copy(started.finite)
        self._done = torch.cuda.Event()
        self._done.record()

    def ready(self) -> bool:
        return self._done.query()

    def wait(self) -> list[Bits]:
        self._done.synchronize()
        refuse_unless(self._finite, "latents")
        return [bits_THWL.numpy() for bits_THWL in self._bits_MHWL.split(self._lengths)]


def _pinned_copy(x: torch.Tensor) -> torch.Tensor:
    return torch.empty(x.shape, dtype=x.dtype, pin_memory=True).copy_(x, non_blocking=True)
