"""Tokens of frames at sizes that the tokenizer was not made for: only when asked, and decodable for ever."""

import json

import pytest
from PIL import Image

from bitmill.bsq_model import make_preset, tokenizer_files
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


def test_a_job_of_several_shapes_keeps_the_weights_and_gives_the_same_tokens_again(tokenize, tmp_path):
    (tmp_path / "in").mkdir()
    for number, (width, height) in enumerate([(100, 100), (200, 100), (100, 200)]):
        picture = real_pictures(1, width, height)[0]
        Image.fromarray(picture).save(tmp_path / "in" / f"{number}.png")
    job = {
        "version": 1,
        "source": {"paths": str(tmp_path / "in")},
        "output": str(tmp_path / "out"),
        "tokenizer": {"preset": "tiny"},
        "frames": {"buckets": [[64, 64], [48, 96], [96, 48]], "interpolate_positions": True},
    }
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    done = tokenize(str(tmp_path / "job.yaml"))
    assert done.code == 0, done.err
    dataset = TokenDataset(str(tmp_path / "out"), view="bits")
    shapes = {tuple(sample["tokens"].shape) for sample in dataset}
    assert shapes == {(1, 8, 8, 18), (1, 6, 12, 18), (1, 12, 6, 18)}
    own, stored = tokenizer_files(make_preset("tiny")), tmp_path / "out" / "tokenizer"
    assert (stored / "model.safetensors").read_bytes() == own["model.safetensors"]
    assert json.loads((stored / "config.json").read_text())["positions"] == "interpolate"
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["format_version"] == 4
    audited = bitmill("audit", str(tmp_path / "out"), "--out", str(tmp_path / "audit"), "--sample", "3")
    assert audited.code == 0, audited.err
    sample = json.loads((tmp_path / "audit" / "audit.json").read_text())["sample"]
    assert (sample["compared"], sample["differing_bits"]) == (3, 0)
    shown = bitmill("preview", str(tmp_path / "out"), "--out", str(tmp_path / "sheet.png"))
    assert shown.code == 0, shown.err
