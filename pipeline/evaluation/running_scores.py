"""Accumulates the scores of one contender: the tokenizer or a codec."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bitmill.bsq_model.metrics.frechet import FeatureStatistics, frechet_distance
from bitmill.bsq_model.metrics.reconstruction_quality import (
    EQUAL_DB,
    MS_SSIM_LEAST_PX,
    ms_ssim,
    psnr_db,
    ssim,
)
from bitmill.schemas.reports.evaluation_report import QualityRow
from bitmill.schemas.requests.training import LPIPS_LEAST_PX

Features = Callable[[Tensor], Tensor]

_SSIM_LEAST_PX = 11


@dataclass(frozen=True, kw_only=True)
class MetricNetworks:
    """The metric networks that are available; None or missing otherwise."""

    lpips: Callable[[Tensor, Tensor], Tensor] | None = None
    """Maps two float [B, H, W, 3] in [−1, 1] to [B]."""
    frame_features: Mapping[str, Features] = field(default_factory=dict[str, Features])
    """By the report's field (``fid``, ``fd_effnetlite0``): float [B, H, W, 3] to [B, D]."""
    clip_features: Features | None = None
    """For ``fvd``: float [B, T, H, W, 3] to [B, D]."""
    class_logits: Callable[[Tensor], Tensor] | None = None
    """Maps the features of ``fid`` to float [B, K], for the Inception score."""
    least_clip_frames: int = 16
    """Shorter clips have no FVD features."""


class FeatureSums:
    """Accumulates feature statistics over the frames and clips of one contender, or of the originals."""

    def __init__(self, metric_networks: MetricNetworks) -> None:
        self._metric_networks = metric_networks
        self.statistics: dict[str, FeatureStatistics] = {}

    def add(self, clip_THWC: Tensor) -> None:
        """Add one clip, floats in [−1, 1]."""
        for name, features in self._metric_networks.frame_features.items():
            self._add(name, features(clip_THWC))
        clips = self._metric_networks.clip_features
        if clips is not None and len(clip_THWC) >= self._metric_networks.least_clip_frames:
            self._add("fvd", clips(clip_THWC[None]))

    def distances(self, originals: "FeatureSums") -> dict[str, float]:
        """Return Fréchet distances to the originals by the report's field, for two or more vectors."""
        return {
            name: frechet_distance(originals.statistics[name], ours)
            for name, ours in self.statistics.items()
            if ours.count > 1
        }

    def join(self, other: "FeatureSums") -> None:
        """Add all clips of another."""
        for name, theirs in other.statistics.items():
            self._of(name, len(theirs.mean)).join(theirs)

    def _add(self, name: str, features_MD: Tensor) -> None:
        self._of(name, features_MD.shape[1]).add(features_MD)

    def _of(self, name: str, num_features: int) -> FeatureStatistics:
        if name not in self.statistics:
            self.statistics[name] = FeatureStatistics(num_features)
        return self.statistics[name]


class Contender:
    """Accumulates scores over clips."""

    def __init__(self, name: str, metric_networks: MetricNetworks, note: str | None = None) -> None:
        self.name = name
        self._metric_networks = metric_networks
        self._note = note
        self._bits = self._pixels = 0.0
        self._psnr: list[Tensor] = []
        self._frames: dict[str, list[Tensor]] = {}
        self._sums = FeatureSums(metric_networks)

    @torch.inference_mode()
    def add(self, original_THWC: Tensor, reconstruction_THWC: Tensor, bits: float) -> float:
        """Add one clip, floats in [−1, 1], coded in ``bits``; return its PSNR in dB."""
        self._bits += bits
        self._pixels += original_THWC.shape[:3].numel()
        score = psnr_db(reconstruction_THWC[None], original_THWC[None])[0].clamp_max(EQUAL_DB)
        self._psnr.append(score.cpu())
        side = min(original_THWC.shape[1:3])
        if side >= _SSIM_LEAST_PX:
            self._note_frames("ssim", ssim(reconstruction_THWC, original_THWC))
        if side >= MS_SSIM_LEAST_PX:
            self._note_frames("ms_ssim", ms_ssim(reconstruction_THWC, original_THWC))
        if self._metric_networks.lpips is not None and side >= LPIPS_LEAST_PX["lpips-alexnet"]:
            self._note_frames("lpips", self._metric_networks.lpips(reconstruction_THWC, original_THWC))
        self._sums.add(reconstruction_THWC)
        return float(score)

    @property
    def num_clips(self) -> int:
        """How many clips were added."""
        return len(self._psnr)

    @torch.inference_mode()
    def join(self, other: "Contender") -> None:
        """Add all clips of another."""
        self._bits += other._bits
        self._pixels += other._pixels
        self._psnr += other._psnr
        for name, values in other._frames.items():
            self._frames.setdefault(name, []).extend(values)
        self._sums.join(other._sums)

    def row(self, originals: FeatureSums) -> QualityRow:
        """Return means over clips and frames, and distances to the originals."""
        return QualityRow(
            name=self.name,
            clips=self.num_clips,
            bits_per_pixel=self._bits / self._pixels,
            psnr_db=float(torch.stack(self._psnr).mean()),
            note=self._note,
            **{name: float(torch.cat(values).mean()) for name, values in self._frames.items()},
            **self._sums.distances(originals),
        )

    def _note_frames(self, name: str, values_T: Tensor) -> None:
        self._frames.setdefault(name, []).append(values_T.double().cpu())
