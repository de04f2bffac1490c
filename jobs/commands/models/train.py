"""``bitmill train`` of a tokenizer: checks file and folder, trains locally or on a cluster."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from bitmill.bsq_model.acceleration.freed_memory import keep_freed_memory
from bitmill.bsq_model.families import load_files
from bitmill.bsq_model.networks.network_files import load_network
from bitmill.bsq_model.trainable.trainable_tokenizer import TrainableTokenizer
from bitmill.bsq_model.training.initial_weights import start_tokenizer
from bitmill.jobs.console import Console
from bitmill.jobs.preparation.models.find_tokenizers import load_tokenizer_spec, tokenizer_spec
from bitmill.jobs.preparation.models.metric_networks import networks_folder
from bitmill.jobs.preparation.models.slow_precision import slow_precision
from bitmill.jobs.preparation.run_folder import check_run_folder, raise_steps, write_spec
from bitmill.jobs.progress.training_view import TrainingView
from bitmill.jobs.scheduling.signals import asked_to_stop
from bitmill.pipeline.load_tokenizer import load_tokenizer
from bitmill.pipeline.sources.listing import find_sources, refuse_archives
from bitmill.pipeline.training.metrics_log import METRICS_FILE, read_metrics
from bitmill.pipeline.training.run_training import LAST_WEIGHTS_FOLDER, TOKENIZER_FOLDER, Process, train
from bitmill.pipeline.training.step_progress import TrainProgress
from bitmill.schemas.counted import counted
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import InterruptedJobError, OutputConflictError, UsageError
from bitmill.schemas.ids import content_id
from bitmill.schemas.requests.training import TrainSpec, fixed_fields
from bitmill.schemas.staged_file import write_staged

LISTING_FILE = "sources.json"

_POLL_S = 1.0


@dataclass(frozen=True, kw_only=True)
class PreparedRun:
    """A run with a prepared folder, its sources and its initial tokenizer."""

    spec: TrainSpec
    sources: tuple[PlannedSource, ...]
    tokenizer: TrainableTokenizer
    perceptual: nn.Module | None
    note: str | None
    """Note for the user."""


def train_job(spec: TrainSpec, *, address: str | None, console: Console) -> None:
    """Train to the last step, resuming an earlier run of the same file."""
    earlier = _check_folder(spec)
    if earlier is None and (Path(spec.output) / TOKENIZER_FOLDER / "config.json").exists():
        console.print(f"nothing to do: the run in {spec.output} is complete.")
        return
    prepared = prepare_run(spec)
    if prepared.note is not None:
        console.print(prepared.note)
    parameters = sum(p.numel() for p in prepared.tokenizer.parameters())
    console.print(
        f"{parameters:,} parameters, {counted(len(prepared.sources), 'source')}, "
        f"{counted(str(spec.steps), 'step')} of "
        f"{counted(spec.global_batch, 'clip')} on {spec.compute.processes} "
        f"{'process' if spec.compute.processes == 1 else 'processes'} …"
    )
    if spec.compute.processes > 1 or address is not None:
        from bitmill.jobs.cluster.train_workers import train_on_cluster

        with TrainingView(console) as view, following(spec, view):
            train_on_cluster(spec, prepared.sources, prepared.tokenizer, prepared.perceptual, address)
    else:
        _train_here(prepared, console)
    folder = Path(spec.output) / TOKENIZER_FOLDER
    console.print(f"tokenizer  {load_tokenizer(folder).fingerprint}  {folder}")


def prepare_run(spec: TrainSpec) -> PreparedRun:
    """Check everything that can be checked before training, then write the run's files to the folder.

    Raises UsageError, or OutputConflictError if the folder belongs to another run.
    """
    earlier = _check_folder(spec)
    start = _start(spec.start_from) if spec.start_from is not None else None
    tokenizer = start_tokenizer(spec.model, seed=spec.seed, start=start)
    perceptual = load_network(networks_folder(), spec.loss.lpips_network) if spec.loss.lpips else None
    sources = find_sources(spec.source).sources
    refuse_archives(sources, purpose="training")
    if not sources:
        raise UsageError("source matches no images or videos; check its paths.")
    folder = Path(spec.output)
    listing = _listing(sources)
    _check_listing(folder, listing)
    folder.mkdir(parents=True, exist_ok=True)
    write_staged(folder / LISTING_FILE, listing.encode())
    note = None
    if earlier is not None:
        note = raise_steps(spec.output, earlier, spec.steps, (TOKENIZER_FOLDER, LAST_WEIGHTS_FOLDER))
    write_spec(folder, spec)
    return PreparedRun(spec=spec, sources=sources, tokenizer=tokenizer, perceptual=perceptual, note=note)


def _listing(sources: tuple[PlannedSource, ...]) -> str:
    """Returns the identity of the sources that batches depend on: their count and content id, in order."""
    document = {"sources": len(sources), "id": content_id("sources", [source.id for source in sources])}
    return json.dumps(document) + "\n"


def _check_listing(folder: Path, listing: str) -> None:
    """Raise OutputConflictError if the sources changed, since batches would differ from the run's."""
    path = folder / LISTING_FILE
    if path.exists() and path.read_text(encoding="utf-8") != listing:
        there, here = json.loads(path.read_text(encoding="utf-8")), json.loads(listing)
        raise OutputConflictError(
            f"source has other files than when the run in {folder} began ({there['sources']} there, "
            f"{here['sources']} here, or changed ones); restore them, or choose another output."
        )


def _start(name: str) -> TrainableTokenizer:
    tokenizer = load_files(load_tokenizer_spec(tokenizer_spec(name)).files)
    if not isinstance(tokenizer, TrainableTokenizer):
        raise UsageError(
            "start_from is a tokenizer of another family; only BSQ-ViT and causal-conv are trained."
        )
    return tokenizer


def _check_folder(spec: TrainSpec) -> int | None:
    return check_run_folder(
        spec.output, fixed_fields(spec), lambda stored: fixed_fields(TrainSpec.model_validate(stored))
    )


def resolve_device(spec: TrainSpec) -> torch.device:
    """Returns the training device. Raises UsageError if it is not available."""
    wanted = spec.compute.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("compute.device is cuda, but this machine has no CUDA device.")
    return torch.device(wanted)


def _train_here(prepared: PreparedRun, console: Console) -> None:
    spec = prepared.spec
    if spec.compute.threads is not None:
        torch.set_num_threads(spec.compute.threads)
    device = resolve_device(spec)
    if device.type == "cpu":
        keep_freed_memory()
    if (note := slow_precision(spec.compute.precision, device)) is not None:
        console.print(note)
    perceptual = prepared.perceptual.to(device) if prepared.perceptual is not None else None
    with TrainingView(console) as view, asked_to_stop() as stop:
        complete = train(
            spec,
            prepared.sources,
            prepared.tokenizer,
            Process(device=device),
            perceptual=perceptual,
            on_progress=view.show,
            stop=stop.is_set,
        )
    if not complete:
        raise InterruptedJobError(
            "Interrupted; a checkpoint is written. Run the same command again to resume from it."
        )


@contextmanager
def following(spec: TrainSpec, view: TrainingView) -> Generator[None]:
    """Show the metric rows that remote processes write to the run's folder, as they appear."""
    path = Path(spec.output) / METRICS_FILE
    ended = threading.Event()

    def follow() -> None:
        shown = max((row["step"] for row in read_metrics(path)), default=0)
        while not ended.wait(_POLL_S):
            for row in read_metrics(path):
                steps_done = row.pop("step")
                if steps_done > shown:
                    shown = steps_done
                    view.show(TrainProgress(steps_done=steps_done, steps=spec.steps, values=row))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
