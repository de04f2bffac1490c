"""``bitmill preview``: a video or a contact sheet of stored tokens beside their sources."""

from pathlib import Path

from bitmill.jobs.console import Console
from bitmill.pipeline.inspection.make_preview import mean_psnr_db, preview_clips, write_sheet, write_video
from bitmill.pipeline.storage import Folder, normalise
from bitmill.schemas.errors import UsageError


def write_preview(
    dataset: str,
    *,
    out: Path,
    clip_ids: list[str] | None,
    source: str | None,
    max_clips: int,
    console: Console,
) -> None:
    """Write the preview whole or not at all, and say what is on it."""
    writers = {".mp4": write_video, ".png": write_sheet}
    writer = writers.get(out.suffix.lower())
    if writer is None:
        raise UsageError(f"--out {out} must end in .mp4 or .png.")
    source_uri = normalise(source) if source is not None else None
    chosen = preview_clips(normalise(dataset), clip_ids=clip_ids, source=source_uri, max_clips=max_clips)
    target = Path(normalise(str(out)))
    folder = Folder(str(target.parent))
    try:
        with folder.publishing(target.name) as staged:
            clips = writer(chosen, staged.path)
    finally:
        folder.sweep_staging()
    lost = sum(clip.original_THWC is None for clip in clips)
    psnr = mean_psnr_db(clips)
    console.print(f"wrote {out}: {len(clips)} clips, original beside decoded")
    if psnr is not None:
        console.print(f"PSNR of decoded against original: {psnr:.2f} dB")
    if lost:
        console.print(f"{lost} clips stand without original, since their source cannot be read now")
