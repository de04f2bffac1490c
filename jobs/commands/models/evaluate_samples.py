"""``bitmill evaluate-samples``: measures the quality of a masked model's pictures, next to baselines."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from bitmill.jobs.commands.models.sample_files import SeedOption, TemperatureOption, TokenizerOption
from bitmill.jobs.console import Console
from bitmill.jobs.preparation.file_arguments import local_path, out_file
from bitmill.schemas.errors import UsageError
from bitmill.schemas.staged_file import write_staged

if TYPE_CHECKING:
    from torch import Tensor

    from bitmill.bsq_model.token_models.masked_lm import MaskedLM, SamplingSpec
    from bitmill.pipeline.synthesis.quality import SampleQuality

_LEAST_HELD_OUT = 20


def evaluate_samples(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A masked model's folder.")],
    dataset: Annotated[str, typer.Argument(help="A dataset folder made by the model's tokenizer.")],
    held_out: Annotated[
        list[str],
        typer.Option(
            "--held-out",
            help="Patterns of the sources that the model was not trained on; * also matches /; repeatable.",
        ),
    ],
    tokenizer: TokenizerOption = "small-1",
    steps: Annotated[int, typer.Option("--steps", min=1, help="Passes of the model per picture.")] = 12,
    temperature: TemperatureOption = 1.0,
    seed: SeedOption = 0,
    inception: Annotated[
        Path | None,
        typer.Option(
            "--inception",
            parser=local_path,
            help="Weights file of the FID Inception network; default: no FID and Inception score.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", parser=out_file, help="JSON file to write the results to; default: only print."
        ),
    ] = None,
) -> None:
    """Compare a masked model's pictures with half of a dataset's held-out ones: Fréchet distances, copies.

    It draws as many pictures as that half has, without labels.
    """
    from bitmill.bsq_model.token_models.masked_lm import MaskedLM, SamplingSpec
    from bitmill.bsq_model.token_models.token_model_files import token_model_fingerprint
    from bitmill.jobs.preparation.models.find_token_models import load_with_tokenizer
    from bitmill.jobs.preparation.models.metric_networks import find_metric_networks
    from bitmill.pipeline.synthesis.quality import judge

    console = Console(soft_wrap=True)
    training, apart = _pictures(dataset, held_out)
    network, shown_by = load_with_tokenizer(model, tokenizer)
    if not isinstance(network, MaskedLM):
        raise UsageError(f"{model} is no masked model but a {network.config.kind}: use evaluate-tokens.")
    metric_networks, _ = find_metric_networks(inception)
    if not metric_networks.frame_features:
        raise UsageError(
            "A feature network is needed: run `bitmill weights fetch efficientnet-lite0`, "
            "or give the Inception file with --inception."
        )
    spec = SamplingSpec(steps=steps, temperature=temperature)
    count = len(apart) // 2
    drawn = _draw(network, training, count, spec=spec, seed=seed)
    rows = judge(drawn, training, apart, shown_by, metric_networks)
    _print(rows, count, console)
    if out is not None:
        report = {
            "model_fingerprint": token_model_fingerprint(network),
            "dataset": dataset,
            "pictures": count,
            "training": len(training),
            "rows": [asdict(row) for row in rows],
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        write_staged(out, (json.dumps(report, indent=2) + "\n").encode())
        console.print(f"report  {out}")


def _pictures(dataset: str, held_out: list[str]) -> "tuple[Tensor, Tensor]":
    """Returns the codes of training pictures and of held-out ones."""
    from bitmill.pipeline.synthesis.quality import single_frames

    training, apart = single_frames(dataset, held_out)
    if len(apart) < _LEAST_HELD_OUT or not len(training):
        raise UsageError(
            f"{dataset} has {len(apart)} held-out pictures and {len(training)} others; a distance needs "
            f"at least {_LEAST_HELD_OUT} and one: check --held-out."
        )
    return training, apart


def _draw(
    model: "MaskedLM", training: "Tensor", count: int, *, spec: "SamplingSpec", seed: int
) -> "dict[str, Tensor]":
    """Returns the codes of ``count`` pictures by the model and by each simpler rule."""
    import torch

    from bitmill.pipeline.synthesis.draw_samples import draw_pictures
    from bitmill.pipeline.synthesis.quality import independent_dimensions, order0_tokens

    generator = torch.Generator().manual_seed(seed)
    grid = (training.shape[1], training.shape[2])
    dimensions = "bits" if model.config.levels is None else "digits"
    drawn = list(draw_pictures(model, count, grid, spec, label=None, seed=seed))
    return {
        "masked model": torch.stack([codes[0] for codes in drawn]),
        "tokens by their frequency": order0_tokens(training, count, generator),
        f"{dimensions} by their frequency": independent_dimensions(training, count, generator),
    }


def _print(rows: "list[SampleQuality]", count: int, console: Console) -> None:
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
