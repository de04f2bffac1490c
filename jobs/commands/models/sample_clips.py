"""``bitmill sample clips``: draws clips from a prior, or continues one from given frames."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from bitmill.jobs.commands.models.sample_files import (
    OutArgument,
    SeedOption,
    SizeOption,
    TemperatureOption,
    load,
    progress,
    side_px,
    write,
)
from bitmill.jobs.console import Console
from bitmill.jobs.preparation.job_files import frame_rate
from bitmill.jobs.preparation.models.find_token_models import bundled_tokenizer_of
from bitmill.jobs.progress.live_line import LiveLine
from bitmill.schemas.counted import counted
from bitmill.schemas.errors import UsageError
from bitmill.schemas.requests.job import MOST_CLIP_FRAMES

if TYPE_CHECKING:
    from torch import Tensor

    from bitmill.schemas.models.geometry import Geometry

_PLAYED_FPS = 8.0


def sample_clips(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A prior's folder, or a bundled prior (small-1, small).")
    ],
    out: OutArgument,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            help="The prior's tokenizer: small-1 or small (bundled), a folder, or a plugin; default: "
            "a bundled prior's own, else small-1.",
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Number of clips.")] = 16,
    size: SizeOption = None,
    frames: Annotated[int, typer.Option("--frames", min=1, help="Frames to draw per clip.")] = 4,
    continue_: Annotated[
        str | None,
        typer.Option("--continue", help="An image or video to continue; default: clips from nothing."),
    ] = None,
    given: Annotated[
        int,
        typer.Option(
            "--given",
            min=1,
            max=MOST_CLIP_FRAMES,
            help="With --continue: frames used as context; fewer if the tokenizer takes no clip of so many.",
        ),
    ] = 4,
    fps: Annotated[
        float | None,
        typer.Option(
            "--fps",
            callback=frame_rate,
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
    network, shown_by = load(Prior, model, tokenizer or bundled_tokenizer_of(model), out)
    geometry = shown_by.geometry
    size_px = side_px(geometry, size)
    num_given = 0
    given_thwD = no_codes(network.config, 0, *geometry.grid(size_px, size_px))
    if continue_ is not None:
        context_THWC = frames_of(continue_, size_px, most_frames=given, fps=fps)
        num_given = _legal_given(geometry, len(context_THWC))
        given_thwD = shown_by.encode([context_THWC[:num_given]])[0].cpu()
    num_rows = _total_rows(geometry, num_given, frames) - len(given_thwD)
    done = 0
    with LiveLine(console) as line:

        def count_rows(num_drawn: int) -> None:
            nonlocal done
            done += num_drawn
            line.show(partial(progress, done, num_rows))

        drawn = go_on(
            network, given_thwD, num_rows, count, temperature=temperature, seed=seed, on_rows=count_rows
        )
    # The last row's frames may be more than were asked for.
    shown = [shown_by.decode([torch.cat([given_thwD, codes_thwD])])[0] for codes_thwD in drawn]
    clips: list[Tensor] = [clip_THWC[: num_given + frames] for clip_THWC in shown]
    write(clips, out, fps=fps or _PLAYED_FPS)
    noun = "clip" if len(clips[0]) > 1 else "picture"
    console.print(f"wrote {out}: {counted(len(clips), noun)} and sheet.png")


def _legal_given(geometry: "Geometry", num_frames: int) -> int:
    legal = geometry.legal_at_most(num_frames)
    if legal is None:
        raise UsageError(
            f"The tokenizer needs {geometry.least_frames} frames to continue from, not {num_frames}; "
            "raise --given, or choose a longer video."
        )
    return legal


def _total_rows(geometry: "Geometry", given: int, drawn: int) -> int:
    legal = geometry.legal_at_least(given + drawn)
    if legal is None:
        raise UsageError(
            f"{given} given and {drawn} drawn frames are more than the {geometry.most_frames} that the "
            "tokenizer supports per clip; lower --given or --frames."
        )
    return geometry.token_rows(legal)
