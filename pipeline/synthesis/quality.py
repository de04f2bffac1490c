"""Measures sampled pictures: Fréchet distances to held-out ones, baselines, and a check for copies.

The same tokenizer decodes all pictures, so that its own loss affects both sides equally. Axes: B pictures, h
and w tokens, D dimensions of a code, or features.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bitmill.bsq_model.contract import Tokenizer, decode_pixels
from bitmill.bsq_model.metrics.frechet import FeatureStatistics, frechet_distance
from bitmill.bsq_model.metrics.inception_score import inception_score
from bitmill.pipeline.evaluation.running_scores import Features, MetricNetworks
from bitmill.pipeline.reading import ClipFilter, TokenDataset

_AT_ONCE = 32
_MOST_LOOKED_AT = 2048


@dataclass(frozen=True, kw_only=True)
class SampleQuality:
    """One row of the quality table."""

    name: str
    distances: dict[str, float]
    """Fréchet distance to the held-out pictures, by feature name."""
    nearest: float
    """Median over pictures of the unit-feature distance to the nearest of 2,048 training pictures."""
    inception_score: float | None = None
    """None without the Inception class logits."""


def single_frames(dataset: str, held_out: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return the first frames of training clips and of held-out clips, [B, h, w, D] each."""
    apart = TokenDataset(dataset, columns=("clip_id",), where=ClipFilter(sources=held_out))
    rest = TokenDataset(dataset, where=ClipFilter(without_clip_ids=[clip["clip_id"] for clip in apart]))
    return torch.stack([c["tokens"][0] for c in rest]), torch.stack([c["tokens"][0] for c in apart])


def independent_dimensions(of_BhwD: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw pictures bit by bit or digit by digit, with each one's frequencies: [count, h, w, D]."""
    if of_BhwD.dtype == torch.bool:
        return torch.rand(count, *of_BhwD.shape[1:], generator=generator) < of_BhwD.float().mean((0, 1, 2))
    rows = torch.randint(of_BhwD[..., 0].numel(), (count, *of_BhwD.shape[1:]), generator=generator)
    return of_BhwD.flatten(0, 2).gather(0, rows.flatten(0, 2)).view(rows.shape)


def order0_tokens(of_BhwD: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw pictures token by token from all tokens of ``of``, independently: [count, h, w, D]."""
    tokens_nD = of_BhwD.flatten(0, 2)
    rows = torch.randint(len(tokens_nD), (count, *of_BhwD.shape[1:3]), generator=generator)
    return tokens_nD[rows]


def judge(
    pictures: dict[str, Tensor],
    training_BhwD: Tensor,
    held_out_BhwD: Tensor,
    tokenizer: Tokenizer,
    metric_networks: MetricNetworks,
) -> list[SampleQuality]:
    """Return a row for each set of sampled pictures, and one for held-out pictures.

    Everything is compared with half of the held-out pictures; the other half is the row that shows the score
    of real pictures.
    """
    chosen = torch.randperm(len(held_out_BhwD), generator=torch.Generator().manual_seed(0))
    half = len(chosen) // 2
    features = dict(metric_networks.frame_features)
    reference = _features(held_out_BhwD[chosen[half:]], tokenizer, features)
    compared = {name: _statistics(vectors_BD) for name, vectors_BD in reference.items()}
    training = _features(_spread(training_BhwD), tokenizer, features)
    rows: list[SampleQuality] = []
    for name, bits in {**pictures, "held out": held_out_BhwD[chosen[:half]]}.items():
        found = _features(bits, tokenizer, features)
        rows.append(
            SampleQuality(
                name=name,
                distances={
                    key: frechet_distance(of, _statistics(found[key])) for key, of in compared.items()
                },
                nearest=_nearest(*(next(iter(x.values())) for x in (found, training))),
                inception_score=_inception_score(found, metric_networks),
            )
        )
    return rows


def _spread(bits_BhwD: Tensor) -> Tensor:
    """Return at most ``_MOST_LOOKED_AT`` pictures, evenly spaced, for the check for copies."""
    step = -(-len(bits_BhwD) // _MOST_LOOKED_AT)
    return bits_BhwD[::step]


def _features(bits_BhwD: Tensor, tokenizer: Tokenizer, features: dict[str, Features]) -> dict[str, Tensor]:
    """Return features by name, [B, D] each."""
    parts: dict[str, list[Tensor]] = {name: [] for name in features}
    for some in _pieces(bits_BhwD):
        grids = [(1, some.shape[1], some.shape[2])] * len(some)
        pixels = torch.cat(decode_pixels(tokenizer, [bits_hwD[None] for bits_hwD in some], grids))
        for name, of in features.items():
            parts[name].append(of(pixels).float().cpu())
    return {name: torch.cat(vectors) for name, vectors in parts.items()}


def _pieces(bits_BhwD: Tensor) -> Iterable[Tensor]:
    return bits_BhwD.split(_AT_ONCE)


def _inception_score(found: dict[str, Tensor], metric_networks: MetricNetworks) -> float | None:
    if metric_networks.class_logits is None:
        return None
    return inception_score(metric_networks.class_logits(found["fid"]))


def _statistics(vectors_BD: Tensor) -> FeatureStatistics:
    statistics = FeatureStatistics(vectors_BD.shape[1])
    statistics.add(vectors_BD)
    return statistics


def _nearest(a_BD: Tensor, of_BD: Tensor) -> float:
    a, of = (torch.nn.functional.normalize(x, dim=1) for x in (a_BD, of_BD))
    return torch.cdist(a, of).amin(1).median().item()
