"""Datasets of several frame sizes: each is counted, what was cropped is told, and no other size may occur."""

from pathlib import Path

import pytest

from bitmill.pipeline.decode.pixels.frame_sizes import NativeSizes
from bitmill.schemas.reports.audit_findings import Kind
from tests.support.audits import AuditedDataset, Rows, sound_dataset
from tests.support.coded_datasets import MIXED, mixed_dataset


@pytest.fixture
def mixed(tmp_path: Path) -> AuditedDataset:
    return mixed_dataset(tmp_path / "tokens")


def test_clips_are_counted_by_frame_size(mixed: AuditedDataset):
    report = mixed.audit()
    assert report.findings == []
    coverage = report.coverage
    assert coverage.num_sizes == 3
    sizes = {(size.height_px, size.width_px): size for size in coverage.sizes}
    assert set(sizes) == set(MIXED)
    clips = [size.clips for size in coverage.sizes]
    assert clips == sorted(clips, reverse=True)
    for name in ("clips", "frames", "tokens", "code_bytes"):
        assert sum(getattr(size, name) for size in coverage.sizes) == getattr(coverage.total, name)
    wide, high, square = (sizes[size] for size in MIXED)
    # Of 17, 17, 6 and 5, 17 frames, which become 17, 17, 9 and 5, 17; with 4 frames in a token row.
    assert (wide.clips, wide.frames, wide.padded_frames) == (5, 62, 3)
    assert wide.tokens == (5 + 5 + 3 + 2 + 5) * 4 * 6
    assert (high.frames, high.padded_frames) == (9 + 6 + 3, 3 + 2)
    assert coverage.padded_frames == wide.padded_frames + high.padded_frames + square.padded_frames == 8


def test_the_share_that_was_cropped_away_is_of_pixels(mixed: AuditedDataset):
    """Sources are shown at 16:9: 32 rows of them are 56 columns wide, and 48 rows 85."""
    coverage = mixed.audit().coverage
    sizes = {(size.height_px, size.width_px): size for size in coverage.sizes}
    kept = {(32, 48): (32 * 48, 32 * 56), (48, 32): (48 * 32, 48 * 85), (32, 32): (32 * 32, 32 * 56)}
    for size, (inside, whole) in kept.items():
        assert sizes[size].cropped == pytest.approx(1 - inside / whole)
    total = sum(size.frames * kept[size.height_px, size.width_px][0] for size in coverage.sizes)
    scaled = sum(size.frames * kept[size.height_px, size.width_px][1] for size in coverage.sizes)
    assert coverage.cropped == pytest.approx(1 - total / scaled)


@pytest.mark.slow
def test_any_distribution_of_the_work_gives_one_report(mixed: AuditedDataset):
    assert mixed.audit(workers=2).coverage == mixed.audit().coverage


def test_version_1_tells_no_crop(tmp_path: Path):
    coverage = sound_dataset(tmp_path / "tokens", shard_version=1).audit().coverage
    assert (coverage.num_sizes, coverage.cropped, coverage.padded_frames) == (1, None, 0)
    assert coverage.sizes[0].cropped is None


def test_a_size_that_is_none_of_the_jobs_is_found(mixed: AuditedDataset):
    def turn(rows: Rows) -> None:
        for row in rows:
            if (row["height"], row["width"]) == (4, 6):
                # As many tokens, in a frame that covers them.
                row.update(height=3, width=8, scaled_width=80)

    mixed.change_rows(0, turn)
    (finding,) = mixed.audit().findings
    assert finding.kind is Kind.WRONG_SHAPE
    assert "frames of 24×64 pixels are none of the job's: 32×48, 48×32, 32×32" in finding.examples[0].detail


def test_a_square_of_another_size_is_found(tmp_path: Path):
    dataset = sound_dataset(tmp_path / "tokens")

    def turn(rows: Rows) -> None:
        rows[0].update(height=2, width=8, scaled_width=64)

    dataset.change_rows(0, turn)
    (finding,) = dataset.audit().findings
    assert finding.kind is Kind.WRONG_SHAPE


def test_a_crop_outside_the_scaled_frame_is_found(mixed: AuditedDataset):
    mixed.change_rows(0, lambda rows: rows[0].update(scaled_width=47))
    (finding,) = mixed.audit().findings
    assert (finding.kind, finding.count) == (Kind.WRONG_SHAPE, 1)
    assert "reaches outside the frame scaled to 32×47" in finding.examples[0].detail


def test_native_sizes_are_multiples_within_the_bounds():
    sizes = NativeSizes(multiple_px=(16, 8), short_side_px=64, area_px=64 * 128)
    assert all(map(sizes.allows, [(64, 128), (16, 8), (128, 64), (64, 104)]))
    assert not any(map(sizes.allows, [(72, 64), (64, 130), (80, 72), (64, 136), (16, 8200)]))
