"""Tokens of frames at a size that the tokenizer was not made for: only when asked, and decodable for ever."""

import pytest
from PIL import Image

from bitmill.pipeline.reading import TokenDataset
from tests.support.commands import bitmill
from tests.support.media import real_pictures

pytestmark = pytest.mark.ray


def test_a_job_of_another_size_keeps_the_tokenizer_that_made_its_tokens(tokenize, tmp_path):
    for number, picture in enumerate(real_pictures(2, 120, 100)):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "in" / f"{number}.png")
    words = ["tokenize", str(tmp_path / "in"), str(tmp_path / "out"), "--tokenizer", "tiny"]
    words += ["--set", "frames.size_px=64"]
    refused = bitmill(*words)
    assert refused.code == 2
    assert "frames.interpolate_positions" in refused.err
    done = tokenize(*words[1:], "--set", "frames.interpolate_positions=true")
    assert done.code == 0, done.err
    dataset = TokenDataset(str(tmp_path / "out"), view="bits")
    assert dataset[0]["tokens"].shape == (1, 8, 8, 18)
    assert dataset.card.tokenizer.image_size_px == 64
    shown = bitmill("preview", str(tmp_path / "out"), "--out", str(tmp_path / "sheet.png"))
    assert shown.code == 0, shown.err
    resized = bitmill("weights", "resize", "tiny", str(tmp_path / "tiny64"), "--size", "64")
    assert dataset.card.tokenizer_fingerprint in resized.out
