"""The recipe of the bundled prior and the masked model: its crops, labels and files."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bitmill.schemas.requests.token_training import load_token_train_spec
from examples.token_models.make_crops import CROPS, LABELS, SIDE_PX, choose_crops, cut, label_of
from tests.support.commands import REPOSITORY, run_module

_RECIPE = REPOSITORY / "examples" / "token_models"


@given(name=st.text(max_size=9), width=st.integers(20, 900), height=st.integers(20, 900))
def test_crops_are_squares_inside_the_photograph_and_the_same_again(name, width, height):
    crops = choose_crops(name, width, height, 12)
    assert crops == choose_crops(name, width, height, 12)
    assert len(crops) == 12
    assert crops[0].side == min(width, height)
    for crop in crops:
        assert 0 <= crop.left <= width - crop.side
        assert 0 <= crop.top <= height - crop.side
        assert min(144, width, height) <= crop.side <= min(width, height)


def test_a_crop_is_that_part_of_the_photograph_or_its_mirror():
    photo = Image.effect_noise((200, 150), 90).convert("RGB")
    for crop in choose_crops("a", *photo.size, 24):
        part = photo.crop((crop.left, crop.top, crop.left + crop.side, crop.top + crop.side))
        small = np.asarray(part.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)).astype(int)
        expected = small[:, ::-1] if crop.mirrored else small
        # At its edges the filter sees what lies beyond them in the photograph.
        inside = slice(4, SIDE_PX - 4)
        assert np.abs(np.asarray(cut(photo, crop)) - expected)[inside, inside].max() <= 1


@pytest.mark.parametrize(
    ("name", "label"), [("land-012", "landscape"), ("egypt-3", "building"), ("paintings-1", None)]
)
def test_a_photographs_name_tells_its_kind(name, label):
    assert label_of(name) == label


def test_the_command_keeps_photographs_held_out_apart(tmp_path):
    for split, name in (("train", "fishes-1"), ("held-out", "music-7")):
        folder = tmp_path / "data" / "photos" / split
        folder.mkdir(parents=True)
        Image.effect_noise((180, 160), 50).convert("RGB").save(folder / f"{name}.png")
    done = run_module("examples.token_models.make_crops", str(tmp_path / "data"), str(tmp_path / "out"))
    assert done.code == 0, done.err
    rows = list(csv.DictReader((tmp_path / "out" / "crops.csv").open(encoding="utf-8")))
    labels = {"train": "fish", "held-out": "object"}
    for split, count in CROPS.items():
        ours = [row for row in rows if row["uri"].startswith(f"crops/{split}/")]
        assert len(ours) == count
        assert {row["label"] for row in ours} == {labels[split]}
        assert all(Image.open(tmp_path / "out" / row["uri"]).size == (128, 128) for row in ours)


@pytest.mark.parametrize("file", ["prior.yaml", "small_prior.yaml", "masked_lm.yaml"])
def test_the_recipes_files_are_sound_and_know_the_labels(file):
    spec = load_token_train_spec(Path(_RECIPE / file).read_text(encoding="utf-8"), origin=file)
    assert spec.held_out == ["*/held-out/*"]
    labels = getattr(spec.model, "labels", ())
    assert tuple(labels) in ((), tuple(LABELS))
