"""Trains the discriminator and computes the tokenizer's adversarial loss."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bitmill.bsq_model.training.adversarial.adversarial_losses import (
    discriminator_loss,
    generator_loss,
    r1_penalty,
)
from bitmill.bsq_model.training.adversarial.discriminator import ClipDiscriminator, Discriminator
from bitmill.bsq_model.training.data_parallel import average_gradients
from bitmill.bsq_model.training.losses import freeze
from bitmill.bsq_model.training.optimizer import clip_gradients, make_optimizers, step_all
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig
from bitmill.schemas.requests.training import TrainSpec


class Shown(NamedTuple):
    """A micro-batch as the discriminator sees it, detached."""

    originals_BTHWC: Tensor
    reconstructions_BTHWC: Tensor
    weights_BT: Tensor | None
    """Of frames; None if all count alike."""


class Adversary:
    """A discriminator of single frames (BSQ-ViT) or of clips (causal-conv), with its optimizer.

    Its gradients are averaged over processes explicitly, because R1 differentiates through it twice, which
    DistributedDataParallel does not support.
    """

    def __init__(self, spec: TrainSpec, device: torch.device) -> None:
        gan = spec.loss.gan
        self._gan = gan
        self._peak_rate = gan.learning_rate or spec.peak_learning_rate
        # A separate random state gives every process the same initial weights.
        with torch.random.fork_rng():
            torch.manual_seed(spec.seed)
            self.discriminator = _discriminator(spec).to(device)
        self.optimizers = make_optimizers(self.discriminator, spec.optimizer)

    def plays(self, step: int) -> bool:
        """Whether adversarial training has started."""
        return step >= self._gan.start_step

    def generator_loss(self, reconstruction_BTHWC: Tensor, weights_BT: Tensor | None = None) -> Tensor:
        """Return the tokenizer's adversarial loss for its reconstructions; a scalar."""
        freeze(self.discriminator, frozen=True)
        loss = generator_loss(self._logits(reconstruction_BTHWC), _flat(weights_BT))
        freeze(self.discriminator, frozen=False)
        return loss

    def learn(
        self,
        shown: Sequence[Shown],
        step: int,
        rate_share: float,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> dict[str, Tensor]:
        """Take one step on micro-batches, float [B, T, H, W, 3] in [−1, 1].

        Raises UsageError, before changing any weight, if the loss or the gradient norm is not finite.
        """
        losses: list[Tensor] = []
        for originals, reconstructions, weights_BT in shown:
            with autocast():
                real, fake = self._logits(originals), self._logits(reconstructions)
            loss = discriminator_loss(real.float(), fake.float(), _flat(weights_BT))
            (loss / len(shown)).backward()
            losses.append(loss.detach())
        measured = {"discriminator_loss": torch.stack(losses).mean()}
        if step % self._gan.r1_every == 0:
            measured["r1"] = self._regularise(shown)
        average_gradients(list(self.discriminator.parameters()))
        clip_gradients(self.discriminator, None, loss=measured["discriminator_loss"], step=step)
        step_all(self.optimizers, rate_share * self._peak_rate)
        return measured

    def _regularise(self, shown: Sequence[Shown]) -> Tensor:
        """Add R1's gradients, scaled by ``r1_every``; in float32, because it differentiates twice."""
        penalties: list[Tensor] = []
        for originals, _, weights_BT in shown:
            pixels = originals.detach().requires_grad_(True)
            penalty = r1_penalty(self._logits(pixels), pixels, _flat(weights_BT))
            weight = self._gan.r1_weight * self._gan.r1_every / len(shown)
            (weight * penalty).backward()
            penalties.append(penalty.detach())
        return torch.stack(penalties).mean()

    def _logits(self, pixels_BTHWC: Tensor) -> Tensor:
        """Return a logit per frame, [B·T]."""
        if isinstance(self.discriminator, ClipDiscriminator):
            return self.discriminator(pixels_BTHWC).flatten()
        return self.discriminator(pixels_BTHWC.flatten(0, 1))


def _discriminator(spec: TrainSpec) -> nn.Module:
    channels = {"base_channels": spec.loss.gan.base_channels, "max_channels": spec.loss.gan.max_channels}
    if isinstance(spec.model, TokenizerConfig):
        return Discriminator(spec.model.image_size_px, **channels)
    return ClipDiscriminator(**channels)


def _flat(weights_BT: Tensor | None) -> Tensor | None:
    return None if weights_BT is None else weights_BT.flatten()
