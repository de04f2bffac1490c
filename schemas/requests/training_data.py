"""The section of a training file that configures how samples are drawn from the sources."""

from typing import Annotated, Any, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from bitmill.schemas.models.geometry import SizePx
from bitmill.schemas.requests.job import GIB, MIB
from bitmill.schemas.strict_model import StrictModel


class DataSpec(StrictModel):
    """How training clips are made; a BSQ-ViT sets frame size and clip length itself."""

    fps: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] | None = None
    """Frames per second of video, sampled by presentation time; None uses every frame of the source."""
    crop_scale: tuple[
        Annotated[float, Field(ge=1, le=16, allow_inf_nan=False)],
        Annotated[float, Field(ge=1, le=16, allow_inf_nan=False)],
    ] = (1.0, 2.0)
    """Range of the picture's short side relative to the crop, drawn uniformly: at 1 the crop is as large as
    the picture allows, at 2 half of that."""
    sizes: Annotated[tuple[SizePx, ...], Field(min_length=1)] | None = None
    """For causal-conv alone: sizes of the crops, (height, width), which batches take in turn; None is
    128×128."""
    clip_frames: Annotated[int, Field(ge=1)] | None = None
    """For causal-conv alone: frames of a clip; None is the longest length up to 17, or 16 without a lead
    frame. Shorter videos are padded, and what is padded counts in no loss."""
    flip: bool = True
    """Mirror half of the samples horizontally."""
    image_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of batches of images, one frame each, if the model takes several frames; above 0 the sources must
    include images, below 1 videos. A model of one frame treats all sources the same."""
    image_batch: Annotated[int, Field(ge=1)] | None = None
    """Images of a batch of images, over all processes, where there are batches of clips too; None is
    ``global_batch``."""
    workers: Annotated[int, Field(ge=0)] = 2
    """Decoding processes per training process; 0 decodes in the training process itself, which a hanging or
    crashing decoder then stops."""
    cache_bytes: Annotated[int, Field(ge=0)] = 512 * MIB
    """Decoded pictures and video segments that each worker caches."""
    item_timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0
    """Longest time that one sample may take before its decoder is killed."""
    item_memory_bytes: Annotated[int, Field(ge=64 * MIB)] = 4 * GIB
    """Memory that decoding may use beyond an idle worker and its cache."""
    max_pixels: Annotated[int, Field(gt=0)] = 64 * MIB
    """Most pixels of one source frame or picture (8192×8192)."""

    @model_validator(mode="after")
    def _scales_in_order(self) -> Self:
        if self.crop_scale[0] > self.crop_scale[1]:
            raise ValueError(f"crop_scale {self.crop_scale} must give the smaller scale first")
        return self

    @model_serializer(mode="wrap")
    def _without_the_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit what older releases do not know at its default, so that their runs can be resumed."""
        document: dict[str, Any] = handler(self)
        newer = ("sizes", "clip_frames", "image_batch")
        return {name: value for name, value in document.items() if name not in newer or value is not None}
