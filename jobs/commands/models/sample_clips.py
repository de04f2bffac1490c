"""``bitmill sample clips``: draws clips from a prior, or continues one from given frames."""

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

if TYPE_CHECKING:
    from torch import Tensor

    from bitmill.schemas.models.geometry import Geometry

_PLAYED_FPS = 8.0


def sample_clips(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A prior's folder, or a bundled prior (small-1).")
    ],
    out: OutArgument,
    tokenizer: TokenizerOption = "small-1",
    count: Annotated[int, typer.Option("--count", min=1, help="Number of clips.")] = 16,
    size: SizeOption = None,
    frames: Annotated[int, typer.Option("--frames", min=1, help="Frames to draw per clip.")] = 4,
    continue_: Annotated[
        str | None,
        typer.Option("--continue", help="An image or video to continue; default: clips from nothing."),
    ] = None,
    given: Annotated[
        int, typer.Option("--given", min=1, help="With --continue: frames used as context.")
    ] = 4,
    fps: Annotated[
        float | None,
        typer.Option(
            "--fps",
            help="Sampled frames per second of the --continue video, at which clips are written; default: "
            f"every frame, written at {_PLAYED_FPS:g} per second.",
        ),
    ] = None,
    temperature: TemperatureOption = 1.0,
    seed: SeedOption = 0,
) -> None:
    """Draw clips from a prior: from nothing, or as continuations of an image or video."""
    import torch

    from bitmill.bsq_model.token_models.prior import Prior
    from bitmill.bsq_model.token_models.token_layers import no_codes
    from bitmill.pipeline.synthesis.draw_samples import go_on
    from bitmill.pipeline.synthesis.load_frames import frames_of

    console = Console(soft_wrap=True)
    network, shown_by = load(Prior, model, tokenizer, out)
    geometry = shown_by.geometry
    size_px = side_px(geometry, size)
    if geometry.frames_per_token != 1:
        raise UsageError("sample draws clips for tokenizers with one frame per token alone.")
    given_ThwD = no_codes(network.config, 0, *geometry.grid(size_px, size_px))
    if continue_ is not None:
        context_THWC = frames_of(continue_, size_px, most_frames=given, fps=fps)
        given_ThwD = shown_by.encode([context_THWC])[0].cpu()
    _check_length(geometry, len(given_ThwD), frames)
    done = 0
    with LiveLine(console) as line:

        def count_frames(num_frames: int) -> None:
            nonlocal done
            done += num_frames
            line.show(partial(progress, done, frames))

        drawn = go_on(
            network, given_ThwD, frames, count, temperature=temperature, seed=seed, on_frames=count_frames
        )
    clips: list[Tensor] = [shown_by.decode([torch.cat([given_ThwD, codes_ThwD])])[0] for codes_ThwD in drawn]
    write(clips, out, fps=fps or _PLAYED_FPS)
    noun = "clip" if len(clips[0]) > 1 else "picture"
    console.print(f"wrote {out}: {counted(len(clips), noun)} and sheet.png")


def _check_length(geometry: "Geometry", given: int, drawn: int) -> None:
    most = geometry.most_frames
    if most is not None and given + drawn > most:
        raise UsageError(
            f"{given} given and {drawn} drawn frames are more than the {most} that the tokenizer supports "
            "per clip; lower --given or --frames."
        )
