"""``bitmill sample``: draws pictures and clips from a token model."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitmill.jobs.console import Console
from bitmill.jobs.preparation.file_arguments import local_path
from bitmill.jobs.progress.live_line import LiveLine
from bitmill.schemas.errors import OutputConflictError, TokenizerMismatchError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from bitmill.bsq_model.contract import Tokenizer
    from bitmill.bsq_model.token_models.masked_lm import MaskedLM, SamplingSpec
    from bitmill.bsq_model.token_models.prior import Prior
    from bitmill.schemas.models.geometry import Geometry

REPORT_FILE = "judged.json"


def sample(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A token model's folder, or a bundled prior."),
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", parser=local_path, help="New or empty folder to write to.")
    ],
    tokenizer: Annotated[
        str, typer.Option("--tokenizer", help="The model's tokenizer: small, a folder, or a plugin.")
    ] = "small",
    count: Annotated[int, typer.Option("--count", min=1, help="Number of pictures or clips.")] = 16,
    size: Annotated[
        int | None,
        typer.Option("--size", min=1, help="Frame size (side, in pixels), if the tokenizer takes several."),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Random seed; equal seeds draw the same samples.")
    ] = 0,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.01, help="Below 1, likelier values are drawn more often.")
    ] = 1.0,
    label: Annotated[str | None, typer.Option("--label", help="Masked models: the class to draw.")] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Masked models: passes per picture.")] = 12,
    guidance: Annotated[
        float,
        typer.Option("--guidance", min=0, help="Masked models with --label: guidance scale; 1 means none."),
    ] = 1.0,
    inpaint: Annotated[
        str | None, typer.Option("--inpaint", help="Masked models: a picture to fill in.")
    ] = None,
    mask: Annotated[
        str | None, typer.Option("--mask", help="With --inpaint: a mask picture, white where to fill in.")
    ] = None,
    continue_: Annotated[
        str | None, typer.Option("--continue", help="Priors: an image or video to continue.")
    ] = None,
    given: Annotated[
        int, typer.Option("--given", min=1, help="With --continue: frames used as context.")
    ] = 4,
    frames: Annotated[int, typer.Option("--frames", min=1, help="Priors: frames to draw.")] = 4,
    fps: Annotated[
        float | None, typer.Option("--fps", help="Sampled frames per second of the --continue video.")
    ] = None,
    judge: Annotated[
        str | None, typer.Option("--judge", help="Masked models: a dataset to compare pictures with.")
    ] = None,
    held_out: Annotated[
        list[str] | None, typer.Option("--held-out", help="With --judge: patterns of held-out sources.")
    ] = None,
    inception: Annotated[
        Path | None,
        typer.Option(
            "--inception",
            parser=local_path,
            help="With --judge: the FID Inception weights, for FID and Inception score.",
        ),
    ] = None,
) -> None:
    """Draw pictures from a masked model or clips from a prior; fill in a picture; continue a clip."""
    from bitmill.bsq_model.token_models.masked_lm import MaskedLM, SamplingSpec
    from bitmill.bsq_model.token_models.prior import Prior

    console = Console(soft_wrap=True)
    network, shown_by = _load(model, tokenizer)
    _claim(out)
    if isinstance(network, MaskedLM):
        if continue_ is not None:
            raise UsageError("--continue needs a prior; this is a masked model, which supports --inpaint.")
        spec = SamplingSpec(steps=steps, temperature=temperature, guidance=guidance)
        asked = _Drawing(count=count, size_px=size, seed=seed, label=_label_row(network, label), spec=spec)
        if inpaint is None:
            clips = _draw(network, shown_by, asked, console)
        else:
            clips = _inpaint(network, shown_by, asked, inpaint, mask)
    elif isinstance(network, Prior):
        _refuse_masked_options(label=label, inpaint=inpaint, mask=mask)
        clips = _continue(
            network,
            shown_by,
            _Continuing(
                count=count,
                size_px=size,
                seed=seed,
                temperature=temperature,
                source=continue_,
                given=given,
                frames=frames,
                fps=fps,
            ),
            console,
        )
    else:
        raise UsageError(f"{model} is neither a masked model nor a prior; sample cannot draw from it.")
    judged = None
    if judge is not None and isinstance(network, MaskedLM):
        from bitmill.jobs.commands.models.sample_quality import measure_samples

        judged = measure_samples(
            network,
            shown_by,
            judge,
            held_out or [],
            spec=SamplingSpec(steps=steps, temperature=temperature),
            seed=seed,
            inception=inception,
            console=console,
        )
    _write(clips, out, fps, judged)
    console.print(f"wrote {out}: {len(clips)} {'clips' if len(clips[0]) > 1 else 'pictures'} and sheet.png")


@dataclass(frozen=True, kw_only=True)
class _Drawing:
    count: int
    size_px: int | None
    seed: int
    label: int | None
    spec: "SamplingSpec"


@dataclass(frozen=True, kw_only=True)
class _Continuing:
    count: int
    size_px: int | None
    seed: int
    temperature: float
    source: str | None
    given: int
    frames: int
    fps: float | None


def _load(name: str, tokenizer: str) -> "tuple[object, Tokenizer]":
    from bitmill.bsq_model.families import load_files
    from bitmill.jobs.preparation.models.find_token_models import find_token_model
    from bitmill.jobs.preparation.models.find_tokenizers import load_tokenizer_spec, tokenizer_spec

    model = find_token_model(name)
    loaded = load_tokenizer_spec(tokenizer_spec(tokenizer))
    if loaded.fingerprint != model.config.tokenizer_fingerprint:
        raise TokenizerMismatchError(
            f"{name} needs tokenizer {model.config.tokenizer_fingerprint}, but {tokenizer} is "
            f"{loaded.fingerprint}; give the right one with --tokenizer."
        )
    return model, load_files(loaded.files)


def _side_px(geometry: "Geometry", size_px: int | None) -> int:
    """Returns the side of the frames to draw. Raises UsageError if a sample is no clip of its own."""
    from bitmill.jobs.preparation.models.find_frame_sizes import square_size_px

    if not geometry.is_legal(geometry.frames_of_rows(1)):
        raise UsageError("sample needs a tokenizer of single frames.")
    return square_size_px(geometry, size_px, option="--size")


def _claim(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputConflictError(f"OUT {out} is not empty; choose a new or empty folder.")


def _label_row(model: "MaskedLM", label: str | None) -> int | None:
    labels = model.label_names
    if label is None:
        return None
    if label not in labels:
        known = ", ".join(labels) if labels else "none"
        raise UsageError(f"--label {label}: the model knows {known}.")
    return labels.index(label) + 1


def _refuse_masked_options(*, label: str | None, inpaint: str | None, mask: str | None) -> None:
    for option, value in (("--label", label), ("--inpaint", inpaint), ("--mask", mask)):
        if value is not None:
            raise UsageError(f"{option} is for masked models; this is a prior.")


def _draw(model: "MaskedLM", tokenizer: "Tokenizer", asked: _Drawing, console: Console) -> "list[Tensor]":
    from bitmill.pipeline.synthesis.draw_samples import draw_pictures

    side_px = _side_px(tokenizer.geometry, asked.size_px)
    grid = tokenizer.geometry.grid(side_px, side_px)
    pictures: list[Tensor] = []
    with LiveLine(console) as line:
        for codes in draw_pictures(model, asked.count, grid, asked.spec, label=asked.label, seed=asked.seed):
            pictures += tokenizer.decode([codes])
            line.show(partial(_progress, len(pictures), asked.count))
    return pictures


def _progress(done: int, planned: int) -> str:
    return f"{done}/{planned} drawn"


def _inpaint(
    model: "MaskedLM", tokenizer: "Tokenizer", asked: _Drawing, picture: str, mask: str | None
) -> "list[Tensor]":
    from bitmill.pipeline.synthesis.draw_samples import fill_in
    from bitmill.pipeline.synthesis.load_frames import frames_of, hidden_tokens

    if mask is None:
        raise UsageError("--inpaint needs --mask: a picture that is white where to fill in.")
    side_px = _side_px(tokenizer.geometry, asked.size_px)
    frames_THWC = frames_of(picture, side_px, most_frames=1, fps=None)
    hidden_Thw = hidden_tokens(frames_of(mask, side_px, most_frames=1, fps=None), tokenizer.geometry.patch_px)
    if not bool(hidden_Thw.any()):
        raise UsageError(f"--mask {mask} has no white pixels: there is nothing to fill in.")
    codes_ThwD = tokenizer.encode([frames_THWC])[0]
    return tokenizer.decode(
        fill_in(model, codes_ThwD, hidden_Thw, asked.count, asked.spec, label=asked.label, seed=asked.seed)
    )


def _continue(prior: "Prior", tokenizer: "Tokenizer", asked: _Continuing, console: Console) -> "list[Tensor]":
    import torch

    from bitmill.bsq_model.token_models.token_layers import no_codes
    from bitmill.pipeline.synthesis.draw_samples import go_on
    from bitmill.pipeline.synthesis.load_frames import frames_of

    geometry = tokenizer.geometry
    side_px = _side_px(geometry, asked.size_px)
    if geometry.frames_per_token != 1:
        raise UsageError("sample draws clips for tokenizers with one frame per token alone.")
    grid = geometry.grid(side_px, side_px)
    given_ThwD = no_codes(prior.config, 0, *grid)
    if asked.source is not None:
        frames = frames_of(asked.source, side_px, most_frames=asked.given, fps=asked.fps)
        given_ThwD = tokenizer.encode([frames])[0].cpu()
    num_frames, most = len(given_ThwD) + asked.frames, geometry.most_frames
    if most is not None and num_frames > most:
        raise UsageError(
            f"{len(given_ThwD)} given and {asked.frames} drawn frames are more than the {most} that the "
            "tokenizer supports per clip; lower --given or --frames."
        )
    with LiveLine(console) as line:
        done = 0

        def count(frames: int) -> None:
            nonlocal done
            done += frames
            line.show(partial(_progress, done, asked.frames))

        drawn = go_on(
            prior,
            given_ThwD,
            asked.frames,
            asked.count,
            temperature=asked.temperature,
            seed=asked.seed,
            on_frames=count,
        )
    return [tokenizer.decode([torch.cat([given_ThwD, codes_ThwD])])[0] for codes_ThwD in drawn]


def _write(clips: "list[Tensor]", out: Path, fps: float | None, judged: dict[str, Any] | None = None) -> None:
    """Write each clip to a file and all to one sheet (one row per clip, or pictures in rows), atomically."""
    from bitmill.pipeline.compressing.write_media import write_mkv, write_png
    from bitmill.pipeline.synthesis.sample_sheet import write_sheet

    staged = out.with_name(f".{out.name}.staged")
    staged.mkdir(parents=True)
    for number, clip_THWC in enumerate(clips):
        frames = clip_THWC.cpu().numpy()
        if len(frames) == 1:
            write_png([frames], 0.0, staged / f"{number:04}.png")
        else:
            write_mkv([frames], fps or 8.0, staged / f"{number:04}.mkv")
    write_sheet([clip.cpu().numpy() for clip in clips], staged / "sheet.png")
    if judged is not None:
        (staged / REPORT_FILE).write_text(json.dumps(judged, indent=2) + "\n", encoding="utf-8")
    if out.exists():
        out.rmdir()
    staged.replace(out)
