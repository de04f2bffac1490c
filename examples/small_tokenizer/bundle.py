"""Puts the trained tokenizer where the package keeps it, rounded once to float16: half the bytes.

python -m examples.small_tokenizer.bundle small-runs/video
"""

import argparse
import shutil
from pathlib import Path

import torch

from bitmill.bsq_model import load_tokenizer, save_tokenizer
from bitmill.bsq_model.saving import round_weights
from examples.small_tokenizer.attribution import TARGET as ATTRIBUTION
from examples.small_tokenizer.attribution import attribution

BUNDLED = ATTRIBUTION.parent
LOGS = Path(__file__).with_name("log")


def main() -> None:
    """Round, save, and keep the runs' logs beside the recipe."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of the second stage; the first stands beside it")
    run: Path = parser.parse_args().run
    tokenizer = load_tokenizer(run / "tokenizer")
    round_weights(tokenizer, torch.float16)
    for name in ("config.json", "model.safetensors"):
        (BUNDLED / name).unlink(missing_ok=True)
    save_tokenizer(tokenizer, BUNDLED, dtype=torch.float16)
    ATTRIBUTION.write_text(attribution(), encoding="utf-8")
    LOGS.mkdir(exist_ok=True)
    for stage in ("image", "video"):
        shutil.copy(run.parent / stage / "metrics.jsonl", LOGS / f"{stage}.jsonl")
    size = (BUNDLED / "model.safetensors").stat().st_size
    print(f"{tokenizer.fingerprint}  {size / 1e6:.1f} MB  {BUNDLED}")


if __name__ == "__main__":
    main()
