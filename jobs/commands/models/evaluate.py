"""``bitmill evaluate``: measures tokenizers on given media; prints a table, writes reports and pictures."""

import datetime
import platform
import time
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any, Literal

import torch

from bitmill.bsq_model import BSQTokenizer
from bitmill.bsq_model.contract import Tokenizer
from bitmill.bsq_model.families import load_files
from bitmill.bsq_model.resolution import interpolating, resize_tokenizer
from bitmill.jobs.commands.models.evaluation_output import (
    REPORT_FILE,
    SHEET_FILE,
    print_reports,
    write_pictures,
    write_report,
)
from bitmill.jobs.console import Console
from bitmill.jobs.preparation.file_arguments import out_file
from bitmill.jobs.preparation.models.find_frame_sizes import largest_within, option_size, size_text
from bitmill.jobs.preparation.models.find_token_models import choose_prior
from bitmill.jobs.preparation.models.find_tokenizers import load_tokenizer_spec, tokenizer_spec
from bitmill.jobs.preparation.models.job_tokenizer import check_clip_frames
from bitmill.jobs.preparation.models.loaded_tokenizer import LoadedTokenizer
from bitmill.jobs.preparation.models.metric_networks import find_metric_networks
from bitmill.jobs.progress.live_line import LiveLine
from bitmill.jobs.progress.units import duration_text, rate_text
from bitmill.pipeline.compressing.clip_streams import LoadedPrior
from bitmill.pipeline.cpu_count import available_cpus
from bitmill.pipeline.decode.pixels.frame_sizes import Buckets
from bitmill.pipeline.evaluation.run_evaluation import Measured, evaluate
from bitmill.pipeline.evaluation.running_scores import MetricNetworks
from bitmill.pipeline.isolation.source_events import DecodeSettings
from bitmill.pipeline.sources.listing import find_sources, refuse_archives
from bitmill.schemas.counted import counted
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig
from bitmill.schemas.models.geometry import Geometry, SizePx
from bitmill.schemas.reports.evaluation_report import EvaluationReport, QualityRow
from bitmill.schemas.requests.frames import NEWEST_PIXEL_RULE
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec, SourceSpec


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """The parsed command line."""

    tokenizer: str
    others: list[str]
    """Tokenizers that are measured after it, on the same media."""
    source: SourceSpec
    out: Path
    fps: float | None
    clip_frames: int | None
    size: SizePx | None
    """Height, width."""
    interpolate_positions: bool
    max_items: int | None
    inception: Path | None
    with_fvd: bool
    codecs: Literal["none", "image", "bitmill", "all"]
    """Whose rows are added: of one tokenizer only, since they have its bits or its tokens."""
    prior: str | None
    """Of bitmill's codec."""
    num_shown: int


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A tokenizer on its device, in float32, and the clips on which it is measured."""

    argument: str
    name: str
    """Of its row, and of its folder if there are several."""
    loaded: LoadedTokenizer
    tokenizer: Tokenizer
    size: SizePx
    clip_frames: int


def evaluate_job(request: EvaluationRequest, console: Console) -> bool:
    """Measure, print the table, write reports and pictures. Returns whether every source was fully read."""
    candidates = _candidates(request)
    metric_networks, left_out = find_metric_networks(request.inception, with_fvd=request.with_fvd)
    sources = find_sources(request.source).sources
    refuse_archives(sources, purpose="evaluation")
    if request.max_items is not None:
        sources = _spread(sources, request.max_items)
    coders = _coders(request, candidates[0].tokenizer)
    folders = [request.out / one.name if request.others else request.out for one in candidates]
    for file in (request.out / SHEET_FILE, *(folder / REPORT_FILE for folder in folders)):
        out_file(file)
    request.out.mkdir(parents=True, exist_ok=True)
    results: list[Measured] = []
    reports: list[EvaluationReport] = []
    for one, folder in zip(candidates, folders, strict=True):
        measured = _measured(request, one, sources, metric_networks, coders=coders, console=console)
        absent = left_out + _inapplicable(measured.rows[0], metric_networks, one.size)
        if _with_picture_codecs(request) and measured.pictures < measured.clips:
            longer = counted(measured.clips - measured.pictures, "clip")
            absent.append(f"codecs on {longer} of several frames: they encode single pictures")
        results.append(measured)
        reports.append(_report(request, one, measured, absent, num_sources=len(sources)))
        write_report(reports[-1], folder)
    write_pictures([measured.shown for measured in results], request.out)
    print_reports(reports, [f"{one.clip_frames}×{one.size[0]}×{one.size[1]}" for one in candidates], console)
    told = request.out if request.others else request.out / REPORT_FILE
    console.print(f"{'reports' if request.others else 'report':<10} {told}", soft_wrap=True)
    return all(measured.ok == len(sources) for measured in results)


def _measured(
    request: EvaluationRequest,
    one: _Candidate,
    sources: tuple[Any, ...],
    metric_networks: MetricNetworks,
    *,
    coders: dict[str, LoadedPrior | None],
    console: Console,
) -> Measured:
    settings = DecodeSettings(
        sampling=SamplingSpec(fps=request.fps, clip_frames=one.clip_frames),
        limits=LimitsSpec(),
        sizes=Buckets((one.size,)),
        pixel_rule=NEWEST_PIXEL_RULE,
    )
    started = time.monotonic()
    with LiveLine(console) as line:
        return evaluate(
            one.tokenizer,
            sources,
            settings,
            metric_networks,
            name=one.name,
            with_codecs=_with_picture_codecs(request),
            num_shown=request.num_shown,
            on_progress=lambda done: line.show(partial(_progress, one.name, done, len(sources), started)),
            coders=coders,
        )


def _with_picture_codecs(request: EvaluationRequest) -> bool:
    return request.codecs in {"image", "all"}


def _candidates(request: EvaluationRequest) -> list[_Candidate]:
    """Returns all tokenizers, so that one that cannot be measured is told before the work begins."""
    if request.others and request.codecs != "none":
        raise UsageError("--codecs is for one tokenizer; leave it or --tokenizer out.")
    if request.prior is not None and request.codecs not in {"bitmill", "all"}:
        raise UsageError("--prior is of bitmill's codec: add --codecs bitmill or --codecs all.")
    candidates: list[_Candidate] = []
    for argument in (request.tokenizer, *request.others):
        loaded, tokenizer, size = _tokenizer(request, argument)
        candidates.append(
            _Candidate(
                argument=argument,
                name=_name(argument, candidates),
                loaded=loaded,
                tokenizer=tokenizer,
                size=size,
                clip_frames=_clip_frames(request, tokenizer.geometry),
            )
        )
    return candidates


def _name(argument: str, others: list[_Candidate]) -> str:
    """Returns the last part of the tokenizer's name or path, with a number if another has the same."""
    last = argument.rstrip("/").rsplit("/", 1)[-1]
    last = "tokenizer" if last in {"", ".", ".."} else last
    taken = {one.name for one in others}
    numbered = (last if number == 1 else f"{last}-{number}" for number in count(1))
    return next(name for name in numbered if name not in taken)


def _clip_frames(request: EvaluationRequest, geometry: Geometry) -> int:
    if request.clip_frames is None:
        return geometry.usual_frames
    if request.others:
        return geometry.legal_at_most(request.clip_frames) or geometry.least_frames
    check_clip_frames(geometry, request.clip_frames, option="--clip-frames")
    return request.clip_frames


def _tokenizer(request: EvaluationRequest, argument: str) -> tuple[LoadedTokenizer, Tokenizer, SizePx]:
    """Returns the tokenizer on its device, in float32, and the size of its frames."""
    loaded = load_tokenizer_spec(tokenizer_spec(argument))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    asked = _asked_size(request, loaded.geometry)
    if not isinstance(loaded.config, TokenizerConfig) or loaded.config.positions == "interpolate":
        size = option_size(loaded.geometry, asked)
        tokenizer = load_files(loaded.files)
        tokenizer.to(device=device, dtype=torch.float32)
        return loaded, tokenizer, size
    own_px = loaded.config.image_size_px
    size = asked or (own_px, own_px)
    if size != (own_px, own_px) and not request.interpolate_positions:
        raise UsageError(
            f"--size {size_text(size)} is not the tokenizer's size "
            f"({own_px}); add --interpolate-positions to allow it."
        )
    if size[0] == size[1]:
        return loaded, resize_tokenizer(loaded.bsq_vit(), size[0]).to(device), size
    tokenizer = interpolating(loaded.bsq_vit()).to(device)
    return loaded, tokenizer, option_size(tokenizer.geometry, size)


def _asked_size(request: EvaluationRequest, geometry: Geometry) -> SizePx | None:
    """Returns the size asked for; of several tokenizers, the nearest below it that this one takes."""
    if request.size is None or not request.others:
        return request.size
    if geometry.size_px is not None and not request.interpolate_positions:
        return geometry.size_px
    return largest_within(geometry, request.size)


def _coders(request: EvaluationRequest, tokenizer: Tokenizer) -> dict[str, LoadedPrior | None]:
    """Returns bitmill's coders: without a prior, and with the one that ``compress`` would use."""
    if request.codecs not in {"bitmill", "all"}:
        return {}
    coders: dict[str, LoadedPrior | None] = {"compressed, no prior": None}
    prior = choose_prior(request.prior, tokenizer.fingerprint)
    return coders if prior is None else coders | {"compressed, prior": prior}


def _spread(sources: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """Returns ``count`` sources, evenly spaced in the listing."""
    if count >= len(sources):
        return sources
    return tuple(sources[i * len(sources) // count] for i in range(count))


def _inapplicable(row: QualityRow, metric_networks: MetricNetworks, size: SizePx) -> list[str]:
    sentences: list[str] = []
    if row.ms_ssim is None:
        sentences.append(f"MS-SSIM: frames of {min(size)} pixels are smaller than its five scales need (161)")
    if metric_networks.clip_features is not None and row.fvd is None:
        sentences.append(f"FVD: it needs two clips of {metric_networks.least_clip_frames} frames or more")
    return sentences


def _report(
    request: EvaluationRequest,
    one: _Candidate,
    measured: Measured,
    left_out: list[str],
    *,
    num_sources: int,
) -> EvaluationReport:
    tokenizer, loaded = one.tokenizer, one.loaded
    return EvaluationReport(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        tokenizer=one.argument,
        tokenizer_fingerprint=tokenizer.fingerprint,
        config=tokenizer.config if isinstance(tokenizer, BSQTokenizer) else loaded.config,
        origin=loaded.origin,
        source=request.source.manifest or ", ".join(request.source.paths or []),
        sources=num_sources,
        ok=measured.ok,
        failures=measured.failures,
        clips=measured.clips,
        frames=measured.frames,
        pixel_rule=NEWEST_PIXEL_RULE,
        rows=measured.rows,
        code=measured.code,
        throughput=measured.throughput,
        left_out=left_out,
        machine={
            "processor": _processor(),
            "cpus": str(available_cpus()),
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("bitmill", "torch", "pillow", "av")},
        },
    )


def _processor() -> str:
    """Returns the CPU's model name, if the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _progress(name: str, done: int, planned: int, started: float) -> str:
    rate = done / max(time.monotonic() - started, 1e-9)
    left = duration_text((planned - done) / rate) if done else "?"
    return f"{name}: {done}/{planned} sources ({rate_text(rate)}/s) · {left} left"
