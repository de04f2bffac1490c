"""Reports of audits that no dataset made."""

import io
import random
from typing import Any

from PIL import Image, ImageDraw

from bitmill.schemas.reports.audit_report import (
    AuditReport,
    Counts,
    Coverage,
    SourceCheck,
)
from tests.support.audit_parts import (
    HOSTILE,
    make_codes,
    make_coverage,
    make_duplicates,
    make_findings,
    make_sample,
)


def rich_report(*, num_failures: int = 60, bits: int = 18, seed: int = 0, **changes: Any) -> AuditReport:
    """A damaged dataset with something in every section."""
    chance = random.Random(seed)
    report = AuditReport(
        bitmill_version="0.1.0",
        created="2026-11-26T05:52:01.123456+00:00",
        seconds=83.2,
        dataset=f"s3://tokens/films-{HOSTILE}",
        verdict="damaged",
        exit_code=4,
        tokenizer_fingerprint="3f" * 16,
        tokenizer={"bits": bits, "patch_size_px": 8, HOSTILE: {"nested": [1, HOSTILE]}},
        job={"fps": 8.0, "caption": HOSTILE, "nothing": None},
        shards_planned=120,
        shards_committed=117,
        shards_read=116,
        removals=12,
        coverage=make_coverage(chance, num_failures),
        findings=make_findings(),
        codes=make_codes(chance, bits),
        duplicates=make_duplicates(chance),
        sample=make_sample(chance),
        sources=SourceCheck(
            checked=14203, gone=3, changed=1, unplanned=40, unplanned_examples=[HOSTILE, "s3://a/b.mp4"]
        ),
        left_out=["LPIPS was left out: its weights are not here.", HOSTILE],
    )
    return report.model_copy(update=changes)


def plain_report(**changes: Any) -> AuditReport:
    """A sound dataset of which nothing but coverage was asked."""
    total = Counts(sources=3, ok=3, clips=4, frames=40, tokens=10240, code_bytes=23040, seconds_out=5.0)
    coverage = Coverage(total=total, tables=[], reasons=[], failures=[], histograms=[], next_steps=[])
    report = AuditReport(
        bitmill_version="0.1.0",
        created="2026-11-26T05:52:01Z",
        seconds=0.2,
        dataset="tokens",
        verdict="sound",
        exit_code=0,
        tokenizer_fingerprint="3f" * 16,
        tokenizer={},
        job={},
        shards_planned=1,
        shards_committed=1,
        shards_read=1,
        coverage=coverage,
        findings=[],
    )
    return report.model_copy(update=changes)


def pictures_of(report: AuditReport) -> dict[str, bytes]:
    """A PNG for each picture that the report's sample names."""
    clips = report.sample.clips if report.sample else []
    return {clip.picture: _picture(place) for place, clip in enumerate(clips) if clip.picture is not None}


def _picture(place: int) -> bytes:
    image = Image.new("RGB", (4 * 128, 2 * 128), (30, 40, 60))
    draw = ImageDraw.Draw(image)
    for frame in range(4):
        for row in range(2):
            x, y = 128 * frame, 128 * row
            draw.rectangle(
                (x, y, x + 126, y + 126), fill=(60 + 9 * place % 150, 90 + 20 * frame, 150 - 30 * row)
            )
            draw.ellipse((x + 10 + 15 * frame, y + 30, x + 60 + 15 * frame, y + 80), fill=(230, 200, 90))
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()
