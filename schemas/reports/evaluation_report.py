"""``report.json`` of ``bitmill evaluate``: results, inputs and metric definitions."""

from typing import Literal

from pydantic import Field

from bitmill.schemas.models.any_tokenizer_config import AnyTokenizerConfig
from bitmill.schemas.models.tokenizer_origin import TokenizerOrigin
from bitmill.schemas.strict_model import StrictModel

EVALUATION_FORMAT_VERSION = 1

DEFINITIONS = {
    "psnr_db": "10·log10(255²/MSE) of a whole clip, all channels, output clamped and not rounded; mean "
    "over clips. A clip that is equal counts as 100 dB.",
    "ssim": "11×11 Gaussian window, σ 1.5, inside the picture only; mean over frames",
    "ms_ssim": "five scales, same window; mean over frames; from 161 pixels",
    "lpips": "LPIPS v0.1 with AlexNet on [-1, 1]; mean over frames; from 31 pixels",
    "fid": "Fréchet distance on the FID Inception's 2048 features of the frames, weights as named",
    "fd_effnetlite0": "Fréchet distance on EfficientNet-Lite0's pooled features of the frames; not FID",
    "fvd": "Fréchet distance on I3D (Kinetics-400) logits of the clips; the network's weights were not "
    "compared with the original's outputs",
    "bits_per_pixel": "bits of the codes over pixels of the frames; of a codec the bytes that count, of "
    "compressed streams those of whole files",
}


class FailedSource(StrictModel):
    """A source that could not be measured (fully)."""

    uri: str
    outcome: Literal["partial", "failed"]
    reason: str
    detail: str


class QualityRow(StrictModel):
    """One contender; a metric that does not apply, or whose network is missing, is None."""

    name: str
    clips: int | None = None
    """How many clips and pictures it is of; older reports do not tell."""
    bits_per_pixel: float
    psnr_db: float
    ssim: float | None = None
    ms_ssim: float | None = None
    lpips: float | None = None
    fid: float | None = None
    fd_effnetlite0: float | None = None
    fvd: float | None = None
    note: str | None = None


class CodeHealth(StrictModel):
    """Statistics of code usage over all measured tokens."""

    tokens: int
    bit_entropies: list[float]
    """In bits, one value per dimension of a code, dimension 0 first: its bits, its digits, or the index."""
    weakest_bit: float
    """The least entropy of a dimension, as a share of the largest that it could have."""
    mean_bit: float
    used_codes: int
    """Number of distinct codes."""
    code_entropy_bits: float
    """Entropy of the code distribution; at most log2(tokens)."""


class Throughput(StrictModel):
    """Frames per second of the model alone, clip by clip, without the first; not a benchmark."""

    encode_frames_per_s: float
    reconstruct_frames_per_s: float
    device: str
    threads: int


class EvaluationReport(StrictModel):
    """The whole report."""

    format_version: Literal[1] = EVALUATION_FORMAT_VERSION
    created: str
    """UTC, ISO 8601."""
    tokenizer: str
    tokenizer_fingerprint: str
    config: AnyTokenizerConfig
    origin: TokenizerOrigin | None = None
    """Where the weights are from, and whether imported ones were compared with the published code."""
    source: str
    sources: int
    ok: int
    failures: list[FailedSource]
    clips: int
    frames: int
    pixel_rule: int = 1
    """Of videos; reports from before it had a number do not tell it."""
    rows: list[QualityRow]
    code: CodeHealth
    throughput: Throughput | None
    left_out: list[str]
    """Sentences: which metrics are missing, and why."""
    definitions: dict[str, str] = Field(default_factory=lambda: dict(DEFINITIONS))
    machine: dict[str, str]
