"""Runs a tokenizer's training from the newest checkpoint to the last step."""

import copy
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bitmill.bsq_model.families import native_files
from bitmill.bsq_model.saving import write_model_files
from bitmill.bsq_model.trainable.trainable_tokenizer import TrainableTokenizer
from bitmill.bsq_model.training.losses import Perceptual
from bitmill.bsq_model.training.training_checkpoint import find_checkpoints, load_checkpoint
from bitmill.bsq_model.training.training_step import TrainingStep
from bitmill.pipeline.training.data.training_loader import Batch, TrainingData
from bitmill.pipeline.training.extend_run import own_runs
from bitmill.pipeline.training.run_writer import CHECKPOINTS_FOLDER, RunWriter, is_logged
from bitmill.pipeline.training.step_progress import TrainProgress
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.requests.training import TrainSpec, run_id

TOKENIZER_FOLDER = "tokenizer"
LAST_WEIGHTS_FOLDER = "tokenizer-last"


@dataclass(frozen=True, kw_only=True)
class Process:
    """This process's rank, world size and device."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0


def train(
    spec: TrainSpec,
    sources: tuple[PlannedSource, ...],
    tokenizer: TrainableTokenizer,
    process: Process,
    *,
    perceptual: Perceptual | None,
    on_progress: Callable[[TrainProgress], None],
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Train from the newest checkpoint of ``spec.output``, or from ``tokenizer``, to the last step.

    Returns False if ``stop`` ended it early, after writing a checkpoint. A resumed run gives the same
    measurements and weights as an uninterrupted one: bit-identical on CPU with the same number of threads and
    processes.
    """
    folder = Path(spec.output)
    training = TrainingStep(
        spec, tokenizer, copy.deepcopy(tokenizer), device=process.device, perceptual=perceptual
    )
    checkpoints = find_checkpoints(folder / CHECKPOINTS_FOLDER)
    runs = own_runs(folder, run_id(spec), lambda document: run_id(TrainSpec.model_validate(document)))
    steps_done = load_checkpoint(training, checkpoints[-1], runs) if checkpoints else 0
    with ExitStack() as stack:
        run_writer = None
        if process.leads:
            run_writer = stack.enter_context(RunWriter(spec, folder, steps_done, training, perceptual))
        data = stack.enter_context(training_data(spec, sources, process))
        steps_done = _Loop(spec, training, run_writer, on_progress=on_progress, stop=stop).run(
            data, steps_done
        )
    if steps_done < spec.steps:
        return False
    if process.leads:
        # The average is written last: if it exists, the run is complete.
        for trained, name in (
            (training.tokenizer.eval(), LAST_WEIGHTS_FOLDER),
            (training.average.tokenizer, TOKENIZER_FOLDER),
        ):
            write_model_files(native_files(trained), folder / name, what="tokenizer")
    return True


def training_data(spec: TrainSpec, sources: tuple[PlannedSource, ...], process: Process) -> TrainingData:
    """Return the loader of this process's share of each batch."""
    return TrainingData(
        sources,
        spec.data,
        sizes=spec.sizes,
        num_frames=spec.clip_frames,
        least_frames=spec.least_frames,
        pixel_rule=spec.pixel_rule,
        seed=spec.seed,
        global_batch=spec.global_batch,
        rank=process.rank,
        world_size=process.world_size,
    )


class _Loop:
    """Runs training steps until the last one or until asked to stop."""

    def __init__(
        self,
        spec: TrainSpec,
        training: TrainingStep,
        run_writer: RunWriter | None,
        *,
        on_progress: Callable[[TrainProgress], None],
        stop: Callable[[], bool],
    ) -> None:
        self._spec, self._training, self._run_writer = spec, training, run_writer
        self._on_progress, self._stop = on_progress, stop

    def run(self, data: TrainingData, steps_done: int) -> int:
        """Run the loop and return the number of steps done."""
        waiting_since = time.monotonic()
        for batch in data.batches(steps_done):
            if steps_done == self._spec.steps or self._stop():
                break
            waited = torch.tensor(time.monotonic() - waiting_since)
            self._training.window.add(
                self._training.run(batch.clips_BTHWC, steps_done, batch.lengths_B) | {"data_wait_s": waited}
            )
            steps_done += 1
            self._after_step(steps_done, batch)
            waiting_since = time.monotonic()
        if self._run_writer is not None and steps_done < self._spec.steps:
            self._run_writer.save(steps_done)
        return steps_done

    def _after_step(self, steps_done: int, batch: Batch) -> None:
        row = self._training.window.row() if is_logged(steps_done, self._spec) else None
        if self._run_writer is not None:
            self._run_writer.note_failures(batch.failures)
            row = self._run_writer.after_step(steps_done, row)
        self._on_progress(TrainProgress(steps_done=steps_done, steps=self._spec.steps, values=row))
