"""Previews stored tokens: decodes them with the dataset's tokenizer, next to the original frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, zip_longest
from math import prod
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import av
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from bitmill.bsq_model.contract import Tokenizer, decode_clips, decode_pixels, decodes_scales
from bitmill.bsq_model.families import load_files
from bitmill.bsq_model.layers.patches import pixels_from_uint8, uint8_from_pixels
from bitmill.bsq_model.metrics.reconstruction_quality import clip_psnr_db
from bitmill.pipeline.dataset.dataset_folder import load_tokenizer_files
from bitmill.pipeline.inspection.source_frames import SourceFrames
from bitmill.pipeline.reading import TokenDataset
from bitmill.pipeline.storage import Folder
from bitmill.schemas.arrays import Frames
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.dataset.packing import unpack_codes
from bitmill.schemas.errors import TokenizerMismatchError, UsageError
from bitmill.schemas.models.geometry import Geometry, Grid, SizePx

_GAP_PX = 4
_LABEL_PX = 16
_DEFAULT_FPS = 8.0
T = TypeVar("T")
_GRID = ("num_frames", "height", "width")


@dataclass(frozen=True, kw_only=True)
class PreviewClip:
    """One stored clip: frames decoded from its tokens, and the source's frames if still readable."""

    clip_id: str
    source: str
    start_ns: int
    end_ns: int
    fps: float | None
    decoded_THWC: Frames
    scales: dict[str, Frames]
    """Of a pyramid, if asked for: by name of each scale but the last, frames of the scales up to it."""
    original_THWC: Frames | None
    box_px: SizePx
    """The largest height and width of all clips of the preview."""
    psnr_db: float | None
    """Computed before pixels are rounded to integers, as in audit and evaluate."""


def preview_clips(
    uri: str, *, clip_ids: list[str] | None, sources: list[str], max_clips: int, by_scale: bool = False
) -> Iterator[PreviewClip]:
    """Yield decoded clips of a dataset, chosen by id, by source, or the first ones; decodes one at a time.

    Takes equally many clips per source, as far as available. With ``by_scale``, also decodes the first scales
    of pyramids, if the tokenizer can. Raises UsageError if nothing matches or a source
    has no clips, TokenizerMismatchError if the stored tokenizer did not make the tokens.
    """
    columns = ("clip_id", "source", "key", "start_ns", "end_ns", "fps", "frame_pts_ns", *_GRID)
    dataset = TokenDataset(uri, view="packed", columns=columns, allow_incomplete=True)
    folder = Folder(uri)
    tokenizer = stored_tokenizer(folder, dataset.card)
    patch_px = dataset.card.geometry.patch_px
    # Their codes are small.
    chosen = list(_chosen(dataset, clip_ids, sources, max_clips))
    grid = [max((sample[name] for sample in chosen), default=0) for name in _GRID[1:]]
    box_px = grid[0] * patch_px[0], grid[1] * patch_px[1]
    with SourceFrames(folder, dataset.card) as originals:
        for sample in chosen:
            # Version 1 has no other column that tells frames from token rows.
            num_real = len(sample["frame_pts_ns"])
            codes, shape_thw = _codes(sample, dataset.card.geometry)
            pixels_THWC = decode_pixels(tokenizer, [codes], [shape_thw])[0][:num_real]
            place = sample["source"], sample["key"], sample["start_ns"]
            original_THWC = originals.find(*place, num_real)
            yield PreviewClip(
                clip_id=sample["clip_id"],
                source=sample["source"],
                start_ns=sample["start_ns"],
                end_ns=sample["end_ns"],
                fps=sample["fps"],
                decoded_THWC=uint8_from_pixels(pixels_THWC).numpy(),
                scales=_scales(tokenizer, codes, shape_thw) if by_scale else {},
                original_THWC=original_THWC,
                box_px=box_px,
                psnr_db=None if original_THWC is None else _psnr_db(pixels_THWC, original_THWC),
            )
    if not chosen:
        wanted = f"clip {', '.join(clip_ids)}" if clip_ids else "clip at all"
        raise UsageError(f"{uri} has no {wanted}{' of these sources' if clip_ids and sources else ''}.")


def _codes(sample: dict[str, Any], geometry: Geometry) -> tuple[Tensor, Grid]:
    """Codes [t, h, w, D], of a pyramid [N, D], of a sample of packed tokens, and its (full) grid."""
    rows, height, width = (sample[name] for name in _GRID)
    num_tokens = geometry.num_tokens((rows, height, width))
    codes_ND: Any = unpack_codes(sample["tokens"].numpy(), num_tokens, geometry.code)
    grid = (rows, height, width) if geometry.layout == "grid" else (num_tokens,)
    return torch.from_numpy(codes_ND).reshape(*grid, -1), (rows, height, width)


def _scales(tokenizer: Tokenizer, codes: Tensor, shape_thw: Grid) -> dict[str, Frames]:
    """Decode the scales up to each one but the last; keys as in ``PreviewClip``."""
    found: dict[str, Frames] = {}
    end = 0
    for number, grid in enumerate(
        tokenizer.geometry.scales(shape_thw)[:-1] if decodes_scales(tokenizer) else ()
    ):
        end += prod(grid)
        (frames_THWC,) = decode_clips(tokenizer, [codes[:end]], [shape_thw])
        found[f"{number + 1}: {grid[1]}x{grid[2]}"] = frames_THWC.cpu().numpy()
    return found


def _chosen(
    dataset: TokenDataset, clip_ids: list[str] | None, sources: list[str], max_clips: int
) -> Iterator[dict[str, Any]]:
    samples = (dataset[index] for index in _by_turns(dataset, sources)) if sources else iter(dataset)
    wanted = (sample for sample in samples if clip_ids is None or sample["clip_id"] in clip_ids)
    chosen = islice(wanted, max_clips)
    # Ordered by source, then time, so that each original is read once.
    return iter(sorted(chosen, key=lambda sample: sources.index(sample["source"]))) if sources else chosen


def _by_turns(dataset: TokenDataset, sources: list[str]) -> Iterator[int]:
    """Yields sample numbers round-robin: one clip of each source, then the next of each."""
    found = [dataset.of_source(source) for source in dict.fromkeys(sources)]
    for source, indices in zip(dict.fromkeys(sources), found, strict=True):
        if not indices:
            raise UsageError(f"{', '.join(dataset.uris)} has no source {source}.")
    return (index for turn in zip_longest(*found) for index in turn if index is not None)


def _psnr_db(pixels_THWC: Tensor, original_THWC: Frames) -> float:
    return clip_psnr_db(pixels_THWC, pixels_from_uint8(torch.from_numpy(original_THWC), torch.float32))


def stored_tokenizer(folder: Folder, card: DatasetCard) -> Tokenizer:
    """Load a dataset's stored tokenizer, checked against the card's fingerprint.

    Raises what ``load_files`` raises, such as MissingPluginError.
    """
    tokenizer = load_files(load_tokenizer_files(folder))
    if tokenizer.fingerprint != card.tokenizer_fingerprint:
        raise TokenizerMismatchError(
            f"The tokenizer stored in {folder.uri}/tokenizer is not the one that made its tokens "
            f"({card.tokenizer_fingerprint})."
        )
    return tokenizer


def side_by_side(clip: PreviewClip) -> Frames:
    """Returns uint8 [T, H', W', 3] with even sides: original left, if available, and decoded right.

    Each is in the middle of a white box of ``box_px``, so that clips of several sizes have frames of one.
    """
    panes = [clip.decoded_THWC] if clip.original_THWC is None else [clip.original_THWC, clip.decoded_THWC]
    boxed = [_boxed(pane, clip.box_px) for pane in panes]
    gap = np.full((*boxed[0].shape[:2], _GAP_PX, 3), 255, dtype=np.uint8)
    canvas = np.concatenate([part for pane in boxed for part in (pane, gap)][:-1], axis=2)
    return np.pad(canvas, ((0, 0), (0, canvas.shape[1] % 2), (0, canvas.shape[2] % 2), (0, 0)))


def _boxed(frames_THWC: Frames, box_px: SizePx) -> Frames:
    margins = [(room - side) // 2 for room, side in zip(box_px, frames_THWC.shape[1:3], strict=True)]
    boxed = np.full((len(frames_THWC), *box_px, 3), 255, dtype=np.uint8)
    inner = [slice(at, at + side) for at, side in zip(margins, frames_THWC.shape[1:3], strict=True)]
    boxed[:, inner[0], inner[1]] = frames_THWC
    return boxed


def write_video(clips: Iterator[PreviewClip], path: Path) -> list[PreviewClip]:
    """Write clips one after another as H.264 in MP4, images for 1 s each. Returns the clips written."""
    written: list[PreviewClip] = []
    with av.open(str(path), "w", format="mp4") as container:
        stream = None
        for clip in clips:
            frames = side_by_side(clip)
            if stream is None:
                rate = Fraction(clip.fps or _DEFAULT_FPS).limit_denominator(1001)
                stream = container.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "fast"})
                stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
            if frames.shape[2] != stream.width:
                missing = stream.width - frames.shape[2]
                frames = np.pad(frames, ((0, 0), (0, 0), (max(0, missing), 0), (0, 0)))[:, :, : stream.width]
            is_image = clip.start_ns == clip.end_ns
            for frame in np.repeat(frames, round(_DEFAULT_FPS) if is_image else 1, axis=0):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))))
            written.append(clip)
        if stream is not None:
            container.mux(stream.encode(None))
    return written


def write_sheet(clips: Iterator[PreviewClip], path: Path, *, max_frames: int = 8) -> list[PreviewClip]:
    """Write clips as a PNG contact sheet: originals above decoded frames. Returns the clips written.

    Of a pyramid that was decoded scale by scale, the original and then the scales from left to right.
    """
    written: list[PreviewClip] = []
    rows: list[Image.Image] = []
    for clip in clips:
        rows.append(_sheet_row(clip, max_frames))
        written.append(clip)
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    sheet.save(path, format="PNG")
    return written


def _sheet_row(clip: PreviewClip, max_frames: int) -> Image.Image:
    chosen = _evenly(list(range(len(clip.decoded_THWC))), max_frames)
    panes = [] if clip.original_THWC is None else [("original", clip.original_THWC)]
    panes += [*_evenly(list(clip.scales.items()), max_frames - 1), ("decoded", clip.decoded_THWC)]
    pictures = [[pane[frame] for frame in chosen] for _, pane in panes]
    names: list[str] = []
    if clip.scales:
        pictures, names = [list(line) for line in zip(*pictures, strict=True)], [name for name, _ in panes]
    step_y, step_x = (size + _GAP_PX for size in clip.decoded_THWC.shape[1:3])
    top = _LABEL_PX * (2 if names else 1)
    text = f"{clip.source.rsplit('/', 1)[-1]}  from {clip.start_ns / 1e9:.3f} s  {clip.clip_id}"
    room = max(len(pictures[0]) * step_x, 4 + int(ImageFont.load_default().getlength(text)))
    row = Image.new("RGB", (room, top + len(pictures) * step_y), "white")
    draw = ImageDraw.Draw(row)
    draw.text((2, 2), text, fill="black")
    for column, name in enumerate(names):
        draw.text((column * step_x + 2, _LABEL_PX + 2), name, fill="black")
    for line, across in enumerate(pictures):
        for column, picture in enumerate(across):
            row.paste(Image.fromarray(picture), (column * step_x, top + line * step_y))
    return row


def _evenly(found: list[T], most: int) -> list[T]:
    """At most so many, evenly spaced, the first and the last among them."""
    chosen = np.unique(np.linspace(0, len(found) - 1, min(len(found), most)).round().astype(int))
    return [found[number] for number in chosen]


def mean_psnr_db(clips: list[PreviewClip]) -> float | None:
    """Returns the mean PSNR in dB over clips that have an original, or None."""
    there = [clip.psnr_db for clip in clips if clip.psnr_db is not None]
    return fmean(there) if there else None
