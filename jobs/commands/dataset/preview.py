"""``bitmill preview``: writes a video or contact sheet of decoded tokens next to their sources."""

from collections.abc import Iterable, Iterator

from bitmill.jobs.console import Console
from bitmill.jobs.preparation.file_arguments import publish, suffix_of
from bitmill.jobs.progress.live_line import LiveLine
from bitmill.pipeline.inspection.make_preview import PreviewClip, mean_psnr_db, preview_clips
from bitmill.pipeline.inspection.show_preview import write_sheet, write_video
from bitmill.pipeline.storage import normalise
from bitmill.schemas.counted import counted
from bitmill.schemas.errors import UsageError


def write_preview(
    dataset: str,
    *,
    out: str,
    clip_ids: list[str] | None,
    sources: list[str],
    max_clips: int,
    console: Console,
) -> None:
    """Write the preview atomically and print what it contains."""
    writer = {".mp4": write_video, ".png": write_sheet}.get(suffix_of(out))
    if writer is None:
        raise UsageError(f"--out {out} must end in .mp4 or .png.")
    uris = [normalise(source) for source in sources]
    chosen = preview_clips(
        normalise(dataset),
        clip_ids=clip_ids,
        sources=uris,
        max_clips=max_clips,
        by_scale=writer is write_sheet,
    )
    with LiveLine(console) as line:
        clips = publish(out, lambda path: writer(_shown(chosen, line, max_clips), path))
    lost = sum(clip.original_THWC is None for clip in clips)
    psnr = mean_psnr_db(clips)
    console.print(f"wrote {out}: {counted(len(clips), 'clip')}, original next to decoded")
    if psnr is not None:
        console.print(f"PSNR of decoded against original: {psnr:.2f} dB, mean over clips")
    if lost:
        console.print(f"{counted(lost, 'clip')} shown without the original: the source cannot be read now")


def _shown(chosen: Iterable[PreviewClip], line: LiveLine, most: int) -> Iterator[PreviewClip]:
    for number, clip in enumerate(chosen, start=1):
        line.show(lambda number=number: f"preview: {number} of up to {counted(most, 'clip')} decoded")
        yield clip
