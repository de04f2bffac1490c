"""The discriminator's step: what is padding counts for nothing, and what is not finite stops it."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from bitmill.bsq_model.training.adversarial.adversarial_step import Adversary, Shown
from bitmill.schemas.errors import UsageError
from bitmill.schemas.requests.training import TrainSpec

_LEVELS = {"widths": [8, 8], "blocks": [1, 1]}
_SPEC = {
    "version": 1,
    "source": {"paths": "photos"},
    "output": "run",
    "model": {"architecture": "causal-conv", "bits_per_token": 6, "encoder": _LEVELS, "decoder": _LEVELS},
    "steps": 9,
    "global_batch": 2,
    "loss": {"gan": {"base_channels": 4, "max_channels": 8}},
}


class _Energy(nn.Module):
    """A discriminator of single frames, so that no frame sees the padding beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, pixels_BHWC: Tensor) -> Tensor:
        return self.scale * pixels_BHWC.square().flatten(1).sum(1)


def _adversary() -> Adversary:
    return Adversary(TrainSpec.model_validate(_SPEC), torch.device("cpu"))


def test_r1_counts_no_padding():
    weights_BT = torch.tensor([[1.0, 1.0], [2.0, 0.0]])
    originals = torch.rand(2, 2, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    found: list[Tensor] = []
    for padding in (0.0, 1.0):
        originals[1, 1] = padding
        adversary = _adversary()
        adversary.discriminator = _Energy()
        shown = Shown(originals, torch.zeros_like(originals), weights_BT)
        found.append(adversary.learn([shown], 0, 1.0, nullcontext)["r1"])
    assert found[0] == found[1] > 0


def test_what_is_not_finite_stops_before_the_discriminator_changes():
    adversary, pixels = _adversary(), torch.full((2, 1, 16, 16, 3), float("inf"))
    before = {name: value.clone() for name, value in adversary.discriminator.state_dict().items()}
    with pytest.raises(UsageError, match="no longer finite at step 1"):
        adversary.learn([Shown(pixels, pixels, None)], 1, 1.0, nullcontext)
    after = adversary.discriminator.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
