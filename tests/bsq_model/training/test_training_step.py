"""The training step on real pictures: it learns, and its state is whole in a checkpoint."""

import copy
from pathlib import Path

import pytest
import torch

from bitmill.bsq_model.resolution import interpolating
from bitmill.bsq_model.training.initial_weights import start_tokenizer
from bitmill.bsq_model.training.training_checkpoint import find_checkpoints, load_checkpoint, save_checkpoint
from bitmill.bsq_model.training.training_step import TrainingStep
from bitmill.schemas.errors import FormatError, UsageError
from bitmill.schemas.requests.training import TrainSpec
from tests.support.media import real_pictures

_MODEL = {
    "image_size_px": 32,
    "bits_per_token": 8,
    "num_frames": 1,
    "encoder": {"width": 32, "layers": 1, "heads": 2},
    "decoder": {"width": 32, "layers": 1, "heads": 2},
    "decoder_ffn_width": 64,
}


def _spec(**changes) -> TrainSpec:
    document = {
        "version": 1,
        "source": {"paths": "photos"},
        "output": "run",
        "model": _MODEL,
        "steps": 40,
        "global_batch": 4,
        "loss": {"lpips": 0, "gan": {"weight": 0}, "entropy": {"ramp_steps": 10}},
        "optimizer": {"learning_rate": 3e-3, "warmup_steps": 5, "final_share": 0.1},
    }
    return TrainSpec.model_validate({**document, **changes})


def _training(spec: TrainSpec) -> TrainingStep:
    torch.set_num_threads(1)
    tokenizer = start_tokenizer(spec.model, seed=spec.seed, start=None)
    return TrainingStep(spec, tokenizer, copy.deepcopy(tokenizer), device=torch.device("cpu"))


def _batch(step: int, size: int = 4) -> torch.Tensor:
    pictures = real_pictures(16, 32, 32)
    return torch.stack([torch.from_numpy(pictures[(step * size + i) % 16])[None] for i in range(size)])


def _steps(training: TrainingStep, steps: range) -> list[dict[str, torch.Tensor]]:
    return [training.run(_batch(step), step) for step in steps]


_GAN = {"weight": 0.1, "start_step": 2, "base_channels": 4, "max_channels": 8, "r1_every": 4}


def test_it_learns_real_pictures():
    measured = _steps(_training(_spec()), range(40))
    assert measured[-1]["loss"] < measured[0]["loss"] - 0.1
    assert measured[-1]["psnr_db"] > measured[0]["psnr_db"] + 3


@pytest.mark.parametrize(
    ("gan", "optimizer"), [({"weight": 0}, "adamw"), (_GAN, "adamw"), ({"weight": 0}, "muon")]
)
def test_a_run_taken_up_from_a_checkpoint_is_the_same_in_every_bit(tmp_path, gan, optimizer):
    spec = _spec(loss={"lpips": 0, "gan": gan}, optimizer={"name": optimizer, "learning_rate": 1e-3})
    whole = _training(spec)
    _steps(whole, range(5))
    path = save_checkpoint(whole, 5, "run", tmp_path)
    expected = _steps(whole, range(5, 10))

    resumed = _training(spec)
    assert load_checkpoint(resumed, path, {"run"}) == 5
    found = _steps(resumed, range(5, 10))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    ends = [
        save_checkpoint(training, 10, "run", tmp_path / str(i)) for i, training in enumerate((whole, resumed))
    ]
    assert ends[0].read_bytes() == ends[1].read_bytes()


def test_the_average_follows_the_weights_and_starts_with_them():
    training = _training(_spec(optimizer={"learning_rate": 3e-3, "warmup_steps": 0, "ema": 0.5}))
    _steps(training, range(1))
    moving, last = training.average.tokenizer, training.tokenizer
    # After one step the decay is (1 + 1)/(10 + 1), so that nine elevenths of the step are in the average.
    start = start_tokenizer(_spec().model, seed=0, start=None)
    for name, value in moving.state_dict().items():
        expected = torch.lerp(start.state_dict()[name], last.state_dict()[name], 9 / 11)
        assert torch.allclose(value, expected, atol=1e-6), name


def test_pieces_of_a_batch_give_the_gradients_of_the_whole():
    loss = {"lpips": 0, "gan": {"weight": 0}, "entropy": {"weight": 0}}
    whole, cut = _training(_spec(loss=loss)), _training(_spec(loss=loss, compute={"accumulate": 2}))
    expected, found = _steps(whole, range(3)), _steps(cut, range(3))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"].item(), rel=1e-5)
        assert ours["gradient_norm"] == pytest.approx(theirs["gradient_norm"].item(), rel=1e-4)


def test_a_loss_that_is_not_finite_stops_before_the_weights_change():
    training = _training(_spec())
    with torch.no_grad():
        training.tokenizer.encoder.spatial_positions[0, 0] = float("inf")
    before = {name: value.clone() for name, value in training.tokenizer.state_dict().items()}
    with pytest.raises(UsageError, match="no longer finite at step 0"):
        _steps(training, range(1))
    after = training.tokenizer.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_damaged_or_foreign_checkpoint_says_so(tmp_path):
    training = _training(_spec())
    _steps(training, range(1))
    path = save_checkpoint(training, 1, "run", tmp_path)
    assert find_checkpoints(tmp_path) == [path]
    with pytest.raises(FormatError, match="belongs to another run"):
        load_checkpoint(_training(_spec()), path, {"another"})
    other = _training(_spec(model={**_MODEL, "bits_per_token": 4}))
    with pytest.raises(FormatError, match="does not fit the model"):
        load_checkpoint(other, path, {"run"})
    Path(path).write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError, match="cannot be read"):
        load_checkpoint(_training(_spec()), path, {"run"})


def test_video_starts_from_an_image_tokenizer_with_the_same_first_frame():
    spec = _spec()
    image = start_tokenizer(spec.model, seed=3, start=None)
    video = start_tokenizer(spec.model.model_copy(update={"num_frames": 4}), seed=0, start=image)
    clip = torch.from_numpy(real_pictures(16, 32, 32)[0])[None]
    assert torch.equal(video.encode([clip])[0], image.encode([clip])[0])
    assert video.encoder.temporal_positions is not None
    assert not video.encoder.temporal_positions.any()


def test_training_starts_from_an_interpolating_tokenizer_as_from_the_original():
    spec = _spec()
    image = start_tokenizer(spec.model, seed=3, start=None)
    for size_px in (spec.model.image_size_px, 2 * spec.model.image_size_px):
        model = spec.model.model_copy(update={"image_size_px": size_px})
        begun = start_tokenizer(model, seed=0, start=interpolating(image))
        assert begun.fingerprint == start_tokenizer(model, seed=0, start=image).fingerprint


def test_a_start_of_another_model_is_refused_by_its_fields():
    spec = _spec()
    other = start_tokenizer(spec.model.model_copy(update={"bits_per_token": 4}), seed=0, start=None)
    with pytest.raises(UsageError, match="bits_per_token is 4 there and 8 here"):
        start_tokenizer(spec.model, seed=0, start=other)
