"""The job file: its example is whole and true, and each mistake gets one clear line."""

from importlib import resources

import pytest
import yaml

from bitmill.schemas.errors import UsageError
from bitmill.schemas.requests.frames import PixelRule
from bitmill.schemas.requests.job import (
    JobSpec,
    LimitsSpec,
    SamplingSpec,
    ShardVersion,
    fingerprint_fields,
    job_fingerprint,
    load_job,
    make_job,
)

MINIMAL = """
version: 1
source: {paths: /data}
output: /tokens
tokenizer: {preset: tiny}
"""


def example_text() -> str:
    return (resources.files("bitmill.schemas") / "job.example.yaml").read_text()


def test_the_example_is_a_valid_job():
    job = load_job(example_text(), origin="example")
    assert job.tokenizer.path == "/models/bsq-vit-18"


def test_the_example_shows_every_key_with_its_default():
    shown = yaml.safe_load(example_text())
    defaults = load_job(MINIMAL, origin="x").model_dump(mode="json")
    for part in ("sampling", "frames", "limits", "sharding", "storage", "compute", "max_failures"):
        assert shown[part] == defaults[part], part
    commented = example_text()
    tokenizer = ["bundled", "preset", "bits_per_token", "seed"]
    for part, fields in (("source", ["manifest"]), ("tokenizer", tokenizer)):
        for name in fields:
            assert f"# {name}:" in commented, f"{part}.{name}"
    assert set(shown) == set(JobSpec.model_fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sampling: {fsp: 8}", r"unknown key 'sampling.fsp' \(did you mean 'sampling.fps'\?\)"),
        ("sampling: {fps: 0}", r"sampling\.fps must be above 0"),
        ("sampling: {fps: .inf}", r"sampling.fps"),
        ("sampling: {clip_frames: 4, min_frames: 5}", r"min_frames 5 is more than clip_frames 4"),
        ("compute: {device: tpu}", r"compute\.device must be 'auto', 'cpu' or 'cuda'"),
        ("max_failures: 1.5", r"max_failures"),
        ("source: {paths: [/a], manifest: /b.csv}", r"give either paths or manifest"),
        ("source: {paths: []}", r"paths is empty"),
        ("tokenizer: {}", r"give one of bundled, path, preset and plugin"),
        ("tokenizer: {path: /t, bits_per_token: 9}", r"bits_per_token belongs to a preset"),
        ("tokenizer: {path: /t, options: {seed: 1}}", r"options belong to a plugin"),
        ("tokenizer: {path: /t, plugin: toy}", r"give one of bundled, path, preset and plugin"),
        ("sampling: {tail: cut}", r"sampling\.tail must be 'pad' or 'drop'"),
        ("storage: {shard_version: 3}", r"storage\.shard_version must be 1 or 2"),
        ("frames: {buckets: []}", r"job.yaml: frames: buckets is empty\.$"),
        (
            "frames: {buckets: [[0, 128]]}",
            r"job.yaml: frames\.buckets\.0\.0 must be above 0\.$",
        ),
        ("frames: {buckets: 128x128}", r"job.yaml: frames\.buckets must be a list\.$"),
        ("frames: {buckets: [[true, 128]]}", r"frames\.buckets\.0\.0 must be a whole number\.$"),
        ('frames: {buckets: [[128, "128"]]}', r"frames\.buckets\.0\.1 must be a whole number\.$"),
        ("frames: {size_px: 128.0}", r"frames\.size_px must be a whole number\.$"),
        ("frames: {native: {area_px: true}}", r"native\.area_px must be a whole number\.$"),
        ("frames: {native: 64}", r"job.yaml: frames\.native must be keys with values\.$"),
        ("version: 2", r"has version 2; this bitmill knows up to 1. Upgrade"),
    ],
)
def test_each_mistake_is_named(change, message):
    document = {**yaml.safe_load(MINIMAL), **yaml.safe_load(change)}
    with pytest.raises(UsageError, match=message) as caught:
        load_job(yaml.safe_dump(document), origin="job.yaml")
    assert str(caught.value).startswith("job.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [1", "not valid YAML"), ("- 1", "must be a YAML mapping"), ("", "must be a YAML mapping")],
)
def test_what_is_no_job_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        load_job(text, origin="job.yaml")


def test_missing_keys_are_named():
    with pytest.raises(UsageError, match="key 'output' is missing"):
        load_job("version: 1\nsource: {paths: /d}\ntokenizer: {preset: tiny}", origin="x")


def test_overrides_win():
    job = load_job(MINIMAL, origin="x", overrides={"sampling.fps": 8, "compute.actors": 2})
    assert (job.sampling.fps, job.compute.actors) == (8, 2)


def test_overriding_an_unknown_key_is_an_error():
    with pytest.raises(UsageError, match=r"unknown key 'sampling\.speed'"):
        load_job(MINIMAL, origin="x", overrides={"sampling.speed": 8})


def _fingerprint(pixel_rule: PixelRule = 1, *, shard_version: ShardVersion = 1, **changes: object) -> str:
    job = make_job({**yaml.safe_load(MINIMAL), **changes}, origin="x")
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
        _fingerprint(1, tokenizer={"plugin": "toy"}),
        _fingerprint(1, tokenizer={"plugin": "toy", "options": {"seed": 1}}),
    }
    assert len(others) == 4
    assert before not in others
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


def test_specs_cannot_be_changed_after_checking():
    with pytest.raises(ValueError, match="frozen"):
        LimitsSpec().max_pixels = 3  # type: ignore[misc]
