"""Datasets of tokenizers unlike BSQ-ViT, whose plugin is missing: sound as made, each defect found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitmill.jobs.execution.audit_dataset import AuditRequest, run_audit
from bitmill.pipeline.auditing.options import AuditOptions
from bitmill.schemas.dataset.packing import pack_codes, unpack_codes
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.reports.audit_findings import Kind
from bitmill.schemas.reports.audit_report import AuditReport, read_audit
from tests.support.audits import AuditedDataset, Rows, sound_dataset
from tests.support.coded_datasets import GEOMETRIES, IMAGES, PACKAGE, VIDEOS, coded_dataset
from tests.support.pyramid_tokenizers import pyramid_geometry

DIGITS = "kind digits, bits_per_token 11, levels 8×8×5×5, first"


@pytest.fixture(params=GEOMETRIES)
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> AuditedDataset:
    return coded_dataset(tmp_path / "tokens", GEOMETRIES[request.param])


@pytest.fixture
def digits(tmp_path: Path) -> AuditedDataset:
    return coded_dataset(tmp_path / "tokens", GEOMETRIES["digits"])


def found_in(report: AuditReport) -> dict[Kind, int]:
    return {one.kind: one.count for one in report.findings}


def whole_audit(dataset: AuditedDataset, **options: Any) -> AuditReport:
    request = AuditRequest(asked=AuditOptions(**options), workers=1)
    return run_audit(str(dataset.path), request).report


def test_a_sound_dataset_shows_nothing_and_counts_frames_as_decoded(dataset: AuditedDataset):
    report = dataset.audit()
    assert report.findings == []
    lengths = IMAGES if dataset.card.geometry.max_frames == 1 else VIDEOS
    assert report.coverage.total.frames == sum(map(sum, lengths))
    (histogram,) = (one for one in report.coverage.histograms if one.name == "clip frames")
    assert sum(histogram.counts) == report.coverage.total.clips == sum(map(len, lengths))
    assert report.shards_read == report.shards_committed == 2


def test_version_1_is_audited_as_before(tmp_path: Path):
    dataset = sound_dataset(tmp_path / "tokens", shard_version=1)
    assert dataset.audit().findings == []

    def shorten(rows: Rows) -> None:
        rows[0]["frame_pts_ns"] = rows[0]["frame_pts_ns"][:-1]

    dataset.change_rows(0, shorten)
    assert dataset.found() == {Kind.WRONG_SCHEMA: 1}
    dataset = sound_dataset(tmp_path / "other", shard_version=1)
    dataset.change_rows(0, lambda _: None, metadata={"patch_px": (16, 16)})
    (found,) = dataset.audit().findings
    assert (found.kind, found.examples[0].detail) == (
        Kind.WRONG_TOKENIZER,
        "its patch_px is 16×16, the dataset's is 8×8",
    )


def with_frames(count: int) -> dict[str, Any]:
    return {"num_real_frames": count, "frame_pts_ns": list(range(count))}


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (with_frames(5), "5 frames make 2 token rows, not 5"),
        (with_frames(18), "it has 18 frames; the tokenizer takes no such clip"),
        (with_frames(0), "it has 0 frames; the tokenizer takes no such clip"),
        ({"lead_frames": 0}, "lead_frames is 0, the tokenizer's is 1"),
        (
            {"crop_top": 1},
            "the crop of 32×32 pixels at (1, 12) reaches outside the frame scaled to 32×56",
        ),
        (
            {"crop_left": -1},
            "the crop of 32×32 pixels at (0, -1) reaches outside the frame scaled to 32×56",
        ),
        (
            {"scaled_width": 40},
            "the crop of 32×32 pixels at (0, 12) reaches outside the frame scaled to 32×40",
        ),
    ],
)
def test_a_shape_that_cannot_be(digits: AuditedDataset, change: dict[str, Any], detail: str):
    digits.change_rows(0, lambda rows: rows[0].update(change))
    (found,) = digits.audit().findings
    assert (found.kind, found.count) == (Kind.WRONG_SHAPE, 1)
    assert found.examples[0].detail == detail
    assert found.examples[0].where == f"row 0, {digits.plan[0].sources[0].uri}"


def test_padded_frames_have_no_times(digits: AuditedDataset):
    def pad(rows: Rows) -> None:
        padded = next(row for row in rows if row["num_real_frames"] == 6)
        padded["frame_pts_ns"] = [*padded["frame_pts_ns"], *[padded["frame_pts_ns"][-1]] * 3]

    digits.change_rows(0, pad)
    assert digits.found() == {Kind.WRONG_SCHEMA: 1}


def test_a_ledger_that_counts_token_rows_as_frames(digits: AuditedDataset):
    def recount(rows: Rows) -> None:
        rows[0]["num_frames"] = 5 + 5 + 3

    digits.change_ledger(0, recount)
    assert digits.found() == {Kind.COUNTS_DIFFER: 1}


def test_a_grid_that_the_pyramid_does_not_have(tmp_path: Path):
    dataset = coded_dataset(tmp_path / "tokens", GEOMETRIES["pyramid"])
    dataset.change_rows(0, lambda rows: rows[0].update(height=5))
    (found,) = whole_audit(dataset, duplicates=False, sample=0).findings
    assert (found.kind, found.examples[0].detail) == (
        Kind.WRONG_SHAPE,
        "the shard's tokens have no grid of 1×5×4",
    )


@pytest.mark.parametrize("name", ["digits", "index"])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_token_that_is_no_code(tmp_path: Path, name: str, compression: Any):
    dataset = coded_dataset(tmp_path / "tokens", GEOMETRIES[name])
    assert whole_audit(dataset, sample=0).codes is not None

    def damage(rows: Rows) -> None:
        codes = bytearray(rows[0]["codes"])
        codes[0:2] = b"\xff\xff"
        rows[0]["codes"] = bytes(codes)

    dataset.change_rows(1, damage, compression=compression)
    report = whole_audit(dataset, sample=0)
    assert found_in(report) == {Kind.CODE_OUT_OF_RANGE: 1}
    example = report.findings[0].examples[0]
    assert example.where == "row group 0, row 0 of it"
    assert example.detail == f"1 of 16 tokens are not below {dataset.card.geometry.code.num_codes}"
    assert (report.exit_code, report.shards_read) == (4, 1)
    assert report.codes is not None
    assert report.codes.tokens < report.coverage.total.tokens


@pytest.mark.parametrize(
    ("change", "kind", "detail"),
    [
        ({"frames_per_token": 2}, Kind.WRONG_TOKENIZER, "its frames_per_token is 2, the dataset's is 4"),
        ({"patch_px": (8, 4)}, Kind.WRONG_TOKENIZER, "its patch_px is 8×4, the dataset's is 8×8"),
        (
            {"code": Code.of_digits((8, 8, 5, 5), "most")},
            Kind.WRONG_TOKENIZER,
            f"its code is {DIGITS} most, the dataset's is {DIGITS} least",
        ),
        ({"pixel_rule": 1}, Kind.WRONG_JOB, "its pixel rule is 1, the dataset's is 2"),
    ],
)
def test_metadata_unlike_the_cards(digits: AuditedDataset, change: dict[str, Any], kind: Kind, detail: str):
    digits.change_rows(0, lambda _: None, metadata=change)
    (found,) = digits.audit().findings
    assert (found.kind, found.count, found.examples[0].detail) == (kind, 1, detail)


def test_a_pyramid_of_other_schedules(tmp_path: Path):
    dataset = coded_dataset(tmp_path / "tokens", GEOMETRIES["pyramid"])
    schedules = {"4x4": ((1, 1, 1), (1, 2, 2), (1, 4, 4)), "8x8": ((1, 8, 8),)}
    dataset.change_rows(0, lambda _: None, metadata={"schedules": schedules})
    assert dataset.found() == {Kind.WRONG_TOKENIZER: 1}


def test_a_config_that_is_not_the_cards(digits: AuditedDataset):
    path = digits.path / "tokenizer" / "config.json"
    path.write_text(path.read_text().replace("small", "large"))
    assert digits.found() == {Kind.MISSING_TOKENIZER: 1}
    path.write_text(path.read_text().replace(digits.card.tokenizer_fingerprint, "a" * 32))
    assert digits.found() == {Kind.MISSING_TOKENIZER: 1}
    path.unlink()
    assert digits.found() == {Kind.MISSING_TOKENIZER: 1}


def test_the_codes_are_told_by_their_kind(dataset: AuditedDataset):
    report = whole_audit(dataset, duplicates=False, sample=0)
    health, code = report.codes, dataset.card.geometry.code
    assert health is not None
    assert (health.kind, health.tokens) == (code.kind, report.coverage.total.tokens)
    assert report.geometry == dataset.card.geometry
    if code.kind == "bits":
        assert len(health.ones) == len(health.entropies) == len(health.correlation) == code.dimensions
        assert min(health.entropies) > 0.97
        assert health.values == []
    else:
        assert [len(counts) for counts in health.values] == list(code.bases)
        assert {sum(counts) for counts in health.values} == {health.tokens}
        assert health.order0_bits_per_token is not None
        assert health.order0_bits_per_token <= code.bits_per_token
        assert (health.ones, health.correlation) == ([], [])
    assert (health.by_frame != []) == (code.kind != "index")
    assert read_audit(report.to_json(), origin="it") == report


PYRAMIDS = pyramid_geometry([(1, 1), (1, 2), (2, 4)], [(1, 1), (2, 2), (3, 3), (4, 4)], bits=64)
PYRAMIDS_OF_DIGITS = PYRAMIDS.model_copy(update={"code": Code.of_digits((8, 8, 5, 5))})


@pytest.mark.parametrize("geometry", [PYRAMIDS, PYRAMIDS_OF_DIGITS], ids=["bits", "digits"])
def test_codes_of_pyramids_are_told_by_scale(tmp_path: Path, geometry: Geometry):
    code = geometry.code
    sizes = ((16, 32), (32, 32))
    dataset = coded_dataset(tmp_path / "tokens", geometry, [[1, 1]] * 4, sizes=sizes)

    def fix_dimension_2_of_the_second_scale(rows: Rows) -> None:
        for row in rows:
            codes: Any = unpack_codes(row["codes"], geometry.num_tokens((1, row["height"], 4)), code)
            codes[1 : 3 if row["height"] == 2 else 5, 2] = 1
            row["codes"] = pack_codes(codes, code)

    for shard in range(2):
        dataset.change_rows(shard, fix_dimension_2_of_the_second_scale)
    report = whole_audit(dataset, duplicates=False, sample=0)
    assert report.findings == []
    assert report.codes is not None
    scales = report.codes.by_scale or []
    assert [(row.value, row.tokens) for row in scales] == [
        *(("1", 4 + 4), ("2", 4 * 2 + 4 * 4), ("3", 4 * 8 + 4 * 9), ("4", 4 * 16))
    ]
    assert (scales[1].weakest_bit, scales[1].weakest_entropy) == (2, 0)
    assert min(scales[0].weakest_entropy, scales[3].weakest_entropy) > 0
    assert scales[3].mean_entropy > 0.9
    assert report.format_version == 4
    assert read_audit(report.to_json(), origin="it") == report


def test_reports_without_scales_are_of_the_version_before(digits: AuditedDataset):
    report = whole_audit(digits, duplicates=False, sample=0)
    assert report.format_version == 3
    assert b"by_scale" not in report.to_json()


def stuck(rows: Rows, code: Code) -> None:
    """Sets dimension 2 to one value in all tokens."""
    for row in rows:
        codes: Any = unpack_codes(row["codes"], row["num_frames"] * 16, code)
        codes[:, 2] = 1
        row["codes"] = pack_codes(codes, code)


@pytest.mark.parametrize(
    ("name", "where", "detail"),
    [
        ("digits", "digit 2", "it has an entropy of 0.00% of the most"),
        ("wide bits", "bit 2", "it is 1 in 100.0000% of all tokens"),
        ("bits, least first", "bit 2", "it is 1 in 100.0000% of all tokens"),
    ],
)
def test_a_stuck_dimension_is_named_by_its_number(tmp_path: Path, name: str, where: str, detail: str):
    dataset = coded_dataset(tmp_path / "tokens", GEOMETRIES[name])
    for shard in range(2):
        dataset.change_rows(shard, lambda rows: stuck(rows, GEOMETRIES[name].code))
    report = whole_audit(dataset, duplicates=False, sample=0)
    (found,) = report.findings
    assert (found.kind, found.examples[0].where, found.examples[0].detail) == (Kind.STUCK_BIT, where, detail)
    assert report.codes is not None
    assert {row.weakest_bit for row in report.codes.by_frame + report.codes.along} == {2}


def copied(change: Callable[[bytearray], object]) -> Callable[[Rows], None]:
    def copy(rows: Rows) -> None:
        codes = bytearray(rows[0]["codes"])
        change(codes)
        rows[1]["codes"] = bytes(codes)

    return copy


@pytest.mark.parametrize("name", GEOMETRIES)
def test_duplicates_are_found_whatever_the_code(tmp_path: Path, name: str):
    geometry = GEOMETRIES[name]
    lengths = [[1, 1]] * 4 if name == "pyramid" else [[17, 17]] * 4
    dataset = coded_dataset(tmp_path / "tokens", geometry, lengths)
    found = whole_audit(dataset, codes=False, sample=0).duplicates
    assert found is not None
    assert (found.exact_clips, found.near_clips) == (0, 0)
    dataset.change_rows(0, copied(lambda _: None))
    # The first bit of a token's index: another code, if its digit or index had an even value.
    dataset.change_rows(1, copied(lambda codes: codes.__setitem__(2, codes[2] ^ 1)))
    report = whole_audit(dataset, codes=False, sample=0)
    assert [kind for kind in found_in(report) if kind != Kind.CODE_OUT_OF_RANGE] == []
    found = report.duplicates
    assert found is not None
    assert (found.exact_clips, found.near_clips) == (1, 1)
    num_bits = len(unpack(dataset, 0)) * geometry.code.bits_per_token
    assert sorted(group.distance for group in found.groups) == [0, pytest.approx(1 / num_bits)]


def unpack(dataset: AuditedDataset, shard: int):
    """The codes [N, D] of a shard's first clip, whose length tells their number."""
    code = dataset.card.geometry.code
    _, (codes, *_) = next(dataset.stored(shard))
    return unpack_codes(codes, len(codes) * 8 // code.bits_per_token, code)


def test_without_the_plugin_the_sample_tells_what_to_install(digits: AuditedDataset):
    report = whole_audit(digits)
    assert (report.verdict, report.exit_code, report.findings) == ("sound", 0, [])
    sample = report.sample
    assert sample is not None
    assert (sample.num_clips, sample.compared, sample.clips) == (8, 0, [])
    assert sample.note is not None
    assert f"install {PACKAGE}" in sample.note
