"""``bitmill trace``: finds the source of a training sample, and the clips of a source."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from bitmill.jobs.console import Console, print_json
from bitmill.jobs.progress.units import bytes_text
from bitmill.schemas.errors import UsageError

if TYPE_CHECKING:
    from bitmill.pipeline.dataset.ledger import LedgerRow
    from bitmill.pipeline.inspection.provenance import ClipTrace, SourceTrace, TracedClip

_WIDEST = 1000
_MAX_CLIPS = 50


def trace(
    dataset: Annotated[str, typer.Argument(help="A dataset folder.")],
    clip: Annotated[str | None, typer.Option("--clip", help="The clip of this id.")] = None,
    index: Annotated[
        int | None,
        typer.Option("--index", help="The sample of this index, from 0, in an unfiltered TokenDataset."),
    ] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", help="The shard of this id or file; needs --row.")
    ] = None,
    row: Annotated[int | None, typer.Option("--row", help="Row in the --shard's file, from 0.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="The source of this URI.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Only this member of the --source tar; default: all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show where a training sample comes from, or everything made from a source.

    Give one of --clip, --index, --shard with --row, and --source.
    """
    from bitmill.pipeline.inspection.provenance import Tracer
    from bitmill.pipeline.storage import Folder, normalise

    given = [clip is not None, index is not None, shard is not None, source is not None]
    if sum(given) != 1 or (row is not None) != (shard is not None) or (key is not None and source is None):
        raise UsageError(
            "Give one of --clip ID, --index N, --shard ID --row N, --source URI (with --key KEY)."
        )
    tracer = Tracer(Folder(dataset))
    console = Console(soft_wrap=True)
    if source is not None:
        found = tracer.source(normalise(source), key)
        if as_json:
            print_json(json.dumps(_source_document(found), indent=2))
        else:
            _show_source(found, console)
        return
    if clip is not None:
        traced = tracer.clip(clip)
    elif index is not None:
        traced = tracer.sample(index)
    else:
        traced = tracer.row(shard or "", row or 0)
    if as_json:
        print_json(json.dumps(_trace_document(traced), indent=2))
    else:
        _show_clip(traced, console)


def _show_clip(traced: "ClipTrace", console: Console) -> None:
    clip, columns, planned, ledger = traced.clip, traced.clip.columns, traced.plan_row, traced.ledger_row
    times = [f"{time / 1e9:.3f}" for time in columns["frame_pts_ns"]]
    shape = f"{columns['num_frames']}×{columns['height']}×{columns['width']}"
    _print_pairs(
        [
            ("clip", columns["clip_id"]),
            ("source", columns["source"]),
            ("key", columns["key"]),
            ("time", _seconds(columns)),
            ("frames", f"{len(times)} at {', '.join(times)} s"),
            ("rate", None if columns["fps"] is None else f"{columns['fps']:g} frames/s"),
            ("tokens", f"{shape}, {bytes_text(clip.code_bytes)}"),
            ("pixels", f"{columns['source_height']}×{columns['source_width']} in the source{_crop(columns)}"),
            ("metadata", columns["metadata"]),
            ("sample", f"{clip.index} of the dataset"),
            ("shard", f"{clip.file} (number {clip.shard_index}), row {clip.row}, row group {clip.row_group}"),
            ("plan", f"{planned.part}, source {planned.source_index}, attempt {planned.attempt}"),
            ("wanted", _span(planned.source.start_ns, planned.source.end_ns)),
            ("planned as", f"{bytes_text(planned.source.size_bytes)}, version {planned.source.version}"),
            ("outcome", _outcome(ledger)),
            ("media", _media(ledger)),
        ],
        console,
    )


def _show_source(found: "SourceTrace", console: Console) -> None:
    _print_pairs([("source", found.source), ("key", found.key)], console)
    plan = Table(
        "part", "source", "attempt", "shard", "committed", "wanted", "version", box=None, pad_edge=False
    )
    for row in found.plan_rows:
        _add(
            plan,
            row.part,
            row.source_index,
            row.attempt,
            row.shard_id,
            "yes" if row.is_committed else "no",
            _span(row.source.start_ns, row.source.end_ns),
            row.source.version,
        )
    _print_whole(plan, console)
    ledger = Table("shard", "key", "wanted", "outcome", "clips", "media", box=None, pad_edge=False)
    for row in found.ledger_rows[:_MAX_CLIPS]:
        span = _span(row["start_ns"], row["end_ns"])
        _add(ledger, row["shard_id"], row["key"] or "", span, _outcome(row), row["num_clips"], _media(row))
    _print_some(ledger, found.ledger_rows, "ledger rows", console)
    clips = Table("sample", "clip", "key", "time", "frames", "shard", "row", box=None, pad_edge=False)
    for clip in found.clips[:_MAX_CLIPS]:
        columns = clip.columns
        key, time = columns["key"] or "", _seconds(columns)
        _add(
            clips,
            clip.index,
            columns["clip_id"],
            key,
            time,
            len(columns["frame_pts_ns"]),
            clip.shard_id,
            clip.row,
        )
    _print_some(clips, found.clips, "clips", console)
    for record in found.removals:
        console.print(f"removed on {record.removal.removed_on}: {record.file}")


def _print_some(table: Table, rows: Sequence[object], what: str, console: Console) -> None:
    if rows:
        _print_whole(table, console)
    if len(rows) > _MAX_CLIPS:
        console.print(f"… and {len(rows) - _MAX_CLIPS:,} more {what}; --json prints all")


def _print_whole(table: Table, console: Console) -> None:
    if not console.is_terminal:
        # In a pipe, where ids are taken from it into other commands.
        console.width = _WIDEST
    console.print(table)


def _print_pairs(pairs: Iterable[tuple[str, str | None]], console: Console) -> None:
    # No table: a table would wrap values that users copy.
    for name, value in pairs:
        if value is not None:
            console.print(f"{name:<11}{value}")


def _add(table: Table, *values: object) -> None:
    table.add_row(*map(str, values))


def _seconds(columns: dict[str, Any]) -> str:
    return f"{columns['start_ns'] / 1e9:.3f}–{columns['end_ns'] / 1e9:.3f} s"


def _crop(columns: dict[str, Any]) -> str:
    """What a shard of version 2 tells of scaling and cropping."""
    if "scaled_width" not in columns:
        return ""
    scaled = f"{columns['scaled_height']}×{columns['scaled_width']}"
    return f", scaled to {scaled} and cropped from row {columns['crop_top']}, column {columns['crop_left']}"


def _span(start_ns: int | None, end_ns: int | None) -> str:
    if start_ns is None and end_ns is None:
        return "all"
    start, end = (None if time is None else f"{time / 1e9:.3f}" for time in (start_ns, end_ns))
    return f"{start or 'start'}–{end or 'end'} s"


def _outcome(row: "LedgerRow") -> str:
    parts = [row["outcome"], row["reason"], row["detail"]]
    return ", ".join(part for part in parts if part is not None)


def _media(row: "LedgerRow") -> str:
    found = [row["media"], row["container"], row["codec"], row["decoder"]]
    return ", ".join(part for part in found if part is not None)


def _trace_document(traced: "ClipTrace") -> dict[str, Any]:
    return {
        "clip": _clip_document(traced.clip),
        "plan_row": asdict(traced.plan_row),
        "ledger_row": traced.ledger_row,
    }


def _source_document(found: "SourceTrace") -> dict[str, Any]:
    return {
        "source": found.source,
        "key": found.key,
        "plan_rows": [asdict(row) for row in found.plan_rows],
        "ledger_rows": found.ledger_rows,
        "clips": [_clip_document(clip) for clip in found.clips],
        "removals": [
            {
                "file": record.file,
                "removed_on": record.removal.removed_on.isoformat(),
                "reason": record.removal.reason,
            }
            for record in found.removals
        ],
    }


def _clip_document(clip: "TracedClip") -> dict[str, Any]:
    document = asdict(clip)
    return document.pop("columns") | {"file": clip.file} | document
