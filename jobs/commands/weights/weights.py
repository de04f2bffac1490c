"""``bitmill weights …``: imports, downloads and resizes weights."""

from pathlib import Path
from typing import Annotated

import typer

from bitmill.jobs.console import CommandGroup
from bitmill.jobs.preparation.file_arguments import local_path, out_folder

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help="Import checkpoints, fetch metric networks, resize tokenizers.",
)


@app.command(name="import")
def import_(
    files: Annotated[
        list[Path],
        typer.Argument(parser=local_path, metavar="FILE", help="The published weights, one file or several."),
    ],
    out: Annotated[Path, typer.Argument(parser=out_folder, help="Folder for the tokenizer.")],
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            parser=local_path,
            help="The file that describes the model (YAML or JSON); default: what --name says.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="A published model by name, instead of --config; default: none."),
    ] = None,
    ema: Annotated[
        bool, typer.Option("--ema/--no-ema", help="Use the averaged (EMA) or the raw weights.")
    ] = True,
    image_as_video: Annotated[
        bool, typer.Option("--image-as-video", help="Load an image checkpoint with a video config.")
    ] = False,
    compared: Annotated[
        bool, typer.Option("--compared", help="You have compared the tokens with the published code's.")
    ] = False,
) -> None:
    """Import published weights without executing anything in them."""
    from bitmill.jobs.commands.weights.import_weights import ImportRequest, import_weights

    import_weights(
        ImportRequest(
            files=files,
            config=config,
            name=name,
            out=out,
            ema=ema,
            image_as_video=image_as_video,
            compared=compared,
        )
    )


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="lpips-alexnet, lpips-vgg16 …, or all.")],
) -> None:
    """Download networks for the perceptual loss and the metrics to the user's cache."""
    from bitmill.jobs.commands.weights.fetch_weights import fetch_networks
    from bitmill.jobs.console import Console

    fetch_networks(names, Console())


@app.command()
def resize(
    tokenizer: Annotated[str, typer.Argument(help="Folder of the tokenizer.")],
    out: Annotated[Path, typer.Argument(parser=out_folder, help="Folder to write the copy to.")],
    size: Annotated[int, typer.Option("--size", min=1, help="New frame size (side, in pixels).")],
) -> None:
    """Convert a trained tokenizer to another frame size by interpolating its positions."""
    from bitmill.jobs.commands.weights.resize_weights import resize_saved

    resize_saved(tokenizer, out, size_px=size)
