"""Trains the discriminator and computes the tokenizer's adversarial loss."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from bitmill.bsq_model.training.adversarial.adversarial_losses import (
    discriminator_loss,
    generator_loss,
    r1_penalty,
)
from bitmill.bsq_model.training.adversarial.discriminator import Discriminator
from bitmill.bsq_model.training.data_parallel import average_gradients
from bitmill.bsq_model.training.losses import freeze
from bitmill.bsq_model.training.optimizer import make_optimizers, step_all
from bitmill.schemas.requests.training import TrainSpec


class Adversary:
    """A discriminator of single frames, with its optimizer.

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
            self.discriminator = Discriminator(
                spec.model.image_size_px, base_channels=gan.base_channels, max_channels=gan.max_channels
            ).to(device)
        self.optimizers = make_optimizers(self.discriminator, spec.optimizer)

    def plays(self, step: int) -> bool:
        """Whether adversarial training has started."""
        return step >= self._gan.start_step

    def generator_loss(self, reconstruction_BTHWC: Tensor) -> Tensor:
        """Return the tokenizer's adversarial loss for its reconstructions; a scalar."""
        freeze(self.discriminator, frozen=True)
        loss = generator_loss(self.discriminator(reconstruction_BTHWC.flatten(0, 1)))
        freeze(self.discriminator, frozen=False)
        return loss

    def learn(
        self,
        pairs: Sequence[tuple[Tensor, Tensor]],
        step: int,
        rate_share: float,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> dict[str, Tensor]:
        """Take one step on micro-batches of (originals, reconstructions), float [B, T, H, W, 3], detached."""
        losses: list[Tensor] = []
        for originals, reconstructions in pairs:
            with autocast():
                real = self.discriminator(originals.flatten(0, 1))
                fake = self.discriminator(reconstructions.flatten(0, 1))
            loss = discriminator_loss(real.float(), fake.float())
            (loss / len(pairs)).backward()
            losses.append(loss.detach())
        measured = {"discriminator_loss": torch.stack(losses).mean()}
        if step % self._gan.r1_every == 0:
            measured["r1"] = self._regularise([originals for originals, _ in pairs])
        average_gradients(list(self.discriminator.parameters()))
        step_all(self.optimizers, rate_share * self._peak_rate)
        return measured

    def _regularise(self, pieces: Sequence[Tensor]) -> Tensor:
        """Add R1's gradients, scaled by ``r1_every``; in float32, because it differentiates twice."""
        penalties: list[Tensor] = []
        for originals in pieces:
            frames = originals.flatten(0, 1).detach().requires_grad_(True)
            penalty = r1_penalty(self.discriminator(frames), frames)
            weight = self._gan.r1_weight * self._gan.r1_every / len(pieces)
            (weight * penalty).backward()
            penalties.append(penalty.detach())
        return torch.stack(penalties).mean()
