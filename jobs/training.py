"""``bitmill train``: check the file and the folder, train here or on a cluster, tell how it ended."""

import json
import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.live import Live
from rich.text import Text
from torch import nn

from bsq_model import BSQTokenizer, fingerprint, load_tokenizer, tokenizer_from_files
from bsq_model.networks.store import load_network
from bsq_model.training.start import start_tokenizer
from jobs.fetching import networks_folder
from jobs.prepare import load_tokenizer_spec, tokenizer_spec
from jobs.quantities import duration_text
from pipeline.sources import find_sources, refuse_archives
from pipeline.training.metrics_log import METRICS_FILE, read_metrics
from pipeline.training.run import TOKENIZER_FOLDER, Process, TrainProgress, train
from schemas.errors import BadJobError, InterruptedJobError, OutputConflictError
from schemas.ids import content_id
from schemas.plan import PlannedSource
from schemas.training import TrainSpec, fixed_fields

SPEC_FILE, LISTING_FILE = "train.yaml", "sources.json"

_POLL_S = 1.0


@dataclass(frozen=True, kw_only=True)
class PreparedRun:
    """A run whose folder is claimed, and what it starts from."""

    spec: TrainSpec
    sources: tuple[PlannedSource, ...]
    tokenizer: BSQTokenizer
    perceptual: nn.Module | None


def train_job(spec: TrainSpec, *, address: str | None, console: Console) -> None:
    """Train to the last step, or go on where an earlier run of the same file stopped."""
    if (Path(spec.output) / TOKENIZER_FOLDER / "config.json").exists():
        _check_folder(spec)
        console.print(f"nothing to do: the run in {spec.output} is complete.")
        return
    prepared = prepare_run(spec)
    parameters = sum(p.numel() for p in prepared.tokenizer.parameters())
    console.print(
        f"{parameters:,} parameters, {len(prepared.sources)} sources, {spec.steps} steps of "
        f"{spec.global_batch} clips on {spec.compute.processes} "
        f"{'process' if spec.compute.processes == 1 else 'processes'} …"
    )
    if spec.compute.processes > 1 or address is not None:
        from jobs.cluster.training import train_on_cluster

        with TrainingView(console) as view, following(spec, view):
            train_on_cluster(spec, prepared.sources, prepared.tokenizer, prepared.perceptual, address)
    else:
        _train_here(prepared, console)
    folder = Path(spec.output) / TOKENIZER_FOLDER
    console.print(f"tokenizer  {fingerprint(load_tokenizer(folder))}  {folder}")


def prepare_run(spec: TrainSpec) -> PreparedRun:
    """Check everything that can be checked before work, then claim the folder.

    Raises BadJobError; OutputConflictError where the folder is another run's.
    """
    _check_folder(spec)
    start = _start(spec.start_from) if spec.start_from is not None else None
    tokenizer = start_tokenizer(spec.model, seed=spec.seed, start=start)
    perceptual = load_network(networks_folder(), spec.loss.lpips_network) if spec.loss.lpips else None
    sources = find_sources(spec.source).sources
    refuse_archives(sources, purpose="training")
    if not sources:
        raise BadJobError("source names no image and no video; check its paths.")
    folder = Path(spec.output)
    listing = _listing(sources)
    _check_listing(folder, listing)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / LISTING_FILE, listing)
    _write(folder / SPEC_FILE, yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False))
    return PreparedRun(spec=spec, sources=sources, tokenizer=tokenizer, perceptual=perceptual)


def _listing(sources: tuple[PlannedSource, ...]) -> str:
    """What the draws depend on: every source, in order, by number and content id."""
    document = {"sources": len(sources), "id": content_id("sources", [source.id for source in sources])}
    return json.dumps(document) + "\n"


def _check_listing(folder: Path, listing: str) -> None:
    """Refuse to go on with other sources: batches would not be those of one run."""
    path = folder / LISTING_FILE
    if path.exists() and path.read_text(encoding="utf-8") != listing:
        there, here = json.loads(path.read_text(encoding="utf-8")), json.loads(listing)
        raise OutputConflictError(
            f"source holds other files than when the run in {folder} began ({there['sources']} there, "
            f"{here['sources']} here, or changed ones); bring them back, or choose another output."
        )


def _write(path: Path, text: str) -> None:
    staged = path.with_name(f".{path.name}.staged")
    staged.write_text(text, encoding="utf-8")
    staged.replace(path)


def _start(name: str) -> BSQTokenizer:
    loaded = load_tokenizer_spec(tokenizer_spec(name))
    return tokenizer_from_files(loaded.config_bytes, loaded.weights_bytes)


def _check_folder(spec: TrainSpec) -> None:
    """Refuse an output that holds anything but this run."""
    if "://" in spec.output:
        raise BadJobError(f"output {spec.output} is a URL; training writes to a disk that all processes see.")
    folder = Path(spec.output)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        stored = TrainSpec.model_validate(yaml.safe_load((folder / SPEC_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise OutputConflictError(
            f"The output {folder} holds files but no training run; choose a new or empty folder."
        ) from error
    there, here = _flat(fixed_fields(stored)), _flat(fixed_fields(spec))
    differing = [
        f"{name} is {there.get(name)!r} there and {here.get(name)!r} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
    if differing:
        raise OutputConflictError(
            f"The output {folder} holds another run: {'; '.join(differing)}. Choose another output, or train "
            "with the file that began it."
        )


def _flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def resolve_device(spec: TrainSpec) -> torch.device:
    """The device of a process, which must be there."""
    wanted = spec.compute.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise BadJobError("compute.device is cuda, but this machine has no CUDA device.")
    return torch.device(wanted)


def _train_here(prepared: PreparedRun, console: Console) -> None:
    spec = prepared.spec
    if spec.compute.threads is not None:
        torch.set_num_threads(spec.compute.threads)
    device = resolve_device(spec)
    perceptual = prepared.perceptual.to(device) if prepared.perceptual is not None else None
    with TrainingView(console) as view, _asked_to_stop() as stop:
        complete = train(
            spec,
            prepared.sources,
            prepared.tokenizer,
            Process(device=device),
            perceptual=perceptual,
            report=view.show,
            stop=stop.is_set,
        )
    if not complete:
        raise InterruptedJobError(
            "Interrupted; a checkpoint is written. Run the same command again to go on from it."
        )


@contextmanager
def _asked_to_stop() -> Generator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, so that the step at work is finished and kept."""
    event = threading.Event()
    wanted = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, lambda *_: event.set()) for number in wanted}
    try:
        yield event
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def following(spec: TrainSpec, view: "TrainingView") -> Generator[None]:
    """Show the rows that processes elsewhere write to the run's folder, as they appear."""
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


class TrainingView:
    """A context manager: a live line on a terminal, each row of measurements as a line elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started: tuple[int, float] | None = None
        self._values: dict[str, float] = {}
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> "TrainingView":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, progress: TrainProgress) -> None:
        """Take one step's report."""
        now = time.monotonic()
        if self._started is None:
            # The first steps warm up caches and compilers: the rate counts from here.
            self._started = (progress.steps_done, now)
        if progress.values is not None:
            self._values = progress.values
        if self._live is None and progress.values is None:
            return
        since, started = self._started
        steps = progress.steps_done - since
        seconds = (progress.steps - progress.steps_done) * (now - started) / steps if steps else None
        left = duration_text(seconds) if seconds is not None else "?"
        text = f"step {progress.steps_done}/{progress.steps} · {_measured(self._values)} · {left} left"
        if self._live:
            self._live.update(Text(text, no_wrap=True, overflow="ellipsis"))
        else:
            self._console.print(text, highlight=False, soft_wrap=True)


_SHOWN = {
    "loss": "loss {:.4f}",
    "psnr_db": "PSNR {:.2f} dB",
    "weakest_bit": "weakest bit {:.3f}",
    "validation_psnr_db": "held out {:.2f} dB",
    "validation_lpips": "LPIPS {:.4f}",
    "clips_per_s": "{:.1f} clips/s",
}


def _measured(values: dict[str, float]) -> str:
    return " · ".join(text.format(values[name]) for name, text in _SHOWN.items() if name in values) or "…"
