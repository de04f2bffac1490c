"""The tokenizers that come with the package: whole, small, and what their cards say."""

import re
from importlib import resources
from pathlib import Path

import pytest
import torch

from bitmill.bsq_model.bundled import BUNDLED, bundled_tokenizer
from bitmill.bsq_model.families import native_files
from bitmill.bsq_model.layers.patches import pixels_from_uint8
from bitmill.bsq_model.metrics.reconstruction_quality import psnr_db
from bitmill.bsq_model.trainable.trainable_tokenizer import TrainableTokenizer
from bitmill.pipeline.load_tokenizer import load_tokenizer
from tests.support.media import real_pictures

_REPOSITORY = Path(__file__).resolve().parents[3]
_LOGS = {"small": ["causal-conv", "causal-conv-motion"], "small-1": ["image", "video"]}

every = pytest.mark.parametrize("name", BUNDLED)


@pytest.mark.parametrize(("name", "most_mb"), [("small", 16), ("small-1", 10)])
def test_it_is_not_too_large_and_its_authors_stand_beside_it(name, most_mb):
    folder = resources.files("bitmill.bsq_model.bundled") / name
    sizes = [len((folder / file).read_bytes()) for file in ("config.json", "model.safetensors")]
    assert sum(sizes) < most_mb * 1_000_000
    assert "CC0" in (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")


@every
def test_its_files_and_fingerprint_are_those_of_the_loaded_one(name):
    loaded, bundled = load_tokenizer(name), bundled_tokenizer(name)
    assert isinstance(loaded, TrainableTokenizer)
    assert bundled.files == native_files(loaded)
    assert (bundled.config, bundled.fingerprint) == (loaded.config, loaded.fingerprint)


def _card(name: str) -> str:
    return (_REPOSITORY / "docs" / f"{name}.md").read_text(encoding="utf-8")


@every
def test_its_card_names_these_weights(name):
    tokenizer = load_tokenizer(name)
    assert isinstance(tokenizer, TrainableTokenizer)
    assert tokenizer.fingerprint in _card(name)
    assert f"{sum(p.numel() for p in tokenizer.parameters()):,}" in _card(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size_px"), [("small", (128, 128)), ("small", (96, 160)), ("small-1", (128, 128))]
)
def test_a_clip_that_it_never_saw_is_recognisable_in_every_frame(name, size_px):
    tokenizer = load_tokenizer(name)
    frames = real_pictures(tokenizer.geometry.usual_frames, *size_px)
    clip = torch.stack([torch.from_numpy(p.copy()) for p in frames])
    (decoded,) = tokenizer.decode(tokenizer.encode([clip]))
    shown, given = (pixels_from_uint8(part, torch.float32)[:, None] for part in (decoded, clip))
    # A flat picture of the mean colour has about 12 dB here.
    assert psnr_db(shown, given).min() > 19


@every
def test_the_logs_of_its_training_stand_beside_the_recipe(name):
    for stage in _LOGS[name]:
        assert re.search(rf"log/{stage}\.jsonl", _card(name))
        log = _REPOSITORY / "examples" / "small_tokenizer" / "log" / f"{stage}.jsonl"
        assert len(log.read_text(encoding="utf-8").splitlines()) > 20
