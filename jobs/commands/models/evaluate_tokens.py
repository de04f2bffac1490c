"""``bitmill evaluate-tokens``: measures the cost of clips in bits under a token model and baselines."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from bitmill.jobs.console import Console
from bitmill.jobs.preparation.file_arguments import out_file
from bitmill.jobs.progress.progress_text import tokenized_text
from bitmill.schemas.counted import counted
from bitmill.schemas.staged_file import write_staged

if TYPE_CHECKING:
    from bitmill.pipeline.token_training.clip_costs import TokenCosts
    from bitmill.schemas.models.token_model_config import TokenModelConfig


def evaluate_tokens(
    model: Annotated[
        str, typer.Argument(help="A token model's folder, or a bundled prior (small-1, small).")
    ],
    dataset: Annotated[str, typer.Argument(help="A dataset folder made by the model's tokenizer.")],
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source", help="Only clips of sources that match this pattern; * also matches /; repeatable."
        ),
    ] = None,
    frames: Annotated[
        int, typer.Option("--frames", min=1, help="Cut longer clips into pieces of this many frames.")
    ] = 16,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", parser=out_file, help="JSON file to write the results to; default: only print."
        ),
    ] = None,
) -> None:
    """Measure a token model in bits per token, next to order 0, independent bits and zstd."""
    import torch

    from bitmill.bsq_model.token_models.token_model_files import token_model_fingerprint
    from bitmill.jobs.preparation.models.find_token_models import find_token_model
    from bitmill.pipeline.token_training.clip_costs import evaluate_tokens as measure

    console = Console(soft_wrap=True)
    loaded = find_token_model(model)
    with console.status("0 clips") as status:
        costs = measure(
            loaded,
            dataset,
            sources=tuple(source or ()),
            most_frames=frames,
            device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
            on_progress=lambda clips, of: status.update(f"{clips:,} of {counted(of, 'clip')}"),
        )
    console.print(_table(costs, loaded.config))
    if out is not None:
        named = {"model_fingerprint": token_model_fingerprint(loaded), "dataset": dataset, **asdict(costs)}
        out.parent.mkdir(parents=True, exist_ok=True)
        write_staged(out, (json.dumps(named, indent=2) + "\n").encode())
        console.print(f"report  {out}")


def _table(costs: "TokenCosts", config: "TokenModelConfig") -> Table:
    is_bits = config.levels is None
    groups = f"groups of {config.group_bits}" if is_bits else "digits"
    table = Table(title=tokenized_text(costs.clips, costs.frames, costs.tokens))
    table.add_column("coder")
    table.add_column("bits/token", justify="right")
    table.add_column("of stored", justify="right")
    for name, bits in (
        ("stored", float(costs.bits_per_token)),
        ("zstd -19, packed codes", costs.zstd),
        (f"independent {'bits' if is_bits else 'digits'}", costs.independent_bits),
        (f"order 0, {groups}, adaptive", costs.adaptive_groups),
        (f"order 0, {groups}, its table for free", costs.static_groups),
        (config.kind, costs.model),
    ):
        table.add_row(name, f"{bits:.3f}", f"{bits / costs.bits_per_token:.1%}")
    return table
