"""``bitmill weights …``: weights from elsewhere, made into ours."""

import typer

app = typer.Typer(no_args_is_help=True, help="Bring in weights: import checkpoints, fetch metric networks.")
