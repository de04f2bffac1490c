"""Parts of an audit's report that no dataset made, with hostile text wherever text comes from outside."""

import math
import random
import re

from bitmill.schemas.outcomes import REASON_TEXT, Reason
from bitmill.schemas.reports.audit_findings import KIND_SEVERITY, Finding, Findings, Kind, Severity
from bitmill.schemas.reports.audit_report import (
    BitsOf,
    ClipPlace,
    CodeHealth,
    Counts,
    Coverage,
    CoverageRow,
    CoverageTable,
    DuplicateGroup,
    Duplicates,
    FailureRow,
    FrameSize,
    Histogram,
    ReasonRow,
    Sample,
    SampledClip,
)

HOSTILE = (
    '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 1"> \'`&lt;&amp; '
    "\u202egnp.exe\u2066 \u200b\x1b[31m {{data}} {a|b} 👩\u200d🚀 عربى"
)
LEGIBLE = re.sub("[\u202e\u2066\u200b\x1b]", lambda mark: f"\\u{ord(mark[0]):04x}", HOSTILE)
"""What a page shows in the place of ``HOSTILE``."""

_PREFIXES = ("s3://films/travel/2024", "s3://films/kitchen", "/data/archive/phone clips", f"s3://x/{HOSTILE}")
_CODECS = ("h264", "hevc", "av1", None)
_REASONS = (Reason.CORRUPT, Reason.TOO_SHORT, Reason.TRUNCATED, Reason.NOT_MEDIA, Reason.DECODE_TIMEOUT)


def _counts(chance: random.Random, items: int, *, pending: int = 0) -> Counts:
    failed, partial = chance.randrange(items // 8 + 1), chance.randrange(items // 12 + 1)
    clips = 3 * (items - failed)
    return Counts(
        sources=items + pending,
        pending=pending,
        ok=items - failed - partial,
        partial=partial,
        failed=failed,
        clips=clips,
        frames=16 * clips,
        tokens=16 * 256 * clips,
        source_frames=48 * clips,
        bytes_in=items * 4_200_000,
        code_bytes=16 * 256 * clips * 18 // 8,
        seconds_in=7.3 * items,
        seconds_out=6.0 * items,
    )


def _table(
    chance: random.Random, by: str, values: list[str | None], *, others: bool = False
) -> CoverageTable:
    rows = [
        CoverageRow(value=value, counts=_counts(chance, 3000 // (place + 1), pending=40 * (place == 1)))
        for place, value in enumerate(values)
    ]
    rest = CoverageRow(value="212 other values", counts=_counts(chance, 900)) if others else None
    return CoverageTable(by=by, rows=rows, others=rest)


def make_coverage(chance: random.Random, num_failures: int) -> Coverage:
    tables = [
        _table(chance, "prefix", list(_PREFIXES)),
        _table(chance, "codec", list(_CODECS)),
        _table(chance, "resolution", ["1280×720", "1920×1080", "640×360", None]),
        _table(chance, f"metadata.{HOSTILE}", [f"value {i}" for i in range(40)], others=True),
    ]
    failures = [_failure(chance, number) for number in range(num_failures)]
    reasons = [
        ReasonRow(
            reason=reason,
            meaning=REASON_TEXT[reason],
            failed=sum(row.reason == reason and row.outcome == "failed" for row in failures),
            partial=sum(row.reason == reason and row.outcome == "partial" for row in failures),
            examples=[row.source for row in failures if row.reason == reason][:3],
        )
        for reason in _REASONS
    ]
    total = _counts(chance, 14000, pending=203)
    return Coverage(
        total=total,
        tables=tables,
        reasons=reasons,
        failures=failures,
        histograms=_histograms(chance),
        sizes=[
            _size(256, 448, clips=9000, cropped=0.0),
            _size(448, 256, clips=4000, cropped=0.115),
            _size(256, 256, clips=12, cropped=None),
        ],
        num_sizes=3,
        padded_frames=13012,
        cropped=0.074,
        next_steps=[
            "Running the job again does 203 sources in 3 shards.",
            "--retry-failed does 31 items again.",
        ],
    )


def _size(height_px: int, width_px: int, *, clips: int, cropped: float | None) -> FrameSize:
    tokens = 16 * clips * height_px * width_px // 64
    return FrameSize(
        height_px=height_px,
        width_px=width_px,
        clips=clips,
        frames=16 * clips,
        padded_frames=clips,
        tokens=tokens,
        code_bytes=tokens * 9 // 4,
        cropped=cropped,
    )


def _failure(chance: random.Random, number: int) -> FailureRow:
    prefix = _PREFIXES[number % len(_PREFIXES)]
    reason = _REASONS[number % len(_REASONS)]
    return FailureRow(
        source=f"{prefix}/clip-{number:05d}.mp4",
        key=HOSTILE if number % 7 == 0 else None,
        outcome="partial" if number % 3 == 0 else "failed",
        reason=reason,
        detail=HOSTILE if number % 5 == 0 else f"frame {number} cannot be decoded",
        size_bytes=chance.randrange(10**8),
        media="video",
        codec=_CODECS[number % len(_CODECS)],
        clips=number % 4,
    )


def _histograms(chance: random.Random) -> list[Histogram]:
    seconds, heights = [0.0, 1, 2, 5, 10, 30, 60, 120, 300], [0.0, 144, 240, 360, 480, 720, 1080, 1440, 2160]
    return [
        Histogram(
            name=name, unit=unit, of=of, edges=edges, counts=[chance.randrange(5000) for _ in edges[:-1]]
        )
        for name, unit, of, edges in (
            ("item duration", "s", "items", seconds),
            ("source height", "px", "items", heights),
            ("clip frames", "frames", "clips", [1.0, 2, 4, 8, 16, 32]),
        )
    ]


def make_findings() -> list[Findings]:
    examples = [
        Finding(file=f"shards/{'ab' * 16}.parquet", where=f"row {row}", detail=f"Row {row}: {HOSTILE}")
        for row in range(3)
    ]
    kinds = (Kind.BAD_CHECKSUM, Kind.DUPLICATE_CLIP, Kind.PENDING_SHARD, Kind.FAILED_ITEMS, Kind.STUCK_BIT)
    found = [
        Findings(kind=kind, severity=KIND_SEVERITY[kind], count=7 * place + 1, examples=examples[: place + 1])
        for place, kind in enumerate(kinds)
    ]
    ranks = list(Severity)
    return sorted(found, key=lambda part: ranks.index(part.severity))


def _entropy(ones: float) -> float:
    return -sum(share * math.log2(share) for share in (ones, 1 - ones) if share)


def _bits_of(chance: random.Random, values: list[str]) -> list[BitsOf]:
    return [
        BitsOf(
            value=value,
            tokens=chance.randrange(10**6, 10**8),
            mean_entropy=0.96 + 0.03 * chance.random(),
            weakest_entropy=0.7 + 0.2 * chance.random(),
            weakest_bit=chance.randrange(18),
        )
        for value in values
    ]


def make_codes(chance: random.Random, bits: int) -> CodeHealth:
    ones = [0.9995 if bit == 3 else 0.35 + 0.3 * chance.random() for bit in range(bits)]
    correlation = [[float(a == b) for b in range(bits)] for a in range(bits)]
    for a in range(bits):
        for b in range(a):
            correlation[a][b] = correlation[b][a] = chance.gauss(0, 0.08)
    groups = [8.2 + 0.7 * chance.random() for _ in range(bits // 9)]
    return CodeHealth(
        tokens=171_819_008,
        bits_per_token=bits,
        ones=ones,
        entropies=[_entropy(share) for share in ones],
        correlation=correlation,
        stuck_bits=[3],
        used_codes=201_332,
        used_codes_error=0.0081,
        possible_codes=2**bits,
        group_bits=9,
        group_entropies=groups,
        order0_bits_per_token=sum(groups),
        by_frame=_bits_of(chance, [str(frame) for frame in range(16)]),
        by_source=_bits_of(chance, list(_PREFIXES)),
        along=_bits_of(chance, [f"{part}/20" for part in range(1, 21)]),
        pairs_of_frames=629_100,
        repeated_frames=12_403,
        clips=41_940,
        still_clips=88,
    )


def _place(number: int) -> ClipPlace:
    return ClipPlace(
        clip_id=f"{number:032x}",
        source=f"{_PREFIXES[number % len(_PREFIXES)]}/clip-{number:05d}.mp4",
        key=HOSTILE if number % 4 == 0 else None,
        start_ns=number * 3_721_000_000,
        end_ns=number * 3_721_000_000 + 2_000_000_000,
    )


def make_duplicates(chance: random.Random) -> Duplicates:
    groups = [
        DuplicateGroup(
            num_clips=2 + number % 3,
            distance=0.0 if number % 2 else 0.01 + 0.01 * chance.random(),
            clips=[_place(number), _place(number + 40).model_copy(update={"dataset": HOSTILE})],
        )
        for number in range(25)
    ]
    return Duplicates(
        others=[f"s3://other/{HOSTILE}"],
        radius=0.03,
        method="Near ones are found by 12 tables of 24 bits of a frame; 2% are missed.",
        exact_groups=12,
        exact_clips=24,
        near_groups=30,
        near_clips=61,
        groups=groups,
        list_file="duplicates.txt",
    )


def make_sample(chance: random.Random) -> Sample:
    clips = [
        SampledClip(
            clip=_place(number),
            num_frames=16,
            psnr_db=22 + number * 0.7 + chance.random(),
            ssim=0.71 + number * 0.01,
            lpips=0.3 - number * 0.01,
            bits_per_pixel=0.28125 if number % 2 else 0.140625,
            num_bits=73_728,
            differing_bits=number % 3,
            differs_at=["frame 3, row 0, column 5, bit 17"] * (number % 3),
            picture=f"pictures/{number:02d}.png",
        )
        for number in range(14)
    ]
    lost = clips[0].model_copy(
        update=dict.fromkeys(("psnr_db", "ssim", "lpips", "differing_bits", "picture")) | {"problem": HOSTILE}
    )
    return Sample(
        seed=0,
        num_clips=15,
        compared=14,
        psnr_db=27.31,
        ssim=0.79,
        lpips=0.21,
        num_bits=14 * 73_728,
        differing_bits=14,
        clips=[*clips, lost],
        note=HOSTILE,
    )
