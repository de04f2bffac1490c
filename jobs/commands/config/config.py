"""``bitmill config …``: lists the keys of a file, writes a job file to start from."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from bitmill.jobs.console import CommandGroup
from bitmill.jobs.preparation.file_arguments import out_file
from bitmill.jobs.preparation.job_files import frame_rate

app = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, help="List the keys of job and training files; begin a job file."
)


@app.command()
def keys(
    file: Annotated[
        Literal["job", "train", "token-model"],
        typer.Argument(help="A job file, or the training file of a tokenizer or of a token model."),
    ] = "job",
    find: Annotated[
        str, typer.Option("--find", help="Only keys whose name or meaning has this word; default: all.")
    ] = "",
) -> None:
    """List the keys of a file: what each takes, its default, its meaning."""
    from bitmill.jobs.commands.config.show_keys import show_keys

    show_keys(file, find)


@app.command()
def new(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A folder, glob, tar, file or manifest.")],
    output: Annotated[
        str,
        typer.Argument(
            metavar="OUTPUT",
            help="The dataset's folder; the file takes over the settings of a dataset that is there.",
        ),
    ],
    *,
    out: Annotated[
        Path, typer.Option("--out", parser=out_file, help="Job file to write; it must not exist.")
    ] = Path("job.yaml"),
    fps: Annotated[
        float | None,
        typer.Option("--fps", callback=frame_rate, help="Frames per second to sample; default: every frame."),
    ] = None,
    tokenizer: Annotated[
        str,
        typer.Option("--tokenizer", help="small-1 or small (bundled), a folder, or a plugin."),
    ] = "small-1",
    sample: Annotated[
        int, typer.Option("--sample", min=1, help="Number of videos, and of images, to look at.")
    ] = 16,
) -> None:
    """Look at a sample of the sources, and write a job file with explanations that fit them."""
    from bitmill.jobs.commands.config.new_job import write_new_job

    write_new_job(source, output, out=out, fps=fps, tokenizer=tokenizer, sample=sample)
