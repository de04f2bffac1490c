"""The job file: its example is whole and true, and each mistake gets one clear line."""

from importlib import resources

import pytest
import yaml

from bitmill.schemas.errors import UsageError
from bitmill.schemas.requests.job import JobSpec, LimitsSpec, load_job

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
        ("tokenizer: {preset: tiny, seed: 18446744073709551616}", r"tokenizer\.seed must be at most 1844"),
        ("sampling: {clip_frames: 4, min_frames: 5}", r"min_frames 5 is more than clip_frames 4"),
        ("compute: {device: tpu}", r"compute\.device must be 'auto', 'cpu' or 'cuda'"),
        ("max_failures: 1.5", r"max_failures"),
        ("source: {paths: [/a], manifest: /b.csv}", r"give either paths or manifest"),
        ("source: {paths: []}", r"paths is empty"),
        ("tokenizer: {}", r"give one of bundled, path, preset and plugin"),
        ("tokenizer: {path: /t, bits_per_token: 9}", r"bits_per_token belongs to a preset"),
        ("tokenizer: {path: /t, options: {seed: 1}}", r"options belong to a plugin"),
        ("tokenizer: {path: /t, plugin: toy}", r"give one of bundled, path, preset and plugin"),
        ("sampling: {seek: true}", r"seek skips frames .* set fps, too"),
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
    [
        ("a: [1", "not valid YAML"),
        ("a: 1\na: 2", r"^job\.yaml is not valid YAML: the key 'a' in line 2 is there twice$"),
        ("- 1", "must be a YAML mapping"),
        ("", "must be a YAML mapping"),
    ],
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


def test_specs_cannot_be_changed_after_checking():
    with pytest.raises(ValueError, match="frozen"):
        LimitsSpec().max_pixels = 3  # type: ignore[misc]
