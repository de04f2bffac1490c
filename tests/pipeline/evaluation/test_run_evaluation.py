"""Codecs at the tokens' bits, and what a failing decoder costs an evaluation."""

import io

import numpy as np
import pytest
from PIL import Image

from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.evaluation.codecs import CODECS, code_at
from bitmill.pipeline.evaluation.comparison_sheet import error_map
from bitmill.pipeline.evaluation.run_evaluation import evaluate
from bitmill.pipeline.evaluation.running_scores import MetricNetworks
from bitmill.pipeline.isolation.decode_process import isolated_sources
from bitmill.pipeline.isolation.source_events import DecodeSettings
from bitmill.pipeline.items import DecodedClip, ItemEnd
from bitmill.pipeline.sources.listing import find_sources
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.reports.evaluation_report import QualityRow
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec, SourceSpec
from tests.bsq_model.small import random_tokenizer
from tests.support.media import real_pictures, write_video

pytestmark = pytest.mark.usefixtures("forked_children")


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("budget", [600, 1500])
def test_a_codec_comes_near_its_budget_and_not_above(codec, budget):
    picture = real_pictures(1, 128, 128)[0]
    coded = code_at(codec, picture, budget)
    assert 0.8 * budget < coded.num_bytes <= budget
    assert np.abs(coded.picture.astype(int) - picture).mean() < 30


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_a_budget_that_nothing_fits_gives_the_least_file_and_its_true_size(codec):
    coded = code_at(codec, real_pictures(1, 128, 128)[0], 1)
    assert coded.num_bytes > 1


def test_more_bytes_make_a_better_picture():
    picture = real_pictures(1, 128, 128)[0]
    for codec in CODECS:
        errors = [
            np.square(code_at(codec, picture, n).picture.astype(int) - picture).mean() for n in (500, 4000)
        ]
        assert errors[1] < errors[0], codec.name


def test_the_error_map_shows_the_largest_channel_brightened():
    original = np.zeros((1, 2, 3), np.uint8)
    made = np.array([[[10, 0, 5], [0, 200, 0]]], np.uint8)
    assert error_map(original, made)[..., 0].tolist() == [[40, 255]]


@pytest.mark.slow
def test_codecs_are_compared_with_the_pictures_that_they_coded(tmp_path):
    for number, picture in enumerate(real_pictures(3, 64, 48)):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    write_video(tmp_path / "dark.mp4", np.zeros((8, 48, 64, 3), np.uint8))
    found: list[list[QualityRow]] = []
    for pattern in ("*", "*.png"):
        measured = evaluate(
            random_tokenizer(),
            find_sources(SourceSpec(paths=[str(tmp_path / pattern)])).sources,
            DecodeSettings(
                sampling=SamplingSpec(clip_frames=4), limits=LimitsSpec(), sizes=squares(24), pixel_rule=2
            ),
            MetricNetworks(frame_features={"fid": lambda frames: frames.mean((1, 2))}),
            name="BSQ-ViT",
            with_codecs=True,
            num_shown=0,
            on_progress=lambda done: None,
        )
        found.append(measured.rows)
    mixed, pictures = found
    # Beside the codecs stands what the tokenizer makes of the same pictures.
    assert mixed[1] == pictures[0].model_copy(update={"name": "BSQ-ViT, pictures"})
    assert mixed[2:] == pictures[1:]
    assert mixed[0].fid != pictures[0].fid
    assert [row.clips for row in mixed] == [5, 3, 3, 3, 3]


def test_one_child_decodes_many_sources_and_each_has_its_end(tmp_path):
    for number, picture in enumerate(real_pictures(3, 64, 48)):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="PNG")
        (tmp_path / f"{number}.png").write_bytes(buffer.getvalue())
    (tmp_path / "1b.png").write_bytes(b"\x89PNG no picture")
    sources = find_sources(SourceSpec(paths=[str(tmp_path)])).sources
    settings = DecodeSettings(sampling=SamplingSpec(), limits=LimitsSpec(), sizes=squares(32), pixel_rule=2)
    clips: dict[str, int] = {}
    ends: dict[str, Reason | None] = {}
    for source, event in isolated_sources(sources, settings):
        name = source.uri.rsplit("/", 1)[-1]
        if isinstance(event, DecodedClip):
            clips[name] = clips.get(name, 0) + 1
        else:
            assert isinstance(event, ItemEnd)
            ends[name] = event.reason
    assert clips == {"0.png": 1, "1.png": 1, "2.png": 1}
    assert list(ends) == ["0.png", "1.png", "1b.png", "2.png"]
    assert [name for name, reason in ends.items() if reason is not None] == ["1b.png"]
