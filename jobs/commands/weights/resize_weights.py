"""``bitmill weights resize``: copies a saved tokenizer for another frame size."""

from pathlib import Path

from bitmill.bsq_model import save_tokenizer
from bitmill.bsq_model.resolution import resize_tokenizer
from bitmill.jobs.console import Console
from bitmill.jobs.preparation.models.find_tokenizers import load_tokenizer_spec, tokenizer_spec


def resize_saved(name: str, out: Path, *, size_px: int) -> None:
    """Write the copy to ``out`` and print a summary. Raises errors of loading and saving a tokenizer."""
    own = load_tokenizer_spec(tokenizer_spec(name)).bsq_vit()
    tokenizer = resize_tokenizer(own, size_px)
    save_tokenizer(tokenizer, out)
    sizes = f"{own.config.image_size_px} → {size_px} pixels"
    Console(soft_wrap=True).print(f"tokenizer  {tokenizer.fingerprint}  {out}  {sizes}")
