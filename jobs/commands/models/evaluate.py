"""``bitmill evaluate``: measures a tokenizer on given media; writes a table, a report and pictures."""

import datetime
import platform
import time
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from bitmill.bsq_model import BSQTokenizer
from bitmill.bsq_model.contract import Tokenizer
from bitmill.bsq_model.families import load_files
from bitmill.bsq_model.resolution import interpolating, resize_tokenizer
from bitmill.jobs.console import Console
from bitmill.jobs.preparation.models.find_frame_sizes import option_size, size_text
from bitmill.jobs.preparation.models.find_token_models import choose_prior
from bitmill.jobs.preparation.models.find_tokenizers import (
    LoadedTokenizer,
    check_clip_frames,
    load_tokenizer_spec,
    tokenizer_spec,
)
from bitmill.jobs.preparation.models.metric_networks import find_metric_networks
from bitmill.jobs.progress.live_line import LiveLine
from bitmill.jobs.progress.units import duration_text
from bitmill.pipeline.compressing.clip_streams import LoadedPrior
from bitmill.pipeline.cpu_count import available_cpus
from bitmill.pipeline.decode.pixels.frame_sizes import Buckets
from bitmill.pipeline.evaluation.comparison_sheet import write_sheet
from bitmill.pipeline.evaluation.run_evaluation import Measured, evaluate
from bitmill.pipeline.evaluation.running_scores import MetricNetworks
from bitmill.pipeline.isolation.source_events import DecodeSettings
from bitmill.pipeline.sources.listing import find_sources, refuse_archives
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.any_tokenizer_config import TokenizerConfigOfAnyFamily
from bitmill.schemas.models.geometry import SizePx
from bitmill.schemas.models.plugin_config import PluginConfig
from bitmill.schemas.models.tokenizer_config import TokenizerConfig
from bitmill.schemas.reports.evaluation_report import EvaluationReport, QualityRow
from bitmill.schemas.requests.frames import NEWEST_PIXEL_RULE
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec, SourceSpec
from bitmill.schemas.staged_file import write_staged

REPORT_FILE, SHEET_FILE = "report.json", "pictures.png"


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """The parsed command line."""

    tokenizer: str
    source: SourceSpec
    out: Path
    fps: float | None
    clip_frames: int | None
    size: SizePx | None
    """Height, width."""
    interpolate_positions: bool
    max_items: int | None
    inception: Path | None
    with_codecs: bool
    with_codec: bool
    prior: str | None
    num_shown: int


def evaluate_job(request: EvaluationRequest, console: Console) -> bool:
    """Measure, print the table, write report and pictures. Returns whether every source was fully read."""
    loaded, tokenizer, size = _tokenizer(request)
    geometry = tokenizer.geometry
    metric_networks, left_out = find_metric_networks(request.inception)
    sources = find_sources(request.source).sources
    refuse_archives(sources, purpose="evaluation")
    if request.max_items is not None:
        sources = _spread(sources, request.max_items)
    clip_frames = request.clip_frames or geometry.usual_frames
    check_clip_frames(geometry, clip_frames, option="--clip-frames")
    settings = DecodeSettings(
        sampling=SamplingSpec(fps=request.fps, clip_frames=clip_frames),
        limits=LimitsSpec(),
        sizes=Buckets((size,)),
        pixel_rule=NEWEST_PIXEL_RULE,
    )
    coders = _coders(request, tokenizer)
    request.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with LiveLine(console) as line:
        measured = evaluate(
            tokenizer,
            sources,
            settings,
            metric_networks,
            name=_family(loaded.config),
            with_codecs=request.with_codecs,
            num_shown=request.num_shown,
            on_progress=lambda done: line.show(partial(_progress, done, len(sources), started)),
            coders=coders,
        )
    left_out += _inapplicable(measured.rows[0], metric_networks, size)
    report = _report(request, loaded, tokenizer, measured, left_out, num_sources=len(sources))
    _write(report, measured, request.out)
    _print(report, console)
    console.print(f"report     {request.out / REPORT_FILE}", soft_wrap=True)
    return measured.ok == len(sources)


def _tokenizer(request: EvaluationRequest) -> tuple[LoadedTokenizer, Tokenizer, SizePx]:
    """Returns the tokenizer on its device, in float32, and the size of its frames."""
    loaded = load_tokenizer_spec(tokenizer_spec(request.tokenizer))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if not isinstance(loaded.config, TokenizerConfig) or loaded.config.positions == "interpolate":
        size = option_size(loaded.geometry, request.size)
        tokenizer = load_files(loaded.files)
        tokenizer.to(device=device, dtype=torch.float32)
        return loaded, tokenizer, size
    own_px = loaded.config.image_size_px
    size = request.size or (own_px, own_px)
    if size != (own_px, own_px) and not request.interpolate_positions:
        raise UsageError(
            f"--size {size_text(size)} is not the tokenizer's size "
            f"({own_px}); add --interpolate-positions to allow it."
        )
    if size[0] == size[1]:
        return loaded, resize_tokenizer(loaded.bsq_vit(), size[0]).to(device), size
    tokenizer = interpolating(loaded.bsq_vit()).to(device)
    return loaded, tokenizer, option_size(tokenizer.geometry, size)


def _family(config: TokenizerConfigOfAnyFamily) -> str:
    if isinstance(config, TokenizerConfig):
        return "BSQ-ViT"
    return config.plugin if isinstance(config, PluginConfig) else config.architecture


def _coders(request: EvaluationRequest, tokenizer: Tokenizer) -> dict[str, LoadedPrior | None]:
    """Returns the coders for ``--codec``: without a prior, and with the one that ``compress`` would use."""
    if not request.with_codec:
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
    loaded: LoadedTokenizer,
    tokenizer: Tokenizer,
    measured: Measured,
    left_out: list[str],
    *,
    num_sources: int,
) -> EvaluationReport:
    return EvaluationReport(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        tokenizer=request.tokenizer,
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


def _write(report: EvaluationReport, measured: Measured, out: Path) -> None:
    if measured.shown:
        write_sheet(measured.shown, out / SHEET_FILE)
    write_staged(out / REPORT_FILE, (report.model_dump_json(indent=2) + "\n").encode())


_COLUMNS = {
    "bits_per_pixel": ("bit/pixel", "{:.3f}"),
    "psnr_db": ("PSNR dB", "{:.2f}"),
    "ssim": ("SSIM", "{:.4f}"),
    "ms_ssim": ("MS-SSIM", "{:.4f}"),
    "lpips": ("LPIPS", "{:.4f}"),
    "fid": ("FID", "{:.2f}"),
    "fd_effnetlite0": ("FD-EffNetLite0", "{:.2f}"),
    "fvd": ("FVD", "{:.1f}"),
}


def _print(report: EvaluationReport, console: Console) -> None:
    shown = [name for name in _COLUMNS if any(getattr(row, name) is not None for row in report.rows)]
    table = Table("", *(_COLUMNS[name][0] for name in shown), box=None, pad_edge=False)
    for row in report.rows:
        values = [getattr(row, name) for name in shown]
        texts = [
            _COLUMNS[name][1].format(value) if value is not None else "–"
            for name, value in zip(shown, values, strict=True)
        ]
        table.add_row(row.name, *texts)
    console.print(table)
    say = partial(console.print, soft_wrap=True)
    code = report.code
    say(
        f"sources    {report.sources}: {report.ok} ok, {len(report.failures)} not ok; "
        f"{report.clips} clips, {report.frames} frames"
    )
    for failed in report.failures:
        say(f"  {failed.outcome} {failed.uri}: {failed.reason}: {failed.detail}")
    say(
        f"{report.config.geometry.code.kind:<11}"
        f"weakest {code.weakest_bit:.3f}, mean {code.mean_bit:.3f} of 1; "
        f"{code.used_codes:,} codes in {code.tokens:,} tokens, {code.code_entropy_bits:.2f} bits per token"
    )
    if report.throughput is not None:
        speed = report.throughput
        say(
            f"speed      encode {speed.encode_frames_per_s:.1f}, reconstruct "
            f"{speed.reconstruct_frames_per_s:.1f} frames/s on {speed.device}, {speed.threads} threads"
        )
    for sentence in report.left_out:
        say(f"left out   {sentence}")
    if report.origin is not None and report.origin.note is not None:
        say(f"note       {report.origin.note}")


def _progress(done: int, planned: int, started: float) -> str:
    rate = done / max(time.monotonic() - started, 1e-9)
    left = duration_text((planned - done) / rate) if done else "?"
    return f"{done}/{planned} sources ({rate:.1f}/s) · {left} left"
