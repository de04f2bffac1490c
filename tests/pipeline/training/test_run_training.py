"""A tokenizer's run that was stopped measures what one that was not measures."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from bitmill.bsq_model.training.initial_weights import start_tokenizer
from bitmill.pipeline.sources.listing import find_sources
from bitmill.pipeline.training.metrics_log import read_metrics
from bitmill.pipeline.training.run_training import Process, train
from bitmill.schemas.requests.training import TrainSpec
from tests.support.media import real_pictures

_SIZES = {"width": 16, "layers": 1, "heads": 1}
_MODEL = {"image_size_px": 16, "bits_per_token": 6, "num_frames": 1, "encoder": _SIZES, "decoder": _SIZES}
_TIMES = {"data_wait_s", "clips_per_s"}


@pytest.fixture
def photos(tmp_path) -> Path:
    (tmp_path / "photos").mkdir()
    for number, picture in enumerate(real_pictures(6, 40, 30)):
        Image.fromarray(picture).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def _train(photos: Path, output: Path, *, until: int | None = None) -> None:
    torch.set_num_threads(1)
    output.mkdir(exist_ok=True)
    spec = TrainSpec.model_validate(
        {
            "version": 1,
            "source": {"paths": str(photos)},
            "output": str(output),
            "model": _MODEL,
            "steps": 8,
            "global_batch": 2,
            "data": {"workers": 0},
            "loss": {
                "lpips": 0,
                "gan": {"start_step": 2, "base_channels": 4, "max_channels": 8, "r1_every": 3},
            },
            "log_every": 4,
        }
    )
    done = 0

    def on_progress(progress) -> None:
        nonlocal done
        done = progress.steps_done

    ended = train(
        spec,
        find_sources(spec.source).sources,
        start_tokenizer(spec.model, seed=0, start=None),
        Process(),
        perceptual=None,
        on_progress=on_progress,
        stop=lambda: until is not None and done >= until,
    )
    assert ended == (until is None)


def _rows(output: Path) -> list[dict[str, float]]:
    rows = read_metrics(output / "metrics.jsonl")
    return [{name: value for name, value in row.items() if name not in _TIMES} for row in rows]


@pytest.mark.slow
def test_a_stopped_run_measures_what_a_whole_one_does(photos, tmp_path):
    _train(photos, tmp_path / "whole")
    for until in (1, 3, 6, None):
        _train(photos, tmp_path / "stopped", until=until)
    assert _rows(tmp_path / "stopped") == _rows(tmp_path / "whole")
