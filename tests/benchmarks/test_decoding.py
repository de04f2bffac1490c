"""The benchmark of decoders: everybody gives the frames that bitmill's rule of sampling asks for."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from benchmarks.decoding import CONTENDERS, SIZE_PX, bitmill, look
from tests.support.commands import run_module
from tests.support.media import real_pictures, write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of 25 frames, in the order of decoding that B-frames make."""
    pictures = real_pictures(25, 400, 300)
    return write_video(tmp_path_factory.mktemp("video") / "a.mp4", pictures, options={"preset": "veryfast"})


@pytest.mark.slow
@pytest.mark.parametrize("fps", [None, 2.0, 7.0])
def test_peers_take_the_same_frames(fps, video):
    clip = look(video, fps)
    expected = bitmill(clip)
    assert len(clip.indices) == len(expected)
    assert clip.aspect == Fraction(1)
    assert np.array_equal(CONTENDERS["PyAV, planes"](clip), expected)
    by_rule_1 = CONTENDERS["bitmill, pixel rule 1"](clip)
    for name in ("PyAV, Lanczos", "decord, Lanczos"):
        assert np.array_equal(CONTENDERS[name](clip), by_rule_1), name
    # Other arithmetic gives other pixels, of the same pictures.
    for other in (by_rule_1, CONTENDERS["PyAV, own"](clip)):
        assert other.shape == expected.shape == (len(expected), SIZE_PX, SIZE_PX, 3)
        assert 0 < np.abs(other.astype(int) - expected).mean() < 5


@pytest.mark.slow
def test_the_command_tells_rates_of_all_that_can_be_loaded(tmp_path, video):
    words = ("--rounds", "1", "--json", str(tmp_path / "told.json"))
    done = run_module("benchmarks.decoding", *words, "--clips", str(video))
    assert done.code == 0, done.err
    told = json.loads((tmp_path / "told.json").read_text())
    assert [one["wanted"] for one in told["clips"]] == [25, 2]
    for one in told["clips"]:
        assert set(one["frames_per_cpu_s"]) | set(told["left_out"]) == set(CONTENDERS)
        assert all(rate["median"] > 0 for rate in one["frames_per_cpu_s"].values())
        assert all(took["median"] > 0 for took in one["pixel_cpu_ms"].values())
    assert "| bitmill |" in done.out
