"""``bitmill weights import``: converts a published checkpoint and its YAML to a tokenizer folder."""

from pathlib import Path

from bitmill.bsq_model import save_tokenizer
from bitmill.bsq_model.importing.convert import import_checkpoint
from bitmill.bsq_model.importing.published_config import config_from_yaml
from bitmill.jobs.console import Console
from bitmill.schemas.errors import OutputConflictError, UsageError
from bitmill.schemas.text_files import read_text


def import_weights(checkpoint: Path, config: Path, out: Path, *, ema: bool, image_as_video: bool) -> None:
    """Write ``out`` and print a summary. Raises UsageError or FormatError before ``out`` is touched."""
    if "://" in str(out) or ":/" in str(out):
        raise UsageError(f"{out} is a URL; import to a local folder, then copy it there.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputConflictError(f"{out} is not empty; choose a new or empty folder.")
    try:
        text = read_text(config.read_bytes(), what=f"The config {config}")
    except OSError as error:
        raise UsageError(f"The config {config} cannot be read: {error.strerror}.") from error
    imported = import_checkpoint(
        checkpoint,
        config_from_yaml(text, origin=str(config)),
        prefer_ema=ema,
        image_as_video=image_as_video,
    )
    tokenizer = imported.tokenizer
    save_tokenizer(tokenizer, out)
    made = tokenizer.config
    weights = "averaged (EMA)" if imported.which == "ema" else "raw"
    console = Console(soft_wrap=True)
    console.print(
        f"{sum(p.numel() for p in tokenizer.parameters()):,} {weights} weights: frames of "
        f"{made.image_size_px}², {made.bits_per_token} bits per token, up to {made.num_frames} frames"
    )
    console.print(f"tokenizer  {tokenizer.fingerprint}  {out}")
