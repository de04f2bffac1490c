"""Where a job's tokenizer comes from, and what is stored beside its weights."""

import json
from pathlib import Path

import pytest

from bitmill.bsq_model import save_tokenizer
from bitmill.bsq_model.resolution import interpolating
from bitmill.jobs.preparation.models.job_tokenizer import job_tokenizer
from bitmill.jobs.preparation.prepare import prepare
from bitmill.schemas.errors import FormatError, UsageError
from bitmill.schemas.models.tokenizer_origin import ORIGIN_FILE, TokenizerOrigin
from tests.bsq_model.small import random_tokenizer
from tests.support.fakes import make_job

ORIGIN = TokenizerOrigin(origin="made by us", licence="CC0-1.0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tokenizer(random_tokenizer(), tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def _origin(**tokenizer: object) -> dict[str, object] | None:
    files = job_tokenizer(make_job(tokenizer=tokenizer)).files
    return json.loads(files[ORIGIN_FILE]) if ORIGIN_FILE in files else None


def test_the_origin_of_weights_and_their_licence_are_known_where_they_can_be(folder):
    bundled, random = _origin(bundled="small-1"), _origin(preset="tiny", seed=3)
    assert bundled is not None
    assert bundled["licence"] == "Apache-2.0"
    assert random == {
        "format_version": 1,
        "origin": "random weights of preset tiny, seed 3",
        "licence": None,
    }
    assert _origin(path=str(folder)) is None


def test_a_dataset_keeps_the_origin_of_its_tokenizer(folder, tmp_path):
    (folder / ORIGIN_FILE).write_bytes(ORIGIN.to_json())
    media = tmp_path / "media"
    media.mkdir()
    (media / "a.mp4").write_bytes(b"x")
    job = make_job(
        source={"paths": [str(media)]}, output=str(tmp_path / "tokens"), tokenizer={"path": str(folder)}
    )
    prepare(job, cluster_has_gpus=lambda: False)
    stored = tmp_path / "tokens" / "tokenizer"
    assert {path.name: path.read_bytes() for path in stored.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }
    # Resized, it is another tokenizer of the same origin.
    larger = make_job(tokenizer={"path": str(folder)}, frames={"size_px": 16, "interpolate_positions": True})
    assert job_tokenizer(larger).files[ORIGIN_FILE] == ORIGIN.to_json()


@pytest.mark.parametrize(
    "frames",
    [{"buckets": [[16, 32], [24, 24]]}, {"native": {"short_side_px": 32}}],
    ids=["buckets", "native"],
)
def test_jobs_of_several_sizes_keep_the_tokenizer_and_interpolate_its_positions(folder, frames):
    (folder / ORIGIN_FILE).write_bytes(ORIGIN.to_json())
    spec = {"tokenizer": {"path": str(folder)}}
    with pytest.raises(
        UsageError, match=r"made for frames of 24×24 pixels; for others set frames\.interpolate"
    ):
        job_tokenizer(make_job(**spec, frames=frames))
    loaded = job_tokenizer(make_job(**spec, frames=frames | {"interpolate_positions": True}))
    assert loaded.fingerprint == interpolating(random_tokenizer()).fingerprint
    assert loaded.geometry.size_px is None
    for name in (ORIGIN_FILE, "model.safetensors"):
        assert loaded.files[name] == (folder / name).read_bytes()


def test_an_interpolating_tokenizer_takes_squares_too(tmp_path):
    save_tokenizer(interpolating(random_tokenizer()), tmp_path)
    spec = {"tokenizer": {"path": str(tmp_path)}}
    assert job_tokenizer(make_job(**spec, frames={"size_px": 40})).geometry.size_px is None
    with pytest.raises(UsageError, match=r"frames\.size_px 20 is not divisible by 8"):
        job_tokenizer(make_job(**spec, frames={"size_px": 20}))
    with pytest.raises(UsageError, match=r"takes frames of any size: set frames\.size_px"):
        job_tokenizer(make_job(**spec))


@pytest.mark.parametrize("text", ["{", "{}", '{"format_version": 2, "origin": "x"}'])
def test_an_origin_that_is_none_is_named(folder, text):
    (folder / ORIGIN_FILE).write_text(text)
    with pytest.raises(FormatError, match=r"tokenizer/origin\.json"):
        _origin(path=str(folder))


def test_the_nearest_lengths_are_told(folder):
    with pytest.raises(UsageError, match=r"sampling\.clip_frames 9 is no length .*; the nearest is 5\."):
        job_tokenizer(make_job(tokenizer={"path": str(folder)}, sampling={"clip_frames": 9}))
