"""What ``bitmill sample pictures`` and ``sample clips`` share: their options, the model, the files."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bitmill.jobs.preparation.file_arguments import out_folder
from bitmill.schemas.errors import OutputConflictError, UsageError
from bitmill.schemas.requests.job import MOST_SEED

if TYPE_CHECKING:
    from torch import Tensor

    from bitmill.bsq_model.contract import Tokenizer
    from bitmill.bsq_model.token_models.masked_lm import MaskedLM
    from bitmill.bsq_model.token_models.prior import Prior
    from bitmill.schemas.models.geometry import Geometry

Drawn = TypeVar("Drawn", "MaskedLM", "Prior")

_COMMANDS = {"masked-lm": "pictures", "prior": "clips"}
"""What is drawn from each kind of model."""

OutArgument = Annotated[
    Path, typer.Argument(metavar="OUT", parser=out_folder, help="New or empty folder to write to.")
]
TokenizerOption = Annotated[
    str, typer.Option("--tokenizer", help="The model's tokenizer: small-1, a folder, or a plugin.")
]
SizeOption = Annotated[
    int | None,
    typer.Option(
        "--size",
        min=1,
        help="Frame size (a square's side, in pixels); default: the tokenizer's, if it takes only one.",
    ),
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, max=MOST_SEED, help="Random seed; equal seeds draw the same samples.")
]
TemperatureOption = Annotated[
    float, typer.Option("--temperature", min=0.01, help="Below 1, likelier values are drawn more often.")
]


def side_px(geometry: "Geometry", size_px: int | None) -> int:
    """Return the side of the frames to draw. Raises UsageError if a single frame is no clip."""
    from bitmill.jobs.preparation.models.find_frame_sizes import square_size_px

    if not geometry.is_legal(geometry.frames_of_rows(1)):
        raise UsageError("sample needs a tokenizer of single frames.")
    return square_size_px(geometry, size_px, option="--size")


def load(kind: type[Drawn], model: str, tokenizer: str, out: Path) -> "tuple[Drawn, Tokenizer]":
    """Load a model of a kind, and its tokenizer.

    Raises UsageError for a model of another kind, and OutputConflictError unless ``out`` is a new or an
    empty folder.
    """
    from bitmill.jobs.preparation.models.find_token_models import load_with_tokenizer

    network, shown_by = load_with_tokenizer(model, tokenizer)
    if not isinstance(network, kind):
        found = network.config.kind
        raise UsageError(f"{model} is a {found} model: use sample {_COMMANDS[found]}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputConflictError(f"OUT {out} is not empty; choose a new or empty folder.")
    return network, shown_by


def progress(done: int, planned: int) -> str:
    return f"{done}/{planned} drawn"


def write(clips: "list[Tensor]", out: Path, *, fps: float) -> None:
    """Write each clip (uint8 [T, H, W, 3]) to a file and all to one sheet, atomically.

    The sheet has a row for each clip; single frames are pictures, side by side in rows.
    """
    from bitmill.pipeline.compressing.write_media import write_mkv, write_png
    from bitmill.pipeline.synthesis.sample_sheet import write_sheet

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as place:
        staged = Path(place) / out.name
        staged.mkdir()
        for number, clip_THWC in enumerate(clips):
            frames = clip_THWC.cpu().numpy()
            if len(frames) == 1:
                write_png([frames], 0.0, staged / f"{number:04}.png")
            else:
                write_mkv([frames], fps, staged / f"{number:04}.mkv")
        write_sheet([clip.cpu().numpy() for clip in clips], staged / "sheet.png")
        if out.exists():
            out.rmdir()
        staged.replace(out)
