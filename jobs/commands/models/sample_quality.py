"""``bitmill sample --judge``: measures the quality of a masked model's pictures, next to baselines."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.table import Table

from bitmill.jobs.console import Console
from bitmill.jobs.preparation.models.metric_networks import find_metric_networks
from bitmill.pipeline.synthesis.draw_samples import draw_pictures
from bitmill.pipeline.synthesis.quality import (
    SampleQuality,
    independent_dimensions,
    judge,
    order0_tokens,
    single_frames,
)
from bitmill.schemas.errors import UsageError

if TYPE_CHECKING:
    from bitmill.bsq_model.contract import Tokenizer
    from bitmill.bsq_model.token_models.masked_lm import MaskedLM, SamplingSpec

_LEAST_HELD_OUT = 20


def measure_samples(
    model: "MaskedLM",
    tokenizer: "Tokenizer",
    dataset: str,
    held_out: list[str],
    *,
    spec: "SamplingSpec",
    seed: int,
    inception: Path | None,
    console: Console,
) -> dict[str, Any]:
    """Draw half as many unlabelled pictures as are held out; print the table and return the report."""
    metric_networks, _ = find_metric_networks(inception)
    if not metric_networks.frame_features:
        raise UsageError(
            "--judge needs a feature network: run `bitmill weights fetch efficientnet-lite0`, "
            "or give the Inception file with --inception."
        )
    training, apart = single_frames(dataset, held_out)
    if len(apart) < _LEAST_HELD_OUT or not len(training):
        raise UsageError(
            f"{dataset} has {len(apart)} held-out pictures and {len(training)} others; a distance needs "
            f"at least {_LEAST_HELD_OUT} and one: check --held-out."
        )
    count = len(apart) // 2
    generator = torch.Generator().manual_seed(seed)
    grid = (training.shape[1], training.shape[2])
    dimensions = "bits" if model.config.levels is None else "digits"
    drawn = list(draw_pictures(model, count, grid, spec, label=None, seed=seed))
    pictures = {
        "masked model": torch.stack([codes[0] for codes in drawn]),
        "tokens by their frequency": order0_tokens(training, count, generator),
        f"{dimensions} by their frequency": independent_dimensions(training, count, generator),
    }
    rows = judge(pictures, training, apart, tokenizer, metric_networks)
    _print(rows, count, console)
    return {"pictures": count, "training": len(training), "rows": [asdict(row) for row in rows]}


def _print(rows: list[SampleQuality], count: int, console: Console) -> None:
    table = Table(title=f"{count} pictures each, compared with as many held-out ones")
    names = list(rows[0].distances)
    scored = rows[0].inception_score is not None
    for column in ("pictures", *names, *(["inception_score"] if scored else []), "nearest training picture"):
        table.add_column(column, justify="left" if column == "pictures" else "right")
    for row in rows:
        score = [] if row.inception_score is None else [f"{row.inception_score:.2f}"]
        distances = [f"{row.distances[name]:.2f}" for name in names]
        table.add_row(row.name, *distances, *score, f"{row.nearest:.3f}")
    console.print(table)
