"""Every variant of the tokenizer learns in the training step, and its options change no value."""

import copy

import pytest
import torch

from bitmill.bsq_model.training.initial_weights import start_tokenizer
from bitmill.bsq_model.training.training_step import TrainingStep
from bitmill.schemas.errors import UsageError
from bitmill.schemas.requests.training import TrainSpec
from tests.support.media import real_pictures

_SIZES = {"width": 16, "layers": 1, "heads": 1}
_MODEL = {
    "image_size_px": 32,
    "bits_per_token": 6,
    "num_frames": 2,
    "encoder": _SIZES,
    "decoder": _SIZES,
    "decoder_ffn_width": 32,
}


def _spec(model: dict, **changes) -> TrainSpec:
    document = {
        "version": 1,
        "source": {"paths": "photos"},
        "output": "run",
        "model": _MODEL | model,
        "steps": 20,
        "global_batch": 4,
        "loss": {"lpips": 0, "gan": {"weight": 0}, "commitment": 0.25, "entropy": {"weight": 0.01}},
        "optimizer": {"learning_rate": 3e-3, "warmup_steps": 3},
    }
    return TrainSpec.model_validate(document | changes)


def _training(spec: TrainSpec) -> TrainingStep:
    torch.set_num_threads(1)
    tokenizer = start_tokenizer(spec.model, seed=0, start=None)
    return TrainingStep(spec, tokenizer, copy.deepcopy(tokenizer), device=torch.device("cpu"))


def _run(training: TrainingStep, steps: int) -> list[dict[str, torch.Tensor]]:
    pictures = torch.stack([torch.from_numpy(picture) for picture in real_pictures(16, 32, 32)])
    return [training.run(pictures[(step % 2) * 8 :][:8].unflatten(0, (4, 2)), step) for step in range(steps)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        {"quantizer": "lfq"},
        {"quantizer": "vq"},
        {"backbone": "cnn"},
        {"attention": "full"},
        {"output": "logit-laplace"},
        {"quantizer": "vq", "backbone": "cnn", "output": "logit-laplace"},
    ],
    ids=lambda model: "-".join(model.values()),
)
def test_a_variant_learns(model):
    training = _training(_spec(model))
    before = {name: value.clone() for name, value in training.tokenizer.state_dict().items()}
    measured = _run(training, 20)
    assert measured[-1]["psnr_db"] > measured[0]["psnr_db"] + 1
    assert ("logit_laplace" in measured[0]) == ("l1" not in measured[0]) == ("output" in model)
    assert measured[0]["share_of_ones"].shape == (6,)
    after = training.tokenizer.state_dict()
    assert not [name for name in before if torch.equal(before[name], after[name])]


@pytest.mark.parametrize("backbone", ["vit", "cnn"])
def test_recomputing_blocks_changes_no_value(backbone):
    plain, again = (
        _training(_spec({"backbone": backbone}, compute={"checkpoint_blocks": on})) for on in (False, True)
    )
    for ours, theirs in zip(_run(again, 3), _run(plain, 3), strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert again.tokenizer.encoder.checkpoint_blocks


def test_recomputing_blocks_keeps_less(monkeypatch):
    kept = {}
    for on in (False, True):
        training = _training(_spec({}, compute={"checkpoint_blocks": on}))
        sizes: list[int] = []

        def keep(tensor: torch.Tensor, into: list[int] = sizes) -> torch.Tensor:
            into.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            training.tokenizer.encoder(torch.zeros(1, 2, 4, 4, 192))
        kept[on] = sum(sizes)
    assert kept[True] < 0.7 * kept[False]


def test_compiling_without_cuda_is_refused():
    with pytest.raises(UsageError, match="compile needs a CUDA device"):
        _training(_spec({}, compute={"compile": True}))


def test_a_codebook_without_its_loss_is_refused():
    with pytest.raises(ValueError, match=r"vq learns its codebook by loss\.commitment"):
        _spec({"quantizer": "vq"}, loss={"commitment": 0})
