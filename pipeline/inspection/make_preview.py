"""Previews stored tokens: decodes them with the dataset's tokenizer, and finds the original frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest
from math import prod
from statistics import fmean
from typing import Any

import torch
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
from bitmill.schemas.text_files import printable

_GRID = ("num_frames", "height", "width")


@dataclass(frozen=True, kw_only=True)
class PreviewClip:
    """One stored clip: frames decoded from its tokens, and the source's frames if still readable."""

    clip_id: str
    source: str
    key: str | None
    """Of a member of a tar."""
    start_ns: int
    end_ns: int
    pts_ns: tuple[int, ...]
    """When each frame is shown in its source."""
    fps: float | None
    decoded_THWC: Frames
    scales: dict[str, Frames]
    """Of a pyramid, if asked for: by name of each scale but the last, frames of the scales up to it."""
    original_THWC: Frames | None
    box_px: SizePx
    """The largest height and width of all clips of the preview."""
    psnr_db: float | None
    """Computed before pixels are rounded to integers, as in audit and evaluate."""

    @property
    def is_image(self) -> bool:
        """Whether it has no time."""
        return self.start_ns == self.end_ns

    @property
    def name(self) -> str:
        """The source's last part, or the tar's member."""
        return printable(self.key or self.source.rsplit("/", 1)[-1])


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
                key=sample["key"],
                start_ns=sample["start_ns"],
                end_ns=sample["end_ns"],
                pts_ns=tuple(sample["frame_pts_ns"]),
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


def mean_psnr_db(clips: list[PreviewClip]) -> float | None:
    """Returns the mean PSNR in dB over clips that have an original, or None."""
    there = [clip.psnr_db for clip in clips if clip.psnr_db is not None]
    return fmean(there) if there else None
