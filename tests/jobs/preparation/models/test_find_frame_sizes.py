"""Frame sizes that a tokenizer does not take are refused with a sentence; others reach the fingerprint."""

import pytest

from bitmill.jobs.preparation.models.find_frame_sizes import (
    job_frame_sizes,
    largest_within,
    square_size_px,
)
from bitmill.jobs.preparation.models.job_tokenizer import job_tokenizer
from bitmill.jobs.preparation.prepare import prepare
from bitmill.pipeline.decode.pixels.frame_sizes import Buckets, NativeSizes, squares
from bitmill.schemas.errors import BadJobError, OutputConflictError, UsageError
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.requests import job as jobs
from bitmill.schemas.requests import job_fingerprint as fingerprints
from bitmill.schemas.requests.submission import submission_name
from tests.support.fakes import make_job
from tests.support.media import plain_mp4

PYRAMID = {
    "layout": "pyramid",
    "schedules": {"2x2": [[1, 1, 1], [1, 2, 2]], "2x4": [[1, 1, 2], [1, 2, 4]]},
    "patch_px": (16, 16),
}


def whole(geometry):
    return Geometry.model_validate({"patch_px": (8, 16), "code": Code.of_bits(4), **geometry})


@pytest.mark.parametrize(
    ("geometry", "size_px", "message"),
    [
        ({}, None, r"takes frames of any size: set frames\.size_px, a multiple of 16"),
        (PYRAMID, None, r"takes frames of several sizes: set frames\.size_px, a multiple of 16"),
        ({}, 40, r"frames\.size_px 40 is not divisible by 16"),
        ({"size_px": (32, 32)}, 64, r"frames\.size_px 64 is not the size .* made for \(32\)"),
        ({"size_px": (32, 64)}, None, r"takes frames of 32×64 pixels, .* frames\.buckets"),
        (
            PYRAMID,
            64,
            r"no schedule for frames of 64×64 pixels \(frames\.size_px\); it has those of .* 2x2, 2x4",
        ),
    ],
)
def test_squares_that_a_tokenizer_does_not_take_are_refused(geometry, size_px, message):
    with pytest.raises(UsageError, match=message):
        square_size_px(whole(geometry), size_px, option="frames.size_px")


@pytest.mark.parametrize(
    ("geometry", "size", "found"),
    [
        ({}, (63, 63), (56, 48)),
        ({}, (64, 4), (64, 16)),
        (PYRAMID, (40, 70), (32, 64)),
        (PYRAMID, (40, 60), (32, 32)),
        (PYRAMID, (16, 16), (32, 32)),
    ],
)
def test_the_largest_size_that_a_tokenizer_takes_within_another(geometry, size, found):
    assert largest_within(whole(geometry), size) == found


@pytest.mark.parametrize(
    ("geometry", "frames", "message"),
    [
        ({}, {}, r"set frames\.size_px, a multiple of 16 pixels, frames\.buckets or frames\.native"),
        ({}, {"buckets": [[16, 16], [12, 16]]}, r"frames\.buckets has 12×16 .* multiples of 8×16"),
        ({}, {"buckets": [[16, 40]]}, r"frames\.buckets has 16×40 .* multiples of 8×16"),
        ({"size_multiple_px": (32, 32)}, {"buckets": [[16, 32]]}, r"16×32 .* multiples of 32×32"),
        ({"size_px": (32, 32)}, {"buckets": [[32, 32], [32, 64]]}, "32×32 pixels alone, not of 32×64"),
        (
            {"size_px": (32, 32)},
            {"native": {"area_px": 4096}},
            r"32×32 pixels alone: leave frames\.native out",
        ),
        ({}, {"native": {"short_side_px": 8}}, r"short_side_px 8 is less than 16"),
        ({}, {"native": {"area_px": 127}}, r"area_px 127 is less than 8×16"),
        (
            PYRAMID,
            {"buckets": [[32, 32], [64, 32]]},
            r"no schedule for frames of 64×32 pixels \(frames\.buckets",
        ),
        (PYRAMID, {"native": {"area_px": 4096}}, r"a few sizes alone: name them in frames\.buckets"),
    ],
)
def test_sizes_that_a_tokenizer_does_not_take_are_refused(geometry, frames, message):
    with pytest.raises(UsageError, match=message):
        job_frame_sizes(make_job(frames=frames), whole(geometry))


def test_sizes_that_it_takes():
    free = whole({})
    assert job_frame_sizes(make_job(frames={"size_px": 32}), free) == squares(32)
    assert job_frame_sizes(make_job(), whole({"size_px": (32, 32)})) == squares(32)
    buckets = make_job(frames={"buckets": [[8, 16], [32, 16]]})
    assert job_frame_sizes(buckets, free) == Buckets(((8, 16), (32, 16)))
    assert job_frame_sizes(make_job(frames={"buckets": [[32, 64]]}), whole({"size_px": (32, 64)})) == Buckets(
        ((32, 64),)
    )
    native = make_job(frames={"native": {"short_side_px": 64, "area_px": 9000}})
    assert job_frame_sizes(native, free) == NativeSizes(multiple_px=(8, 16), short_side_px=64, area_px=9000)


@pytest.mark.parametrize("frames", [{"buckets": [[64, 96]]}, {"native": {"short_side_px": 64}}])
def test_a_bsq_vit_takes_other_sizes_by_interpolated_positions_alone(frames):
    with pytest.raises(
        UsageError, match=r"made for frames of 128×128 .* set frames\.interpolate_positions to true"
    ):
        job_tokenizer(make_job(frames=frames))


def test_interpolated_positions_are_a_field_of_the_fingerprint(tmp_path):
    plain_mp4(tmp_path / "a.mp4")

    def prepared(name, frames):
        job = make_job(source={"paths": [str(tmp_path)]}, output=str(tmp_path / name), frames=frames)
        return prepare(job, cluster_has_gpus=lambda: False)

    buckets = prepared("buckets", {"buckets": [[64, 96]], "interpolate_positions": True})
    assert buckets.card.fingerprint_fields["frames.positions"] == "interpolate: bicubic, antialiased"
    assert buckets.context.sizes == Buckets(((64, 96),))
    own = prepared("own", {"buckets": [[128, 128]]})
    assert "frames.positions" not in own.card.fingerprint_fields
    assert own.card.tokenizer_fingerprint == prepared("square", {}).card.tokenizer_fingerprint
    with pytest.raises(
        OutputConflictError, match=r"frames\.buckets is \[\[64, 96\]\] there and \[\[96, 64\]\] here"
    ):
        prepared("buckets", {"buckets": [[96, 64]], "interpolate_positions": True})


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ({"buckets": []}, "buckets"),
        ({"buckets": [[16, 16], [16, 16]]}, "buckets has 16×16 twice"),
        ({"buckets": [[16, 16]], "size_px": 16}, "give one of size_px, buckets and native"),
        ({"native": {}}, "give short_side_px, area_px, or both"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(frames, message):
    document = make_job().model_dump(mode="json") | {"frames": frames}
    with pytest.raises(BadJobError, match=message):
        jobs.make_job(document, origin="x")


def fields(frames, *, size_px=None, positions=None):
    return fingerprints.fingerprint_fields(
        make_job(frames=frames),
        tokenizer_fingerprint="t",
        size_px=size_px,
        device="cpu",
        pixel_rule=2,
        shard_version=2,
        positions=positions,
    )


def test_the_sizes_are_fields_of_the_fingerprint_and_absent_for_squares():
    square = fields({"size_px": 32}, size_px=32)
    assert {name: value for name, value in square.items() if name.startswith("frames.")} == {
        "frames.size_px": 32,
        "frames.pixel_rule": 2,
    }
    buckets = fields({"buckets": [[8, 16], [16, 8]]}, positions="interpolate: bicubic, antialiased")
    assert buckets["frames.size_px"] is None
    assert buckets["frames.buckets"] == [[8, 16], [16, 8]]
    assert buckets["frames.positions"] == "interpolate: bicubic, antialiased"
    native = fields({"native": {"area_px": 4096}})
    assert native["frames.native"] == {"area_px": 4096}
    names = [
        fields({"buckets": sizes}) for sizes in ([[8, 16]], [[16, 8]], [[8, 16], [16, 8]], [[16, 8], [8, 16]])
    ]
    assert len({fingerprints.job_fingerprint(one) for one in [square, buckets, native, *names]}) == 7


def test_submitted_jobs_of_other_sizes_have_other_names():
    several = [{}, {"size_px": 32}, {"buckets": [[8, 16]]}, {"native": {"area_px": 64}}]
    assert len({submission_name(make_job(frames=frames), {}) for frames in several}) == 4
