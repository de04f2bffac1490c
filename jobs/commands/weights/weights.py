"""``bitmill weights …``: weights from elsewhere, made into ours."""

from pathlib import Path
from typing import Annotated

import typer

from bitmill.jobs.preparation.local_paths import local_path

app = typer.Typer(no_args_is_help=True, help="Bring in weights: import checkpoints, fetch metric networks.")


@app.command(name="import")
def import_(
    checkpoint: Annotated[Path, typer.Argument(parser=local_path, help="The authors' .pt file.")],
    out: Annotated[Path, typer.Argument(parser=local_path, help="Folder for the tokenizer.")],
    config: Annotated[
        Path, typer.Option("--config", parser=local_path, help="The YAML file beside the checkpoint.")
    ],
    ema: Annotated[
        bool, typer.Option("--ema/--no-ema", help="Take the averaged weights, or the raw ones.")
    ] = True,
    image_as_video: Annotated[
        bool, typer.Option("--image-as-video", help="Take an image checkpoint for a video config.")
    ] = False,
) -> None:
    """Import a published checkpoint. Nothing in it is executed."""
    from bitmill.jobs.commands.weights.import_weights import import_weights

    import_weights(checkpoint, config, out, ema=ema, image_as_video=image_as_video)


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="lpips-alexnet, lpips-vgg16 …, or all.")],
) -> None:
    """Fetch networks for the perceptual loss and the metrics, once, into the user's cache."""
    from bitmill.jobs.commands.weights.fetch_weights import fetch_networks
    from bitmill.jobs.console import Console

    fetch_networks(names, Console())


@app.command()
def resize(
    tokenizer: Annotated[str, typer.Argument(help="Folder of a tokenizer.")],
    out: Annotated[Path, typer.Argument(parser=local_path, help="Folder for the new one.")],
    size: Annotated[int, typer.Option("--size", min=1, help="Side of its frames in pixels.")],
) -> None:
    """Take a trained tokenizer to another frame size, by interpolated positions."""
    from bitmill.jobs.commands.weights.resize_weights import resize_saved

    resize_saved(tokenizer, out, size_px=size)
