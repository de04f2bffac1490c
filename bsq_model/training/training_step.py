"""One training step: updates the tokenizer, then its weight average and the discriminator."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bitmill.bsq_model.layers.logit_laplace import logit_laplace_loss
from bitmill.bsq_model.layers.patches import pixels_from_uint8
from bitmill.bsq_model.tokenizer import BSQTokenizer, TrainingOutput
from bitmill.bsq_model.training.adversarial.adversarial_step import Adversary
from bitmill.bsq_model.training.data_parallel import mean_across, num_processes
from bitmill.bsq_model.training.losses import Perceptual, pixel_losses, psnr_db, weighted_sum
from bitmill.bsq_model.training.optimizer import make_optimizers, step_all
from bitmill.bsq_model.training.training_schedule import learning_rate_share
from bitmill.bsq_model.training.weight_average import WeightAverage
from bitmill.schemas.errors import UsageError
from bitmill.schemas.requests.training import TrainSpec


class TrainingStep:
    """The training state (tokenizer, average, optimizers, discriminator) and the step that updates it.

    With ``torch.distributed`` set up, each process calls ``run`` with its share of the batch; up to rounding
    the result is that of one process with the whole batch, except that the discriminator's minibatch
    statistics are per process, and the pieces of ``accumulate`` are computed separately.
    """

    def __init__(
        self,
        spec: TrainSpec,
        tokenizer: BSQTokenizer,
        average: BSQTokenizer,
        *,
        device: torch.device,
        perceptual: Perceptual | None = None,
    ) -> None:
        """Train ``tokenizer`` in place; ``average`` starts with the same weights and is their average."""
        self.spec = spec
        self.tokenizer = tokenizer.to(device).train()
        self.average = WeightAverage(average.to(device), spec.optimizer.ema)
        self.optimizers = make_optimizers(self.tokenizer, spec.optimizer)
        self.adversary = Adversary(spec, device) if spec.loss.gan.weight else None
        self._perceptual = perceptual
        self._device = device
        self._set_up_compute()
        self._forward: Callable[[Tensor], TrainingOutput] = self.tokenizer
        self._parallel: DistributedDataParallel | None = None
        if num_processes() > 1:
            self._parallel = DistributedDataParallel(
                self.tokenizer, device_ids=[device.index] if device.type == "cuda" else None
            )
            self._forward = self._parallel

    def _set_up_compute(self) -> None:
        compute = self.spec.compute
        if compute.compile and self._device.type != "cuda":
            raise UsageError("compute.compile needs a CUDA device; remove it on CPU.")
        for network in (self.tokenizer.encoder, self.tokenizer.decoder):
            network.checkpoint_blocks = compute.checkpoint_blocks
            if compute.compile:
                network.compile()

    def run(self, clips_BTHWC: Tensor, step: int) -> dict[str, Tensor]:
        """Train on uint8 [B, T, H, W, 3], this process's share of batch ``step`` (from 0).

        Returns detached measurements: the loss and its unweighted terms, ``psnr_db``, ``gradient_norm``, and
        ``share_of_ones`` [L] of the batch's bits. Raises UsageError, before changing any weight, if the loss
        or the gradient norm is not finite.
        """
        share = learning_rate_share(step, steps=self.spec.steps, optimizer=self.spec.optimizer)
        pieces = clips_BTHWC.chunk(self.spec.compute.accumulate)
        measured: list[dict[str, Tensor]] = []
        pairs: list[tuple[Tensor, Tensor]] = []
        for number, piece in enumerate(pieces, start=1):
            pixels = pixels_from_uint8(piece.to(self._device, non_blocking=True), torch.float32)
            # Gradients of all pieces are all-reduced once, with the last.
            with self._parallel.no_sync() if self._parallel and number < len(pieces) else nullcontext():
                measurements, reconstruction = self._backward(pixels, step, len(pieces))
            measured.append(measurements)
            pairs.append((pixels, reconstruction))
        means = {name: torch.stack([m[name] for m in measured]).mean(0) for name in measured[0]}
        means["gradient_norm"] = self._update(step, share * self.spec.peak_learning_rate, means["loss"])
        if self.adversary is not None and self.adversary.plays(step):
            means |= self.adversary.learn(pairs, step, share, self._autocast)
        return means

    def _backward(self, pixels: Tensor, step: int, num_pieces: int) -> tuple[dict[str, Tensor], Tensor]:
        with self._autocast():
            output = self._forward(pixels)
            terms = self._terms(output, pixels, step)
        loss = weighted_sum(terms, self.spec.loss, step)
        (loss / num_pieces).backward()
        reconstruction = output.reconstruction_BTHWC.detach()
        measured = {name: term.detach() for name, term in terms.items()} | {
            "loss": loss.detach(),
            "psnr_db": psnr_db(reconstruction, pixels),
            "share_of_ones": output.bits_BThwL.float().mean((0, 1, 2, 3)),
        }
        return measured, reconstruction

    def _terms(self, output: TrainingOutput, pixels: Tensor, step: int) -> dict[str, Tensor]:
        spec = self.spec.loss
        terms = pixel_losses(output.reconstruction_BTHWC, pixels, spec, self._perceptual)
        if output.logit_laplace_BTHWC is not None and terms.pop("l1", None) is not None:
            terms["logit_laplace"] = logit_laplace_loss(output.logit_laplace_BTHWC, pixels)
        latents = self.tokenizer.bottleneck_losses(
            output,
            inv_temperature=spec.entropy.inv_temperature,
            group_bits=spec.entropy.group_bits,
            mean_across=mean_across,
        )
        terms["entropy_per_token"] = latents.per_token_entropy
        terms["entropy_of_mean"] = latents.entropy_of_mean
        terms["commitment"] = latents.commitment
        if self.adversary is not None and self.adversary.plays(step):
            terms["gan"] = self.adversary.generator_loss(output.reconstruction_BTHWC)
        return terms

    def _update(self, step: int, rate: float, loss: Tensor) -> Tensor:
        parameters = [p for p in self.tokenizer.parameters() if p.grad is not None]
        limit = self.spec.optimizer.clip_norm
        norm = nn.utils.clip_grad_norm_(parameters, limit if limit is not None else float("inf"))
        if not bool(torch.isfinite(norm) & torch.isfinite(loss)):
            raise UsageError(
                f"The loss is no longer finite at step {step} (loss {loss.item()}, gradient norm "
                f"{norm.item()}); lower optimizer.learning_rate, or continue in float32."
            )
        step_all(self.optimizers, rate)
        self.average.update(self.tokenizer, step + 1)
        return norm

    def _autocast(self) -> AbstractContextManager[object]:
        enabled = self.spec.compute.precision == "bfloat16"
        return torch.autocast(self._device.type, torch.bfloat16, enabled=enabled)
