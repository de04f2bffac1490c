"""Runs a token model's training from the newest checkpoint to the last step."""

import copy
import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from bitmill.bsq_model.token_models.token_model import TokenModel
from bitmill.bsq_model.token_models.token_model_files import save_token_model
from bitmill.bsq_model.training.optimizer import clip_gradients, make_optimizers, step_all
from bitmill.bsq_model.training.training_checkpoint import find_checkpoints
from bitmill.bsq_model.training.training_schedule import average_decay, learning_rate_share
from bitmill.pipeline.token_training.token_batches import TokenTrainingData
from bitmill.pipeline.token_training.token_checkpoint import load_token_checkpoint, save_token_checkpoint
from bitmill.pipeline.token_training.validation_cost import judge
from bitmill.pipeline.training.extend_run import CHECKPOINTS_FOLDER, own_runs
from bitmill.pipeline.training.metrics_log import MetricsLog
from bitmill.pipeline.training.step_progress import TrainProgress
from bitmill.schemas.requests.token_training import TokenTrainSpec, token_run_id

MODEL_FOLDER = "model"


def train_token_model(
    spec: TokenTrainSpec,
    model: TokenModel,
    data: TokenTrainingData,
    device: torch.device,
    *,
    on_progress: Callable[[TrainProgress], None],
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Train from the newest checkpoint of ``spec.output``, or from ``model``, to the last step.

    Saves the averaged weights as the result. Returns False if ``stop`` ended it early, after writing a
    checkpoint. A resumed run gives the same measurements and weights as an uninterrupted one: bit-identical
    on CPU with the same number of threads. Raises UsageError, and keeps the checkpoints, if the loss is no
    longer finite.
    """
    Path(spec.output).mkdir(parents=True, exist_ok=True)
    run = _Run(spec, model.to(device), data, device)
    steps_done = run.take_up()
    with MetricsLog(Path(spec.output), steps_done) as log:
        while steps_done < spec.steps and not stop():
            run.step(steps_done)
            steps_done += 1
            row = run.measurements(steps_done) if run.is_logged(steps_done) else None
            if row is not None:
                log.write(steps_done, row)
            if steps_done % spec.checkpoint_every == 0 or steps_done == spec.steps:
                run.save(steps_done)
            on_progress(TrainProgress(steps_done=steps_done, steps=spec.steps, values=row))
    if steps_done < spec.steps:
        run.save(steps_done)
        return False
    save_token_model(run.average.eval(), Path(spec.output) / MODEL_FOLDER)
    return True


class _Run:
    def __init__(
        self, spec: TokenTrainSpec, model: TokenModel, data: TokenTrainingData, device: torch.device
    ) -> None:
        self._spec, self._model, self._data, self._device = spec, model.train(), data, device
        self.average = copy.deepcopy(model).requires_grad_(False).eval()
        self._optimizers = make_optimizers(model, spec.optimizer)
        self._losses: list[torch.Tensor] = []
        self._clock = (0, time.monotonic())

    @property
    def _modules(self) -> dict[str, nn.Module]:
        return {"model": self._model, "average": self.average}

    def take_up(self) -> int:
        """Restore the newest checkpoint and return its number of steps done; 0 without one."""
        folder = Path(self._spec.output)
        checkpoints = find_checkpoints(folder / CHECKPOINTS_FOLDER)
        if not checkpoints:
            return 0
        own = token_run_id(self._spec)
        runs = own_runs(folder, own, lambda stored: token_run_id(TokenTrainSpec.model_validate(stored)))
        state = load_token_checkpoint(checkpoints[-1], self._modules, self._optimizers, runs)
        self._data.go_on(state["data"])
        self._losses = list(torch.tensor(state.get("losses", []), device=self._device).unbind())
        self._clock = (state["steps"], time.monotonic())
        return state["steps"]

    def step(self, step: int) -> None:
        """Run step number ``step``; the first is 0. Raises UsageError if its loss is not finite."""
        spec = self._spec
        codes_BThwD, labels_B = (
            x if x is None else x.to(self._device, non_blocking=True) for x in self._data.batch(step)
        )
        assert codes_BThwD is not None
        with torch.autocast(self._device.type, torch.bfloat16, enabled=spec.compute.precision == "bfloat16"):
            loss = self._model.training_loss(codes_BThwD, labels_B, _generator(spec.seed, step))
        loss.backward()
        clip_gradients(self._model, spec.optimizer.clip_norm, loss=loss, step=step)
        share = learning_rate_share(step, steps=spec.steps, optimizer=spec.optimizer)
        step_all(self._optimizers, share * spec.peak_learning_rate)
        weight = 1 - average_decay(step + 1, spec.optimizer.ema)
        with torch.no_grad():
            for ours, theirs in zip(self.average.parameters(), self._model.parameters(), strict=True):
                ours.lerp_(theirs.detach(), weight)
        self._losses.append(loss.detach())

    def is_logged(self, steps_done: int) -> bool:
        """Whether to log measurements."""
        spec = self._spec
        due = steps_done % spec.log_every == 0 or steps_done % spec.validate_every == 0
        return due or steps_done == spec.steps

    def measurements(self, steps_done: int) -> dict[str, float]:
        """Return means since the last call, and bits per token of held-out clips if validation is due."""
        spec = self._spec
        since, started = self._clock
        losses = torch.stack(self._losses).float()
        self._losses.clear()
        row = {
            "bits_per_token": losses.mean().item(),
            "learning_rate": learning_rate_share(steps_done - 1, steps=spec.steps, optimizer=spec.optimizer)
            * spec.peak_learning_rate,
            "steps_per_s": (steps_done - since) / max(time.monotonic() - started, 1e-9),
        }
        if steps_done % spec.validate_every == 0 or steps_done == spec.steps:
            for kind, batches in zip(spec.data, self._data.held_out, strict=True):
                bits = judge(self.average, batches, spec.validation_batches, self._device)
                name = "held_out_bits_per_token"
                row[f"{name}_{kind.frames}_frames" if len(spec.data) > 1 else name] = bits
        self._clock = (steps_done, time.monotonic())
        return row

    def save(self, steps_done: int) -> None:
        """Write a checkpoint, then delete all but the newest ``keep_checkpoints``."""
        folder = Path(self._spec.output) / CHECKPOINTS_FOLDER
        state = {
            "run": token_run_id(self._spec),
            "steps": steps_done,
            "data": self._data.state(),
            "losses": [loss.item() for loss in self._losses],
        }
        path = folder / f"step-{steps_done:08d}.safetensors"
        save_token_checkpoint(path, self._modules, self._optimizers, state)
        for old in find_checkpoints(folder)[: -self._spec.keep_checkpoints]:
            old.unlink()


def _generator(seed: int, step: int) -> torch.Generator:
    """Return one step's generator, a pure function of seed and step, so that resuming needs no state."""
    digest = hashlib.sha256(f"token-training {seed} {step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
