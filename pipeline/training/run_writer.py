"""Writes a run's files on rank 0: metrics, reconstruction grids, failed sources, checkpoints."""

import json
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from bitmill.bsq_model.training.losses import Perceptual
from bitmill.bsq_model.training.training_checkpoint import find_checkpoints, save_checkpoint
from bitmill.bsq_model.training.training_schedule import learning_rate_share
from bitmill.bsq_model.training.training_step import TrainingStep
from bitmill.pipeline.training.data.training_loader import SampleFailure
from bitmill.pipeline.training.extend_run import CHECKPOINTS_FOLDER
from bitmill.pipeline.training.metrics_log import MetricsLog
from bitmill.pipeline.training.validation import validate, validation_clips
from bitmill.schemas.requests.training import TrainSpec, run_id

PICTURES_FOLDER = "pictures"
FAILURES_FILE = "failures.jsonl"


def is_logged(steps_done: int, spec: TrainSpec) -> bool:
    """Whether to log a row after this step; also at each checkpoint, so that no row spans two processes."""
    return (
        steps_done % spec.log_every == 0
        or steps_done % spec.checkpoint_every == 0
        or steps_done % spec.validate_every == 0
        or steps_done == spec.steps
    )


class RunWriter(AbstractContextManager["RunWriter"]):
    """Writes the run's files; a context manager."""

    def __init__(
        self,
        spec: TrainSpec,
        folder: Path,
        steps_done: int,
        training: TrainingStep,
        perceptual: Perceptual | None,
    ) -> None:
        self._spec = spec
        self._folder = folder
        self._training = training
        self._perceptual = perceptual
        self._clips = validation_clips(spec)
        self._stack = ExitStack()
        self._log = self._stack.enter_context(MetricsLog(folder, steps_done))
        self._failed = _read_failed(folder / FAILURES_FILE)
        self._clock = (steps_done, time.monotonic())

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def after_step(self, steps_done: int, row: dict[str, float] | None) -> dict[str, float] | None:
        """Write what is due; return the row with all measurements, or None if no row is due."""
        if row is None:
            return None
        spec = self._spec
        row |= self._rates(steps_done)
        if self._clips and (steps_done % spec.validate_every == 0 or steps_done == spec.steps):
            grid = self._folder / PICTURES_FOLDER / f"step-{steps_done:08d}.png"
            row |= validate(self._training.average.tokenizer, self._clips, self._perceptual, grid)
            self._clock = (steps_done, time.monotonic())
        self._log.write(steps_done, row)
        if steps_done % spec.checkpoint_every == 0 or steps_done == spec.steps:
            self.save(steps_done)
        return row

    def save(self, steps_done: int) -> None:
        """Write a checkpoint, then delete all but the newest ``keep_checkpoints``."""
        folder = self._folder / CHECKPOINTS_FOLDER
        save_checkpoint(self._training, steps_done, run_id(self._spec), folder)
        for old in find_checkpoints(folder)[: -self._spec.keep_checkpoints]:
            old.unlink()

    def note_failures(self, failures: Sequence[SampleFailure]) -> None:
        """Append one row to ``failures.jsonl`` for each source that failed for the first time."""
        new = {failure.uri: failure for failure in failures if failure.uri not in self._failed}
        if not new:
            return
        self._failed |= new.keys()
        with (self._folder / FAILURES_FILE).open("a", encoding="utf-8") as file:
            for failure in new.values():
                row = {"uri": failure.uri, "reason": failure.reason, "detail": failure.detail}
                file.write(json.dumps(row) + "\n")

    def _rates(self, steps_done: int) -> dict[str, float]:
        spec = self._spec
        since, started = self._clock
        self._clock = (steps_done, time.monotonic())
        seconds = max(self._clock[1] - started, 1e-9)
        share = learning_rate_share(steps_done - 1, steps=spec.steps, optimizer=spec.optimizer)
        return {
            "learning_rate": share * spec.peak_learning_rate,
            "clips_per_s": (steps_done - since) * spec.global_batch / seconds,
        }


def _read_failed(path: Path) -> set[str]:
    if not path.exists():
        return set()
    return {json.loads(line)["uri"] for line in path.read_text(encoding="utf-8").splitlines() if line}
