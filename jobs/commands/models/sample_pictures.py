"""``bitmill sample pictures``: draws pictures from a masked model, or fills in parts of one."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from bitmill.jobs.commands.models.sample_files import (
    OutArgument,
    SeedOption,
    SizeOption,
    TemperatureOption,
    TokenizerOption,
    load,
    progress,
    side_px,
    write,
)
from bitmill.jobs.console import Console
from bitmill.jobs.progress.live_line import LiveLine
from bitmill.schemas.counted import counted
from bitmill.schemas.errors import UsageError
from bitmill.schemas.nearest_name import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from bitmill.bsq_model.contract import Tokenizer
    from bitmill.bsq_model.token_models.masked_lm import MaskedLM, SamplingSpec


def sample_pictures(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A masked model's folder.")],
    out: OutArgument,
    tokenizer: TokenizerOption = "small-1",
    count: Annotated[int, typer.Option("--count", min=1, help="Number of pictures.")] = 16,
    size: SizeOption = None,
    label: Annotated[
        str | None, typer.Option("--label", help="The class to draw; default: pictures of any.")
    ] = None,
    guidance: Annotated[
        float, typer.Option("--guidance", min=0, help="With --label: guidance scale; 1 means none.")
    ] = 1.0,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Passes of the model per picture.")] = 12,
    temperature: TemperatureOption = 1.0,
    seed: SeedOption = 0,
    inpaint: Annotated[
        str | None, typer.Option("--inpaint", help="A picture to fill in; default: new pictures.")
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask",
            help="With --inpaint, which needs it: a mask picture, white where to fill in; default: none.",
        ),
    ] = None,
) -> None:
    """Draw pictures from a masked model, or fill in the masked part of a picture."""
    from bitmill.bsq_model.token_models.masked_lm import MaskedLM, SamplingSpec

    console = Console(soft_wrap=True)
    network, shown_by = load(MaskedLM, model, tokenizer, out)
    asked = _Drawing(
        count=count,
        side_px=side_px(shown_by.geometry, size),
        seed=seed,
        label=_label_row(network, label),
        spec=SamplingSpec(steps=steps, temperature=temperature, guidance=guidance),
    )
    if (inpaint is None) != (mask is None):
        raise UsageError(
            "--inpaint and --mask need each other: a picture, and one that is white where to fill it in."
        )
    if inpaint is None or mask is None:
        pictures = _draw(network, shown_by, asked, console)
    else:
        pictures = _inpaint(network, shown_by, asked, inpaint, mask)
    write(pictures, out, fps=1.0)
    console.print(f"wrote {out}: {counted(len(pictures), 'picture')} and sheet.png")


@dataclass(frozen=True, kw_only=True)
class _Drawing:
    count: int
    side_px: int
    seed: int
    label: int | None
    """Row of the model's table of labels; None: no label."""
    spec: "SamplingSpec"


def _label_row(model: "MaskedLM", label: str | None) -> int | None:
    labels = model.label_names
    if label is None:
        return None
    if label not in labels:
        known = ", ".join(labels) if labels else "none"
        raise UsageError(f"--label {label}{did_you_mean(label, labels)}: the model knows {known}.")
    return labels.index(label) + 1


def _draw(model: "MaskedLM", tokenizer: "Tokenizer", asked: _Drawing, console: Console) -> "list[Tensor]":
    from bitmill.pipeline.synthesis.draw_samples import draw_pictures

    grid = tokenizer.geometry.grid(asked.side_px, asked.side_px)
    pictures: list[Tensor] = []
    with LiveLine(console) as line:
        for codes in draw_pictures(model, asked.count, grid, asked.spec, label=asked.label, seed=asked.seed):
            pictures += tokenizer.decode([codes])
            line.show(partial(progress, len(pictures), asked.count))
    return pictures


def _inpaint(
    model: "MaskedLM", tokenizer: "Tokenizer", asked: _Drawing, picture: str, mask: str
) -> "list[Tensor]":
    from bitmill.pipeline.synthesis.draw_samples import fill_in
    from bitmill.pipeline.synthesis.load_frames import frames_of, hidden_tokens

    frames_THWC = frames_of(picture, asked.side_px, most_frames=1, fps=None)
    mask_THWC = frames_of(mask, asked.side_px, most_frames=1, fps=None)
    hidden_Thw = hidden_tokens(mask_THWC, tokenizer.geometry.patch_px)
    if not bool(hidden_Thw.any()):
        raise UsageError(f"--mask {mask} has no white pixels: there is nothing to fill in.")
    codes_ThwD = tokenizer.encode([frames_THWC])[0]
    return tokenizer.decode(
        fill_in(model, codes_ThwD, hidden_Thw, asked.count, asked.spec, label=asked.label, seed=asked.seed)
    )
