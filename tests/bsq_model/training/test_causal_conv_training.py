"""The training step on causal-conv: images and clips in one run, padding, a frozen encoder, resuming."""

import copy

import pytest
import torch

from bitmill.bsq_model.trainable.trainable_tokenizer import TrainableTokenizer
from bitmill.bsq_model.training.initial_weights import start_tokenizer
from bitmill.bsq_model.training.training_checkpoint import load_checkpoint, save_checkpoint
from bitmill.bsq_model.training.training_step import TrainingStep
from bitmill.schemas.errors import UsageError
from bitmill.schemas.requests.training import TrainSpec
from tests.support import forked
from tests.support.media import real_pictures
from tests.support.parallel_training import train_rank, trained_measurements

_MODEL = {
    "architecture": "causal-conv",
    "frames_per_token": 2,
    "bits_per_token": 6,
    "encoder": {"widths": [12, 16], "blocks": [1, 1]},
    "decoder": {"widths": [12, 16], "blocks": [1, 1]},
    "frame_width": 8,
}
_GAN = {"weight": 0.1, "base_channels": 4, "max_channels": 8, "r1_every": 2}


def _document(model: dict | None = None, **changes) -> dict:
    document = {
        "version": 1,
        "source": {"paths": "photos"},
        "output": "run",
        "model": _MODEL | (model or {}),
        "steps": 20,
        "global_batch": 4,
        "data": {"clip_frames": 5},
        "loss": {"lpips": 0, "gan": {"weight": 0}, "commitment": 0.25, "entropy": {"weight": 0.01}},
        "optimizer": {"name": "muon", "learning_rate": 5e-3, "warmup_steps": 3},
    }
    return document | changes


def _spec(model: dict | None = None, **changes) -> TrainSpec:
    return TrainSpec.model_validate(_document(model, **changes))


def _training(spec: TrainSpec, start: TrainableTokenizer | None = None) -> TrainingStep:
    torch.set_num_threads(1)
    tokenizer = start_tokenizer(spec.model, seed=0, start=start)
    return TrainingStep(spec, tokenizer, copy.deepcopy(tokenizer), device=torch.device("cpu"))


def _clips() -> torch.Tensor:
    """Four clips of five frames of 16×32 pixels."""
    pictures = torch.stack([torch.from_numpy(picture) for picture in real_pictures(20, 32, 16)])
    return pictures.unflatten(0, (4, 5))


def _run(training: TrainingStep, steps: range) -> list[dict[str, torch.Tensor]]:
    """Every second batch is of images."""
    clips = _clips()
    return [training.run(clips if step % 2 else clips[:, step % 5, None], step) for step in steps]


def _weights(training: TrainingStep) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in training.tokenizer.state_dict().items()}


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ({}, {"compute": {"precision": "bfloat16"}}),
        ({"quantizer": "lfq"}, {"compute": {"checkpoint_blocks": True}}),
        ({"quantizer": "vq", "time": "both"}, {}),
        (
            {"quantizer": "fsq", "bits_per_token": None, "levels": [5, 4, 3]},
            {"optimizer": {"learning_rate": 3e-3}},
        ),
    ],
    ids=["bsq", "lfq", "vq", "fsq"],
)
def test_images_and_clips_are_learned_in_one_run(model, changes):
    training = _training(_spec(model, **changes))
    before = _weights(training)
    measured = _run(training, range(14))
    for kind in (0, 1):
        assert measured[12 + kind]["psnr_db"] > measured[kind]["psnr_db"] + 1
    after = _weights(training)
    assert not [name for name in before if torch.equal(before[name], after[name])]
    shares = measured[0].get("share_of_ones", measured[0].get("share_of_values"))
    assert shares is not None
    assert len(shares) == (12 if "levels" in model else 6)


def test_a_run_with_a_discriminator_of_clips_is_taken_up_in_every_bit(tmp_path):
    spec = _spec(loss={"lpips": 0, "gan": _GAN})
    whole = _training(spec)
    _run(whole, range(3))
    path = save_checkpoint(whole, 3, "run", tmp_path)
    expected = _run(whole, range(3, 6))
    resumed = _training(spec)
    assert load_checkpoint(resumed, path, {"run"}) == 3
    for ours, theirs in zip(_run(resumed, range(3, 6)), expected, strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert {"r1", "discriminator_loss", "gan"} <= set(expected[1])
    ours, theirs = _weights(resumed), _weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_padding_counts_in_no_loss():
    lengths, found = torch.tensor([5, 3, 1, 3]), []
    for noise in (False, True):
        training, clips = _training(_spec()), _clips()
        for clip, length in zip(clips, lengths, strict=True):
            clip[length:] = 255 - clip[length:] if noise else clip[length - 1]
        found.append((training.run(clips, 1, lengths), _weights(training)))
    (ours, our_weights), (theirs, their_weights) = found
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert all(torch.equal(our_weights[name], their_weights[name]) for name in our_weights)


def test_a_padded_clip_counts_by_its_own_frames():
    # One clip of five frames and three of one are eight frames, which count alike.
    training = _training(_spec())
    clips, lengths = _clips(), torch.tensor([5, 1, 1, 1])
    with torch.no_grad():
        output = training.tokenizer(clips / 127.5 - 1)
    errors_BT = (output.reconstruction_BTHWC - (clips / 127.5 - 1)).abs().flatten(2).mean(2)
    expected = torch.cat([errors_BT[0], errors_BT[1:, 0]]).mean()
    assert training.run(clips, 0, lengths)["l1"] == pytest.approx(expected.item(), rel=1e-5)


def test_pieces_of_a_padded_batch_give_the_gradients_of_the_whole():
    loss = {"lpips": 0, "gan": {"weight": 0}, "entropy": {"weight": 0}}
    found = []
    for accumulate in (1, 2):
        training = _training(_spec(loss=loss, compute={"accumulate": accumulate}))
        found.append(training.run(_clips(), 0, torch.tensor([5, 3, 1, 3])))
    for name in ("loss", "l1", "gradient_norm"):
        assert found[0][name] == pytest.approx(found[1][name].item(), rel=1e-4)


@pytest.mark.training
def test_two_processes_learn_what_one_learns(tmp_path):
    # Of images, which leave weights without gradients, and of clips that are padded in one process alone.
    # The losses on latents are per process then, and weigh nothing here.
    loss = {"lpips": 0, "gan": {"weight": 0}, "entropy": {"weight": 0}}
    # AdamW, as Muon rounds to bfloat16.
    optimizer = {"learning_rate": 1e-3, "warmup_steps": 0}
    document, clips = _document(loss=loss, optimizer=optimizer), _clips()
    ones, lengths = torch.ones(4, dtype=torch.int64), torch.tensor([5, 5, 1, 3])
    batches = [(clips[:, :1], ones), (clips, lengths), (clips[:, 2:3], ones), (clips, lengths)]
    expected = trained_measurements(document, batches)
    context = forked.context()
    ranks = [
        context.Process(target=train_rank, args=(rank, 2, tmp_path, document, batches)) for rank in (0, 1)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert [rank.exitcode for rank in ranks] == [0, 0]
    ours, theirs = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for one, first, second in zip(expected, ours, theirs, strict=True):
        assert one["gradient_norm"] == pytest.approx(first["gradient_norm"].item(), rel=1e-3)
        assert one["l1"] == pytest.approx((first["l1"] + second["l1"]).item() / 2, rel=1e-3)


@pytest.mark.parametrize("quantizer", ["bsq", "vq"])
def test_with_a_frozen_encoder_tokens_stay_and_the_decoder_learns(quantizer):
    start = start_tokenizer(_spec({"quantizer": quantizer}).model, seed=3, start=None)
    spec = _spec({"quantizer": quantizer}, start_from="there", freeze_encoder=True)
    training = _training(spec, copy.deepcopy(start))
    measured = _run(training, range(10))
    assert measured[8]["psnr_db"] > measured[0]["psnr_db"] + 1
    for tokenizer in (training.tokenizer, training.average.tokenizer):
        clip = _clips()[0]
        assert torch.equal(tokenizer.encode([clip])[0], start.encode([clip])[0])
        changed = [
            name
            for name, weight in tokenizer.state_dict().items()
            if not torch.equal(weight, start.state_dict()[name])
        ]
        assert changed
        assert all(name.startswith("decoder.") for name in changed)


def test_a_start_of_another_model_is_refused_by_its_fields():
    start = start_tokenizer(_spec().model, seed=0, start=None)
    with pytest.raises(UsageError, match="frames_per_token is 2 there and 4 here"):
        _training(_spec({"frames_per_token": 4}), start)
