"""Encodes clips of uint8 frames with a tokenizer on its device.

Axes: M is the frames of all clips of a batch, n the token rows, D the dimensions of a code.
"""

from collections.abc import Sequence

import numpy as np
import torch

from bitmill.bsq_model.checks import refuse_unless
from bitmill.bsq_model.contract import StartedCodes, StartsEncode, Tokenizer, device_of
from bitmill.pipeline.shard.encoder import Codes, PendingCodes, ReadyCodes
from bitmill.schemas.arrays import Frames
from bitmill.schemas.errors import InfrastructureError


class ModelEncoder:
    """A tokenizer on its device, as a ClipEncoder."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._device = device_of(tokenizer)
        self._copies = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None

    def encode(self, clips: Sequence[Frames]) -> Sequence[Codes]:
        """Encode clips and wait for their codes."""
        return self.begin(clips).wait()

    def begin(self, clips: Sequence[Frames]) -> PendingCodes:
        """See ClipEncoder. On CUDA it returns once the copies in, encoding and copies out are queued, if the
        tokenizer can be queued."""
        try:
            if self._copies is not None and isinstance(self._tokenizer, StartsEncode):
                return self._begin_on_cuda(clips, self._copies, self._tokenizer)
            # Frames from shared memory are read-only, which torch warns about; the model does not write to
            # them.
            tensors = [torch.from_numpy(clip if clip.flags.writeable else clip.copy()) for clip in clips]
            timer = GpuTimer() if self._copies is not None else None
            encoded = self._tokenizer.encode(tensors)
            if timer is not None:
                timer.stop()
            codes = [one.cpu().numpy() for one in encoded]
            return ReadyCodes(codes, gpu_s=0.0 if timer is None else timer.seconds())
        except torch.OutOfMemoryError as error:
            raise InfrastructureError(
                f"The accelerator ran out of memory with a batch of {sum(map(len, clips))} frames; "
                "start a new dataset with a lower compute.batch_frames."
            ) from error

    def _begin_on_cuda(
        self, clips: Sequence[Frames], copies: torch.cuda.Stream, tokenizer: StartsEncode
    ) -> PendingCodes:
        lengths = [len(clip) for clip in clips]
        staged_MHWC = torch.empty((sum(lengths), *clips[0].shape[1:]), dtype=torch.uint8, pin_memory=True)
        np.concatenate(clips, out=staged_MHWC.numpy())
        computing = torch.cuda.current_stream(self._device)
        # A separate stream: these frames are copied while the previous batch is computed.
        with torch.cuda.stream(copies):
            frames_MHWC = staged_MHWC.to(self._device, non_blocking=True)
        computing.wait_stream(copies)
        frames_MHWC.record_stream(computing)
        # Begins when the frames are there and the previous batch is done: the time of batches never overlaps.
        timer = GpuTimer()
        return _CudaCodes(tokenizer.start_encode(frames_MHWC.split(lengths)), timer)


class GpuTimer:
    """Measures on the GPU how long what is queued on the current stream takes from here on.

    Pauses between kernels are included. Waits for nothing until ``seconds``.
    """

    def __init__(self) -> None:
        self._began, self._ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._began.record()

    def stop(self) -> None:
        """Mark the end of what is measured."""
        self._ended.record()

    def is_over(self) -> bool:
        """Whether the GPU has reached the end."""
        return self._ended.query()

    def seconds(self) -> float:
        """Wait for the end; return seconds."""
        self._ended.synchronize()
        return self._began.elapsed_time(self._ended) / 1000


class _CudaCodes:
    """Codes being copied to pinned memory; the timer's end is that of the copy."""

    def __init__(self, started: StartedCodes, timer: GpuTimer) -> None:
        self.gpu_s = 0.0
        self._num_rows = [len(codes) for codes in started.codes]
        self._codes_nhwD = _pinned_copy(torch.cat(started.codes))
        self._finite = _pinned_copy(started.finite)
        self._timer = timer
        timer.stop()

    def ready(self) -> bool:
        return self._timer.is_over()

    def wait(self) -> Sequence[Codes]:
        self.gpu_s = self._timer.seconds()
        refuse_unless(self._finite, "latents")
        return [codes.numpy() for codes in self._codes_nhwD.split(self._num_rows)]


def _pinned_copy(x: torch.Tensor) -> torch.Tensor:
    return torch.empty(x.shape, dtype=x.dtype, pin_memory=True).copy_(x, non_blocking=True)
