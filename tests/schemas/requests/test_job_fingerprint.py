"""The job's fingerprint: what decides bytes is in it, what does not is not, and old ones stay."""

import pytest

from bitmill.schemas.requests.frames import PixelRule
from bitmill.schemas.requests.job import SamplingSpec, ShardVersion, make_job
from bitmill.schemas.requests.job_fingerprint import fingerprint_fields, job_fingerprint

MINIMAL: dict[str, object] = {
    "version": 1,
    "source": {"paths": "/data"},
    "output": "/tokens",
    "tokenizer": {"preset": "tiny"},
}


def _fingerprint(pixel_rule: PixelRule = 1, *, shard_version: ShardVersion = 1, **changes: object) -> str:
    job = make_job({**MINIMAL, **changes}, origin="x")
    return job_fingerprint(
        fingerprint_fields(
            job,
            tokenizer_fingerprint="t",
            size_px=128,
            device="cpu",
            pixel_rule=pixel_rule,
            shard_version=shard_version,
        )
    )


def test_fingerprints_from_before_pixel_rules_are_those_of_the_first():
    assert _fingerprint(1) == "bad28533c96ec3dc6986db8425501e40"
    assert _fingerprint(2) == "8236238017210c296e0d894f081c583a"


def test_later_fields_enter_the_fingerprint_and_clip_ids_only_off_their_default():
    before = _fingerprint(1)
    assert _fingerprint(1, sampling={"tail": "pad"}) == before
    assert _fingerprint(1, storage={"shard_version": None}) == before
    others = {
        _fingerprint(1, shard_version=2),
        _fingerprint(1, sampling={"tail": "drop"}),
        _fingerprint(1, sampling={"fps": 1}),
        _fingerprint(1, sampling={"fps": 1, "seek": True}),
        _fingerprint(1, tokenizer={"plugin": "toy"}),
        _fingerprint(1, tokenizer={"plugin": "toy", "options": {"seed": 1}}),
    }
    assert len(others) == 6
    assert before not in others
    assert SamplingSpec(fps=1, seek=True).rule() == SamplingSpec(fps=1).rule()
    assert SamplingSpec().rule() == {"fps": None, "clip_frames": 16}
    assert SamplingSpec(tail="drop").rule() == {"fps": None, "clip_frames": 16, "tail": "drop"}


@pytest.mark.parametrize(
    "change",
    [
        {"sampling": {"fps": 8}},
        {"sampling": {"clip_frames": 8}},
        {"compute": {"dtype": "bfloat16"}},
        {"compute": {"threads": 2}},
        {"compute": {"decoder": "decord"}},
        {"storage": {"codes_compression": "zstd"}},
        {"limits": {"max_frames": 5}},
    ],
)
def test_what_decides_bytes_is_in_the_fingerprint(change):
    assert _fingerprint(**change) != _fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"output": "/elsewhere"},
        {"compute": {"actors": 7, "decoders": 3}},
        {"limits": {"item_timeout_s": 1.0}},
        {"max_failures": 0.5},
    ],
)
def test_what_decides_no_byte_is_not(change):
    assert _fingerprint(**change) == _fingerprint()
