"""Evaluates a tokenizer: computes a report's metrics and keeps some pictures, in bounded memory."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor

from bitmill.bsq_model.contract import Tokenizer, decode_pixels, device_of
from bitmill.bsq_model.layers.patches import pixels_from_uint8, uint8_from_pixels
from bitmill.bsq_model.metrics.codes import CodeCounts
from bitmill.pipeline.compressing.clip_streams import LoadedPrior
from bitmill.pipeline.evaluation.codecs import CODECS, code_at
from bitmill.pipeline.evaluation.running_scores import Contender, FeatureSums, MetricNetworks
from bitmill.pipeline.evaluation.stream_sizes import CompressedSizes
from bitmill.pipeline.isolation.decode_process import isolated_sources
from bitmill.pipeline.isolation.source_events import DecodeSettings
from bitmill.pipeline.items import DecodedClip, ItemEnd
from bitmill.pipeline.shard.pad_clips import padded
from bitmill.schemas.arrays import Picture
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import UsageError
from bitmill.schemas.outcomes import Outcome
from bitmill.schemas.reports.evaluation_report import CodeHealth, FailedSource, QualityRow, Throughput


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One frame kept for the sheet: the original and each contender's reconstruction."""

    label: str
    original: Picture
    made: dict[str, tuple[Picture, float]]
    """By contender name: (picture, PSNR of its clip in dB)."""


@dataclass(kw_only=True)
class Measured:
    """The results of an evaluation."""

    rows: list[QualityRow]
    code: CodeHealth
    throughput: Throughput | None
    failures: list[FailedSource]
    ok: int
    clips: int
    pictures: int
    """Clips of one frame."""
    frames: int
    shown: list[Shown]


@dataclass
class _Clock:
    """Seconds of encoding and decoding, without the first clip."""

    frames: int = 0
    encode_s: float = 0.0
    decode_s: float = 0.0


@dataclass
class _State:
    pictures: Contender
    """The tokenizer on clips of one frame, which are what codecs encode."""
    videos: Contender
    """The tokenizer on longer clips."""
    codecs: list[Contender]
    original_pictures: FeatureSums
    original_videos: FeatureSums
    codes: CodeCounts
    compressed: list[CompressedSizes]
    clock: _Clock = field(default_factory=_Clock)
    failures: list[FailedSource] = field(default_factory=list[FailedSource])
    shown: list[Shown] = field(default_factory=list[Shown])
    ok: int = 0
    clips: int = 0
    frames: int = 0


def evaluate(
    tokenizer: Tokenizer,
    sources: Sequence[PlannedSource],
    settings: DecodeSettings,
    metric_networks: MetricNetworks,
    *,
    name: str,
    with_codecs: bool,
    num_shown: int,
    on_progress: Callable[[int], None],
    coders: Mapping[str, LoadedPrior | None] = MappingProxyType({}),
) -> Measured:
    """Encode, decode and measure every clip of every source, cut and padded as by ``tokenize``.

    ``name`` is that of the tokenizer's row.
    Codecs run only on single pictures, because longer clips need a video codec; if there are both, a second
    row of the tokenizer is of the pictures alone. ``on_progress`` receives the
    number of sources done. ``coders`` maps row names to priors (None: no prior); each adds a row with the
    size that ``compress`` reaches with it. Raises UsageError if no source yields a clip.
    """
    codecs = (
        [Contender(codec.name, metric_networks, codec.counted) for codec in CODECS] if with_codecs else []
    )
    state = _State(
        Contender(f"{name}, pictures", metric_networks),
        Contender(name, metric_networks),
        codecs,
        FeatureSums(metric_networks),
        FeatureSums(metric_networks),
        CodeCounts(tokenizer.geometry.code),
        [CompressedSizes(name, tokenizer, prior) for name, prior in coders.items()],
    )
    show_every = max(1, len(sources) // max(num_shown, 1))
    done = clips_of_source = 0
    for source, event in isolated_sources(sources, settings):
        if isinstance(event, DecodedClip):
            show = clips_of_source == 0 and done % show_every == 0 and len(state.shown) < num_shown
            _measure(state, tokenizer, source, event, show=show)
            clips_of_source += 1
        else:
            _note_end(state, source, event, clips_of_source)
            for sizes in state.compressed:
                sizes.end_source()
            done, clips_of_source = done + 1, 0
            on_progress(done)
    if not state.clips:
        raise UsageError("No source yielded a picture or a clip; " + _first_failures(state.failures))
    return _result(state, tokenizer)


def _measure(
    state: _State, tokenizer: Tokenizer, source: PlannedSource, clip: DecodedClip, *, show: bool
) -> None:
    frames_THWC, geometry = torch.from_numpy(clip.frames_THWC), tokenizer.geometry
    given_THWC = torch.from_numpy(padded(clip.frames_THWC, geometry))
    started = time.monotonic()
    codes_thwD = tokenizer.encode([given_THWC])[0]
    _await(codes_thwD)
    encoded = time.monotonic()
    grid = geometry.token_rows(len(given_THWC)), *geometry.grid(*given_THWC.shape[1:3])
    reconstruction_THWC = decode_pixels(tokenizer, [codes_thwD], [grid])[0][: len(frames_THWC)]
    _await(reconstruction_THWC)
    decoded = time.monotonic()
    if state.clips:
        state.clock.frames += len(frames_THWC)
        state.clock.encode_s += encoded - started
        state.clock.decode_s += decoded - encoded
    state.clips += 1
    state.frames += len(frames_THWC)
    state.codes.add(codes_thwD)
    for sizes in state.compressed:
        sizes.add(clip, codes_thwD.cpu().numpy())
    original_THWC = pixels_from_uint8(frames_THWC.to(reconstruction_THWC.device), torch.float32)
    is_picture = len(frames_THWC) == 1
    (state.original_pictures if is_picture else state.original_videos).add(original_THWC)
    contender = state.pictures if is_picture else state.videos
    code = geometry.code
    num_bits = codes_thwD.numel() // code.dimensions * code.bits_per_token
    score = contender.add(original_THWC, reconstruction_THWC, num_bits)
    made = {state.videos.name: (uint8_from_pixels(reconstruction_THWC[0]).cpu().numpy(), score)}
    if state.codecs and is_picture:
        budget_bytes = num_bits // 8
        for codec, contender in zip(CODECS, state.codecs, strict=True):
            coded = code_at(codec, clip.frames_THWC[0], budget_bytes)
            pixels = pixels_from_uint8(torch.from_numpy(coded.picture.copy())[None], torch.float32)
            score = contender.add(original_THWC, pixels.to(original_THWC.device), coded.num_bytes * 8)
            made[codec.name] = (coded.picture, score)
    if show:
        label = source.uri.rsplit("/", 1)[-1]
        state.shown.append(Shown(label=label, original=clip.frames_THWC[0].copy(), made=made))


def _await(x: Tensor) -> None:
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)


def _note_end(state: _State, source: PlannedSource, end: ItemEnd, num_clips: int) -> None:
    outcome = end.outcome(num_clips)
    if outcome is Outcome.OK:
        state.ok += 1
        return
    failed = FailedSource(
        uri=source.uri,
        outcome="partial" if outcome is Outcome.PARTIAL else "failed",
        reason=end.reason.value if end.reason is not None else "",
        detail=end.detail or "",
    )
    state.failures.append(failed)


def _result(state: _State, tokenizer: Tokenizer) -> Measured:
    entropies, shares = state.codes.entropies, state.codes.shares
    clock = state.clock
    throughput = None
    if clock.frames:
        throughput = Throughput(
            encode_frames_per_s=clock.frames / clock.encode_s,
            reconstruct_frames_per_s=clock.frames / (clock.encode_s + clock.decode_s),
            device=str(device_of(tokenizer)),
            threads=torch.get_num_threads(),
        )
    pictures = state.pictures.num_clips
    return Measured(
        rows=_rows(state),
        pictures=pictures,
        code=CodeHealth(
            tokens=state.codes.num_tokens,
            bit_entropies=entropies.tolist(),
            weakest_bit=float(shares.min()),
            mean_bit=float(shares.mean()),
            used_codes=state.codes.used_codes,
            code_entropy_bits=state.codes.code_entropy_bits,
        ),
        throughput=throughput,
        failures=state.failures,
        ok=state.ok,
        clips=state.clips,
        frames=state.frames,
        shown=state.shown,
    )


def _rows(state: _State) -> list[QualityRow]:
    """Returns the tokenizer's row, those of its streams, the codecs' and its own of the same pictures."""
    coded = [codec.row(state.original_pictures) for codec in state.codecs if codec.num_clips]
    if coded and state.videos.num_clips:
        coded.insert(0, state.pictures.row(state.original_pictures))
    state.videos.join(state.pictures)
    state.original_videos.join(state.original_pictures)
    own = state.videos.row(state.original_videos)
    return [own, *(sizes.row(own) for sizes in state.compressed), *coded]


def _first_failures(failures: Sequence[FailedSource]) -> str:
    first = [f"{failed.uri}: {failed.reason}" for failed in failures[:3]]
    return "; ".join(first) + "." if first else "the source is empty."
