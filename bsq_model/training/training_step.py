"""One training step: updates the tokenizer, then its weight average and the discriminator."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from bitmill.bsq_model.layers.logit_laplace import logit_laplace_loss
from bitmill.bsq_model.layers.patches import pixels_from_uint8
from bitmill.bsq_model.metrics.codes import digit_shares
from bitmill.bsq_model.trainable.trainable_tokenizer import TrainableTokenizer, TrainingOutput
from bitmill.bsq_model.training.adversarial.adversarial_step import Adversary, Shown
from bitmill.bsq_model.training.data_parallel import mean_across, num_processes
from bitmill.bsq_model.training.losses import Perceptual, freeze, pixel_losses, psnr_db, weighted_sum
from bitmill.bsq_model.training.optimizer import clip_gradients, make_optimizers, step_all
from bitmill.bsq_model.training.step_metrics import StepMetrics
from bitmill.bsq_model.training.training_schedule import learning_rate_share
from bitmill.bsq_model.training.weight_average import WeightAverage
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.causal_conv_config import CausalConvConfig
from bitmill.schemas.requests.training import TrainSpec


class TrainingStep:
    """The training state (tokenizer, average, optimizers, discriminator) and the step that updates it.

    With ``torch.distributed`` set up, each process calls ``run`` with its share of the batch; up to rounding
    the result is that of one process with the whole batch, except that the discriminator's minibatch
    statistics and, of batches with padded clips, the losses on latents are per process, and the pieces of
    ``accumulate`` are computed separately.
    """

    def __init__(
        self,
        spec: TrainSpec,
        tokenizer: TrainableTokenizer,
        average: TrainableTokenizer,
        *,
        device: torch.device,
        perceptual: Perceptual | None = None,
    ) -> None:
        """Train ``tokenizer`` in place; ``average`` starts with the same weights and is their average."""
        self.spec = spec
        self.tokenizer = tokenizer.to(device).train()
        if spec.freeze_encoder:
            freeze(tokenizer.networks[0], frozen=True)
            freeze(tokenizer.bottleneck, frozen=True)
        self.average = WeightAverage(average.to(device), spec.optimizer.ema)
        self.optimizers = make_optimizers(self.tokenizer, spec.optimizer)
        self.adversary = Adversary(spec, device) if spec.loss.gan.weight else None
        self.window = StepMetrics(spec.model.geometry.code)
        """Measurements for the next row, which checkpoints keep; the loop adds and takes them."""
        self._perceptual = perceptual
        self._device = device
        self._set_up_compute()
        self._forward: Callable[[Tensor], TrainingOutput] = self.tokenizer
        self._parallel: DistributedDataParallel | None = None
        if num_processes() > 1:
            self._parallel = DistributedDataParallel(
                self.tokenizer,
                device_ids=[device.index] if device.type == "cuda" else None,
                # A causal-conv's weights over time have no part in images.
                find_unused_parameters=isinstance(spec.model, CausalConvConfig),
            )
            self._forward = self._parallel

    def _set_up_compute(self) -> None:
        compute = self.spec.compute
        if compute.compile and self._device.type != "cuda":
            raise UsageError("compute.compile needs a CUDA device; remove it on CPU.")
        for network in self.tokenizer.networks:
            network.checkpoint_blocks = compute.checkpoint_blocks
            if compute.compile:
                network.compile()

    def run(self, clips_BTHWC: Tensor, step: int, lengths_B: Tensor | None = None) -> dict[str, Tensor]:
        """Train on uint8 [B, T, H, W, 3], this process's share of batch ``step`` (from 0).

        Frames from a clip's length on, where ``lengths_B`` are given, are padding and count in no loss.
        Returns detached measurements: the loss and its unweighted terms, ``psnr_db``, ``gradient_norm``, and
        ``share_of_ones`` [L] of the batch's bits (``share_of_values`` of digits). Raises UsageError, before
        changing any weight, if the loss or the gradient norm is not finite; of the discriminator, before
        changing its weights.
        """
        share = learning_rate_share(step, steps=self.spec.steps, optimizer=self.spec.optimizer)
        pieces = clips_BTHWC.chunk(self.spec.compute.accumulate)
        weights = self._frame_weights(clips_BTHWC, lengths_B)
        measured: list[dict[str, Tensor]] = []
        shown: list[Shown] = []
        for number, piece in enumerate(pieces, start=1):
            pixels = pixels_from_uint8(piece.to(self._device, non_blocking=True), torch.float32)
            weights_BT = None if weights is None else weights.chunk(len(pieces))[number - 1]
            # Gradients of all pieces are all-reduced once, with the last.
            with self._parallel.no_sync() if self._parallel and number < len(pieces) else nullcontext():
                measurements, reconstruction = self._backward(pixels, weights_BT, step, len(pieces))
            measured.append(measurements)
            shown.append(Shown(pixels, reconstruction, weights_BT))
        means = {name: torch.stack([m[name] for m in measured]).mean(0) for name in measured[0]}
        means["gradient_norm"] = self._update(step, share * self.spec.peak_learning_rate, means["loss"])
        if self.adversary is not None and self.adversary.plays(step):
            means |= self.adversary.learn(shown, step, share, self._autocast)
        return means

    def _frame_weights(self, clips_BTHWC: Tensor, lengths_B: Tensor | None) -> Tensor | None:
        """Return weights whose mean over all processes is one: those of padding are zero.

        None, on all processes, if the run pads no clips.
        """
        num_frames = clips_BTHWC.shape[1]
        if lengths_B is None or num_frames == 1 or self.spec.least_frames == self.spec.clip_frames:
            return None
        weights_BT = (torch.arange(num_frames) < lengths_B[:, None]).to(self._device, torch.float32)
        return weights_BT / mean_across(weights_BT.mean())

    def _backward(
        self, pixels: Tensor, weights_BT: Tensor | None, step: int, num_pieces: int
    ) -> tuple[dict[str, Tensor], Tensor]:
        with self._autocast():
            output = self._forward(pixels)
            if weights_BT is not None:
                output = self._without_padding(output, weights_BT)
            terms = self._terms(output, pixels, weights_BT, step)
        loss = weighted_sum(terms, self.spec.loss, step)
        (loss / num_pieces).backward()
        reconstruction = output.reconstruction_BTHWC.detach()
        measured = {name: term.detach() for name, term in terms.items()} | {
            "loss": loss.detach(),
            "psnr_db": psnr_db(reconstruction, pixels, weights_BT),
        }
        codes = output.bits_BThwL
        if codes.dtype == torch.bool:
            measured["share_of_ones"] = codes.float().flatten(0, -2).mean(0)
        else:
            measured["share_of_values"] = digit_shares(codes, self.tokenizer.geometry.code)
        return measured, reconstruction

    def _without_padding(self, output: TrainingOutput, weights_BT: Tensor) -> TrainingOutput:
        """Return the output without the tokens of rows that only padding fills: t axes are folded into B."""
        geometry = self.tokenizer.geometry
        first_frames = weights_BT[:, geometry.lead_frames :: geometry.frames_per_token]
        rows_Bt = torch.cat((weights_BT[:, : geometry.lead_frames], first_frames), dim=1) > 0
        return output._replace(
            v_BThwL=output.v_BThwL[rows_Bt],
            codes_BThwL=output.codes_BThwL[rows_Bt],
            bits_BThwL=output.bits_BThwL[rows_Bt],
            commitment_BThw=output.commitment_BThw[rows_Bt],
        )

    def _terms(
        self, output: TrainingOutput, pixels: Tensor, weights_BT: Tensor | None, step: int
    ) -> dict[str, Tensor]:
        spec = self.spec.loss
        terms = pixel_losses(output.reconstruction_BTHWC, pixels, spec, self._perceptual, weights_BT)
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
            terms["gan"] = self.adversary.generator_loss(output.reconstruction_BTHWC, weights_BT)
        return terms

    def _update(self, step: int, rate: float, loss: Tensor) -> Tensor:
        norm = clip_gradients(self.tokenizer, self.spec.optimizer.clip_norm, loss=loss, step=step)
        step_all(self.optimizers, rate)
        self.average.update(self.tokenizer, step + 1)
        return norm

    def _autocast(self) -> AbstractContextManager[object]:
        enabled = self.spec.compute.precision == "bfloat16"
        return torch.autocast(self._device.type, torch.bfloat16, enabled=enabled)
