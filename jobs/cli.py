"""The ``bitmill`` command line: defines the commands and parses their options."""

import importlib.util
import os
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bitmill.jobs.collect_rarely import collect_rarely
from bitmill.jobs.command_exit import ended_by_code
from bitmill.jobs.commands.config import config
from bitmill.jobs.commands.dataset import audit, export, remove, trace
from bitmill.jobs.commands.models import (
    compress,
    decompress,
    evaluate_samples,
    evaluate_tokens,
    sample_clips,
    sample_pictures,
)
from bitmill.jobs.commands.remote import job_commands
from bitmill.jobs.commands.weights import weights
from bitmill.jobs.console import CommandGroup, Console
from bitmill.jobs.extras import missing_extra
from bitmill.jobs.preparation.file_arguments import local_path, out_folder
from bitmill.jobs.preparation.job_files import assignment, frame_rate, read_job
from bitmill.jobs.preparation.job_request import requested_job, source_kind
from bitmill.schemas.errors import BadJobError
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.reports.status_file import EXIT_COMPLETE, EXIT_NOT_ALL_OK
from bitmill.schemas.requests.job import MOST_CLIP_FRAMES, JobSpec

app = typer.Typer(
    name="bitmill",
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_DATA, _MODELS, _CLUSTER = "Data", "Models", "Cluster"
"""Panels of the help."""

Codecs = Literal["none", "image", "bitmill", "all"]

app.add_typer(weights.app, name="weights", rich_help_panel=_MODELS)
app.add_typer(config.app, name="config", rich_help_panel=_DATA)
samples = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, help="Draw pictures from a masked model, or clips from a prior."
)
samples.command(name="pictures")(sample_pictures.sample_pictures)
samples.command(name="clips")(sample_clips.sample_clips)
app.add_typer(samples, name="sample", rich_help_panel=_MODELS)

JobArguments = Annotated[
    list[str],
    typer.Argument(metavar="JOB.yaml | SOURCE OUTPUT", help="A job file, or a source and an output folder."),
]
TokenizerOption = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        help="small-1 or small (bundled), a folder, an installed plugin, or a preset (random weights); "
        "default: the job file's, else small-1.",
    ),
]
FpsOption = Annotated[
    float | None,
    typer.Option(
        "--fps", callback=frame_rate, help="Sampled frames per second of videos; default: every frame."
    ),
]
ClipFramesOption = Annotated[
    int | None,
    typer.Option(
        "--clip-frames",
        min=1,
        max=MOST_CLIP_FRAMES,
        help="Frames per clip; default: the most that the tokenizer takes, up to 16.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override any key of the file, e.g. compute.device=cpu; repeatable.",
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", help="Ray cluster to use (HOST:PORT, or auto); default: a local Ray."),
]

AppendOption = Annotated[bool, typer.Option("--append", help="Add the job's new sources to the dataset.")]
RetryOption = Annotated[bool, typer.Option("--retry-failed", help="Retry failed items.")]
ReasonOption = Annotated[
    list[Reason] | None,
    typer.Option("--reason", help="With --retry-failed: only items that failed for this reason; repeatable."),
]


def main() -> None:
    """Entry point: prints errors as one sentence on stderr and exits with their code."""
    # Spawned children start as ``python -c``, which would put the current folder first on ``sys.path``.
    os.environ["PYTHONSAFEPATH"] = "1"
    collect_rarely()
    with ended_by_code():
        app()


def _version(wanted: bool) -> None:
    if wanted:
        Console().print(f"bitmill {metadata.version('bitmill')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Turn image and video collections into training-ready tokens.

    Exit codes:

    0 complete
    2 bad job
    3 finished, but some items are not ok (of audit: incomplete)
    4 stopped by too many failures (of audit: damaged)
    5 disk, store or cluster failed: run the same command again to resume
    6 not finished (of status)
    70 unexpected error
    130 interrupted
    141 output closed
    """


@app.command(rich_help_panel=_DATA)
def plan(
    job: JobArguments,
    tokenizer: TokenizerOption = None,
    fps: FpsOption = None,
    clip_frames: ClipFramesOption = None,
    address: AddressOption = None,
    set_: SetOption = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only estimate the job's size and time from a sample.")
    ] = False,
    sample: Annotated[
        int,
        typer.Option(
            "--sample",
            min=1,
            help="Number of videos, and of images, that are read to estimate, and to count frame sizes.",
        ),
    ] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the sources, cut them into shards and store the plan, without tokenizing.

    For frames.buckets and frames.native it also tells, from a sample, how much gets which frame size.
    """
    from bitmill.jobs.commands.dataset.plan import plan_job, show_estimate

    spec = _job(job, tokenizer=tokenizer, assignments=set_, fps=fps, clip_frames=clip_frames)
    console = Console(soft_wrap=True)
    if estimate:
        show_estimate(spec, sample=sample, as_json=as_json, console=console)
    else:
        plan_job(spec, address=address, sample=sample, as_json=as_json, console=console)


@app.command(rich_help_panel=_DATA)
def tokenize(
    job: JobArguments,
    tokenizer: TokenizerOption = None,
    fps: FpsOption = None,
    clip_frames: ClipFramesOption = None,
    max_failures: Annotated[
        float | None,
        typer.Option(
            "--max-failures",
            help="Stop the job if more than this share of items (0 to 1) fails; default: never.",
        ),
    ] = None,
    append: AppendOption = False,
    retry_failed: RetryOption = False,
    reason: ReasonOption = None,
    address: AddressOption = None,
    set_: SetOption = None,
) -> None:
    """Tokenize a collection to a dataset folder. Run again to resume; a finished dataset is not changed."""
    from bitmill.jobs.commands.dataset.tokenize import tokenize_job
    from bitmill.jobs.preparation.append_and_retry import Growth

    growth = Growth(append=append, retry_failed=retry_failed, reasons=frozenset(reason or ()))
    spec = _job(
        job,
        tokenizer=tokenizer,
        assignments=set_,
        fps=fps,
        clip_frames=clip_frames,
        max_failures=max_failures,
    )
    all_ok = tokenize_job(spec, address=address, console=Console(), growth=growth)
    raise typer.Exit(EXIT_COMPLETE if all_ok else EXIT_NOT_ALL_OK)


@app.command(rich_help_panel=_DATA)
def inspect(
    path: Annotated[str, typer.Argument(help="A dataset folder, or one token shard (.parquet).")],
    clips: Annotated[int, typer.Option("--clips", min=0, help="Number of clips to show.")] = 5,
) -> None:
    """Show a dataset's or token shard's contents: schema, counts, a few clips, items that are not ok."""
    from bitmill.jobs.commands.dataset.inspect_dataset import show

    show(path, clips=clips, console=Console())


@app.command(rich_help_panel=_DATA)
def preview(
    dataset: Annotated[str, typer.Argument(help="A dataset folder.")],
    out: Annotated[str, typer.Option("--out", help="MP4 or PNG to write.")] = "preview.mp4",
    clip: Annotated[
        list[str] | None, typer.Option("--clip", help="Id of a clip to show; repeatable.")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option("--source", help="Show clips of this source, by its URI; repeatable.")
    ] = None,
    max_clips: Annotated[
        int, typer.Option("--max-clips", min=1, help="Number of clips to show at most.")
    ] = 8,
) -> None:
    """Decode stored tokens with the dataset's tokenizer, next to the original frames."""
    from bitmill.jobs.commands.dataset.preview import write_preview

    write_preview(
        dataset,
        out=out,
        clip_ids=clip,
        sources=source or [],
        max_clips=max_clips,
        console=Console(soft_wrap=True),
    )


@app.command(rich_help_panel=_MODELS)
def train(
    file: Annotated[str, typer.Argument(metavar="TRAIN.yaml", help="A training file.")],
    address: AddressOption = None,
    set_: SetOption = None,
) -> None:
    """Train a tokenizer on images and videos, or a token model on token shards.

    Run again to resume; a complete run is not changed.
    """
    _need("tensorboardX", extra="train")
    from bitmill.schemas.requests.token_training import load_token_train_spec, trains_token_model

    overrides = dict(assignment(text) for text in set_ or [])
    text, console = read_job(file), Console(soft_wrap=True)
    # Imported per kind: token models can be trained without media libraries.
    if trains_token_model(text):
        from bitmill.jobs.commands.models.train_token_model import train_token_job

        if address is not None:
            raise BadJobError(
                "--address: a token model is trained by one process on this machine; leave it out."
            )
        train_token_job(load_token_train_spec(text, origin=file, overrides=overrides), console=console)
    else:
        from bitmill.jobs.commands.models.train import train_job
        from bitmill.schemas.requests.training import load_train_spec

        train_job(load_train_spec(text, origin=file, overrides=overrides), address=address, console=console)


@app.command(rich_help_panel=_MODELS)
def evaluate(
    tokenizer: Annotated[
        str, typer.Argument(help="small-1 or small (bundled), a tokenizer's folder, a plugin, or a preset.")
    ],
    source: Annotated[str, typer.Argument(help="A folder, glob, file or manifest.")],
    others: Annotated[
        list[str] | None,
        typer.Option("--tokenizer", help="Another tokenizer, measured on the same media; repeatable."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", parser=out_folder, help="Folder for report.json and pictures.png.")
    ] = Path("evaluation"),
    fps: FpsOption = None,
    clip_frames: ClipFramesOption = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            help="Frame size in pixels: a square's side, or HEIGHTxWIDTH; default: the tokenizer's own.",
        ),
    ] = None,
    interpolate_positions: Annotated[
        bool, typer.Option("--interpolate-positions", help="Allow a --size other than the tokenizer's.")
    ] = False,
    max_items: Annotated[
        int | None,
        typer.Option(
            "--max-items",
            min=1,
            help="Evaluate at most this many sources, spread over the listing; default: all.",
        ),
    ] = None,
    inception: Annotated[
        Path | None,
        typer.Option(
            "--inception",
            parser=local_path,
            help="Weights file of the FID Inception network; default: FID is left out.",
        ),
    ] = None,
    no_fvd: Annotated[
        bool, typer.Option("--no-fvd", help="Leave FVD out; it takes half of the time of clips on a CPU.")
    ] = False,
    codecs: Annotated[
        Codecs | None,
        typer.Option(
            "--codecs",
            help="Codecs to compare with: image (JPEG, WebP and JPEG2000 at the tokens' bits), bitmill (the "
            "tokens under compress), all or none; default: image for one tokenizer, none for several.",
        ),
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            "--prior",
            help="With --codecs bitmill or all: as for compress; default: the tokenizer's bundled one.",
        ),
    ] = None,
    pictures: Annotated[int, typer.Option("--pictures", min=0, help="Number of pictures on the sheet.")] = 8,
) -> None:
    """Measure tokenizers' reconstructions: PSNR, SSIM, LPIPS, Fréchet distances, code usage."""
    from bitmill.jobs.commands.models.evaluate import EvaluationRequest, evaluate_job
    from bitmill.jobs.preparation.models.find_frame_sizes import size_of_text
    from bitmill.schemas.requests.job import SourceSpec

    request = EvaluationRequest(
        tokenizer=tokenizer,
        others=others or [],
        source=SourceSpec.model_validate({source_kind(source): source}),
        out=out,
        fps=fps,
        clip_frames=clip_frames,
        size=None if size is None else size_of_text(size),
        interpolate_positions=interpolate_positions,
        max_items=max_items,
        inception=inception,
        with_fvd=not no_fvd,
        codecs=codecs or ("none" if others else "image"),
        prior=prior,
        num_shown=pictures,
    )
    raise typer.Exit(EXIT_COMPLETE if evaluate_job(request, Console()) else EXIT_NOT_ALL_OK)


for panel, commands in (
    (_DATA, (audit.audit, export.export, trace.trace, remove.remove)),
    (
        _MODELS,
        (
            compress.compress,
            decompress.decompress,
            evaluate_tokens.evaluate_tokens,
            evaluate_samples.evaluate_samples,
        ),
    ),
    (_CLUSTER, job_commands.COMMANDS),
):
    for command in commands:
        app.command(rich_help_panel=panel)(command)


def _need(module: str, *, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise missing_extra(extra, what=f"the package {module}")


def _job(
    arguments: list[str],
    *,
    tokenizer: str | None,
    assignments: list[str] | None,
    fps: float | None,
    clip_frames: int | None,
    max_failures: float | None = None,
) -> JobSpec:
    given: dict[str, Any] = {
        "sampling.fps": fps,
        "sampling.clip_frames": clip_frames,
        "max_failures": max_failures,
    }
    overrides = {name: value for name, value in given.items() if value is not None}
    overrides |= dict(assignment(text) for text in assignments or [])
    if len(arguments) > 2:
        raise BadJobError("Give one job file, or one source and one output.")
    source, output = arguments[0], arguments[1] if len(arguments) == 2 else None
    return requested_job(source, output, tokenizer=tokenizer, overrides=overrides, origin="the command line")
