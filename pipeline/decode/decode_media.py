"""Decodes one media file to clips and one end event; this package's entry point. Bad media never raises."""

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from bitmill.pipeline.decode.clip_events import MediaItem, clip_events
from bitmill.pipeline.decode.decode_video import video_events
from bitmill.pipeline.decode.image.images import (
    StillPicture,
    is_animation,
    num_pages,
    open_image,
    read_animation,
    read_still,
)
from bitmill.pipeline.decode.library_faults import library_fault
from bitmill.pipeline.decode.pixel_rules import FrameFitter
from bitmill.pipeline.decode.pixels.frame_sizes import FrameSizes
from bitmill.pipeline.decode.sampling.assemble import FittedFrame
from bitmill.pipeline.decode.sampling.timeline import Span
from bitmill.pipeline.decode.video.choose_decoder import Preference
from bitmill.pipeline.items import DecodedClip, ItemEvent, MediaFacts
from bitmill.schemas.errors import BadItemError
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.frames import PixelRule
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec


def decode_item(
    path: str,
    *,
    span_ns: Span,
    sampling: SamplingSpec,
    sizes: FrameSizes,
    limits: LimitsSpec,
    pixel_rule: PixelRule,
    prefer: Preference = "auto",
    drop_to: Geometry | None = None,
) -> Iterator[ItemEvent]:
    """Yields clips of one of ``sizes``, each as soon as it is full, then exactly one ItemEnd.

    ``path`` is a local file; its format is detected by its bytes, never its name. ``span_ns`` is [start, end)
    in the media's own clock and is ignored for images. ``prefer="decord"`` requires ``pixel_rule`` 1.
    ``drop_to`` is that of ``assemble``. Any fault of the file becomes the end's reason; clips yielded before
    stay valid. A decoder may still hang or crash on hostile bytes, and memory is not limited here: call this
    in a process that can be killed.
    """
    item = MediaItem(path, span_ns, sampling, limits, FrameFitter(sizes, pixel_rule), drop_to)
    try:
        _refuse_no_bytes(Path(path).stat())
        image = open_image(path, max_pixels=limits.max_pixels)
        if image is None:
            yield from video_events(item, prefer)
        else:
            with image:
                yield from _animation(item, image) if is_animation(image) else _still(item, image)
    except BadItemError as fault:
        yield item.end((fault.reason, fault.detail))
    except MemoryError:
        yield item.end((Reason.OUT_OF_MEMORY, "The decoder ran out of memory."))
    except Exception as error:  # noqa: BLE001 - the only catch-all around an item
        fault = library_fault(error, path)
        yield item.end((fault.reason, fault.detail))


def _refuse_no_bytes(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BadItemError(Reason.NOT_MEDIA, "It is a pipe, socket, device or folder, not a regular file.")
    if not status.st_size:
        raise BadItemError(Reason.EMPTY_FILE, "The file is empty.")


def _still(item: MediaItem, image: Image.Image) -> Iterator[ItemEvent]:
    item.facts = _image_facts(image, "image")
    frame = item.fitter.rgb_frame(read_still(image, item.path))
    item.num_source_frames = 1
    item.facts = replace(item.facts, height=frame.source_height, width=frame.source_width)
    yield DecodedClip(
        frames_THWC=frame.pixels_HWC[None],
        frame_pts_ns=np.zeros(1, np.int64),
        start_ns=0,
        end_ns=0,
        fps=None,
        source_height=frame.source_height,
        source_width=frame.source_width,
        crop=frame.crop,
    )
    pages = num_pages(image, item.path)
    detail = f"The file has {pages} pages; only the first was tokenized."
    yield item.end((Reason.EXTRA_PAGES, detail) if pages > 1 else None)


def _animation(item: MediaItem, image: Image.Image) -> Iterator[ItemEvent]:
    item.facts = _image_facts(image, "animation")

    def draw(picture: StillPicture) -> FittedFrame:
        frame = item.fitter.rgb_frame(picture)
        item.facts = replace(item.facts, height=frame.source_height, width=frame.source_width)
        return frame

    return clip_events(item, read_animation(image, item.path), draw, native_fps=None)


def _image_facts(image: Image.Image, media: str) -> MediaFacts:
    return MediaFacts(
        media="animation" if media == "animation" else "image",
        container=image.format,
        codec=image.format,
        decoder="pillow",
        height=image.height,
        width=image.width,
    )
