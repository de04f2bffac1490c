"""The tokenizer that comes with the package: whole, small, and what its card says."""

import re
from importlib import resources
from pathlib import Path

import pytest
import torch

from bitmill.bsq_model import tokenizer_files, tokenizer_from_files
from bitmill.bsq_model.bundled import BUNDLED, bundled_files, bundled_tokenizer
from bitmill.bsq_model.layers.patches import pixels_from_uint8
from bitmill.bsq_model.metrics.reconstruction_quality import psnr_db
from tests.support.media import real_pictures

_CARD = Path(__file__).resolve().parents[3] / "docs" / "small.md"


@pytest.mark.parametrize("name", BUNDLED)
def test_it_is_at_most_ten_megabytes_and_its_authors_stand_beside_it(name):
    folder = resources.files("bitmill.bsq_model.bundled") / name
    sizes = [len((folder / file).read_bytes()) for file in ("config.json", "model.safetensors")]
    assert sum(sizes) < 10_000_000
    assert "CC0" in (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", BUNDLED)
def test_its_files_and_fingerprint_are_those_of_the_loaded_one(name):
    loaded, bundled = tokenizer_from_files(*bundled_files(name)), bundled_tokenizer(name)
    assert bundled.files == tokenizer_files(loaded)
    assert (bundled.config, bundled.fingerprint) == (loaded.config, loaded.fingerprint)


def test_its_card_names_these_weights():
    tokenizer = tokenizer_from_files(*bundled_files("small"))
    assert tokenizer.fingerprint in _CARD.read_text(encoding="utf-8")
    parameters = sum(p.numel() for p in tokenizer.parameters())
    assert f"{parameters:,}" in _CARD.read_text(encoding="utf-8")


def test_a_clip_that_it_never_saw_is_recognisable_in_every_frame():
    tokenizer = tokenizer_from_files(*bundled_files("small"))
    side = tokenizer.config.image_size_px
    clip = torch.stack([torch.from_numpy(p.copy()) for p in real_pictures(16, side, side)])
    pixels = tokenizer.decode_pixels(tokenizer.encode([clip]))[0]
    scores = psnr_db(pixels[:, None], pixels_from_uint8(clip, torch.float32)[:, None])
    # A flat picture of the mean colour has about 12 dB here.
    assert scores.min() > 19


def test_the_log_of_both_stages_stands_beside_the_recipe():
    card = _CARD.read_text(encoding="utf-8")
    for stage in ("image", "video"):
        assert re.search(rf"log/{stage}\.jsonl", card)
        log = Path(__file__).resolve().parents[3] / "examples" / "small_tokenizer" / "log" / f"{stage}.jsonl"
        assert len(log.read_text(encoding="utf-8").splitlines()) > 20
