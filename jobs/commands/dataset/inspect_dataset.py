"""``bitmill inspect``: prints a dataset or a shard as tables."""

from math import prod
from typing import Any

from rich.table import Table

from bitmill.jobs.console import Console
from bitmill.jobs.progress.summary import summary
from bitmill.jobs.progress.units import bytes_text
from bitmill.pipeline.decode.pixels.frame_sizes import stored_frame_sizes
from bitmill.pipeline.inspection.summary import view_dataset, view_shard
from bitmill.pipeline.storage import Folder, normalise
from bitmill.schemas.counted import counted
from bitmill.schemas.models.geometry import Code, Geometry, grid_name

_MAX_NOT_OK = 20
_MAX_SIZES = 20


def show(path: str, *, clips: int, console: Console) -> None:
    """Print a dataset folder or a token shard."""
    uri = normalise(path)
    if uri.endswith(".parquet"):
        _show_shard(uri, clips, console)
    else:
        _show_dataset(uri, clips, console)


def _show_dataset(uri: str, clips: int, console: Console) -> None:
    view = view_dataset(Folder(uri), max_clips=clips, max_not_ok=_MAX_NOT_OK)
    card = view.card
    console.print(f"dataset    {uri}", soft_wrap=True)
    state = "complete" if view.committed == card.num_shards else "NOT complete"
    console.print(f"shards     {view.committed} of {card.num_shards} committed ({state})")
    size_px: int | None = card.fingerprint_fields["frames.size_px"]
    frames = f"frames of {stored_frame_sizes(card)} pixels" if size_px is None else f"{size_px} px frames"
    console.print(
        f"geometry   {frames}, {_geometry_text(card.geometry, size_px)}; "
        f"pixel rule {card.pixel_rule}, shard format {card.shard_version}"
    )
    summary(card, view.totals, console)
    if view.sizes:
        table = Table("frame size", "clips", "token rows", "tokens", box=None, pad_edge=False)
        for (height, width), counts in list(view.sizes.items())[:_MAX_SIZES]:
            numbers = (counts.clips, counts.token_rows, counts.tokens)
            table.add_row(f"{height}×{width}", *(f"{number:,}" for number in numbers))
        console.print(table)
        if len(view.sizes) > _MAX_SIZES:
            console.print(f"and {counted(len(view.sizes) - _MAX_SIZES, 'more size')}")
    # No table: it would wrap names that users copy.
    for row in view.not_ok:
        name = row["source"] if row["key"] is None else f"{row['source']}:{row['key']}"
        told = ": ".join(filter(None, (name, row["reason"], row["detail"])))
        console.print(f"{row['outcome']:<11}{told}", soft_wrap=True)
    _show_clips(view.clips, console)


def _geometry_text(geometry: Geometry, size_px: int | None) -> str:
    """``size_px`` is the side of the job's squares, None if it has none."""
    told = [f"patches of {_size_text(geometry.patch_px)} px"]
    if geometry.frames_per_token > 1:
        told[0] += f" and {geometry.frames_per_token} frames"
    if size_px is None:
        if geometry.schedules is not None:
            told.append("pyramids")
    elif geometry.schedules is not None:
        height, width = geometry.grid(size_px, size_px)
        grids = geometry.schedules.get(grid_name(height, width), ())
        told.append(f"a pyramid of {counted(len(grids), 'grid')} with {sum(map(prod, grids))} tokens")
    else:
        row = "frame" if geometry.frames_per_token == 1 else "row"
        height, width = geometry.grid(size_px, size_px)
        told.append(f"{counted(height * width, 'token')} per {row}")
    if geometry.lead_frames:
        told.append("a lead frame")
    if geometry.code.kind != "bits":
        told.append(_code_text(geometry.code))
    return ", ".join(told)


def _code_text(code: Code) -> str:
    if code.kind == "bits":
        return "bits"
    if code.kind == "index":
        return f"an index of {code.num_codes:,} codes"
    return f"digits of {'×'.join(map(str, code.bases))} values"


def _size_text(size_px: tuple[int, int]) -> str:
    return "×".join(map(str, dict.fromkeys(size_px)))


def _show_shard(uri: str, clips: int, console: Console) -> None:
    view = view_shard(uri, max_clips=clips)
    console.print(f"shard      {uri}", soft_wrap=True)
    console.print(f"clips      {view.num_clips} in {counted(view.num_row_groups, 'row group')}")
    console.print(f"size       {bytes_text(view.file_bytes)}, codes {bytes_text(view.code_bytes)}")
    code, patch = view.metadata.code, _size_text(view.metadata.patch_px)
    kind = "" if code.kind == "bits" else f" ({_code_text(code)})"
    console.print(f"tokens     {code.bits_per_token} bits{kind}, patches of {patch} px")
    console.print(f"tokenizer  {view.metadata.tokenizer_fingerprint}")
    table = Table("column", "type", box=None, pad_edge=False)
    for column in view.schema:
        table.add_row(column.name, str(column.type))
    console.print(table)
    _show_clips(view.clips, console)


def _show_clips(clips: list[dict[str, Any]], console: Console) -> None:
    if not clips:
        return
    table = Table("clip", "source", "seconds", "T×h×w", box=None, pad_edge=False)
    for clip in clips:
        span = f"{clip['start_ns'] / 1e9:.3f}–{clip['end_ns'] / 1e9:.3f}"
        shape = f"{clip['num_frames']}×{clip['height']}×{clip['width']}"
        table.add_row(clip["clip_id"], _item_name(clip), span, shape)
    console.print(table)


def _item_name(row: dict[str, Any]) -> str:
    """Returns the object's file name, followed by the member's key if it has one."""
    name: str = row["source"].rstrip("/").rsplit("/", 1)[-1]
    return name if row["key"] is None else f"{name}:{row['key']}"
