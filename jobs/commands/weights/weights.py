"""``bitmill weights …``: imports, downloads and resizes weights."""

from pathlib import Path
from typing import Annotated

import typer

from bitmill.jobs.preparation.file_arguments import local_path

app = typer.Typer(no_args_is_help=True, help="Import checkpoints, fetch metric networks, resize tokenizers.")


@app.command(name="import")
def import_(
    checkpoint: Annotated[Path, typer.Argument(parser=local_path, help="The authors' .pt file.")],
    out: Annotated[Path, typer.Argument(parser=local_path, help="Folder for the tokenizer.")],
    config: Annotated[Path, typer.Option("--config", parser=local_path, help="The checkpoint's YAML file.")],
    ema: Annotated[
        bool, typer.Option("--ema/--no-ema", help="Use the averaged (EMA) or the raw weights.")
    ] = True,
    image_as_video: Annotated[
        bool, typer.Option("--image-as-video", help="Load an image checkpoint with a video config.")
    ] = False,
) -> None:
    """Import a published checkpoint without executing anything in it."""
    from bitmill.jobs.commands.weights.import_weights import import_weights

    import_weights(checkpoint, config, out, ema=ema, image_as_video=image_as_video)


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
    out: Annotated[Path, typer.Argument(parser=local_path, help="Folder to write the copy to.")],
    size: Annotated[int, typer.Option("--size", min=1, help="New frame size (side, in pixels).")],
) -> None:
    """Convert a trained tokenizer to another frame size by interpolating its positions."""
    from bitmill.jobs.commands.weights.resize_weights import resize_saved

    resize_saved(tokenizer, out, size_px=size)
