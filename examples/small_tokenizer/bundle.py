"""Puts a trained tokenizer where the package keeps it, rounded once to float16: half the bytes.

python -m examples.small_tokenizer.bundle small small-runs/causal-conv{,-decoder,-motion,-motion-decoder}
python -m examples.small_tokenizer.bundle small-1 small-runs/image small-runs/video
"""

import argparse
import shutil
from pathlib import Path

import torch

from bitmill.bsq_model.families import native_files
from bitmill.bsq_model.saving import round_weights, write_model_files
from bitmill.bsq_model.trainable.trainable_tokenizer import TrainableTokenizer
from bitmill.pipeline.load_tokenizer import load_tokenizer
from examples.small_tokenizer.attribution import BUNDLED, attribution

LOGS = Path(__file__).with_name("log")


def main() -> None:
    """Round, save, and keep the runs' logs beside the recipe."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=["small", "small-1"])
    parser.add_argument("runs", type=Path, nargs="+", help="folders of its stages, in their order")
    asked = parser.parse_args()
    runs: list[Path] = asked.runs
    tokenizer = load_tokenizer(runs[-1] / "tokenizer")
    assert isinstance(tokenizer, TrainableTokenizer)
    round_weights(tokenizer, torch.float16)
    files = native_files(tokenizer, dtype=torch.float16)
    folder = BUNDLED / asked.name
    shutil.rmtree(folder, ignore_errors=True)
    write_model_files(files, folder, what="tokenizer")
    (folder / "ATTRIBUTION.md").write_text(attribution(asked.name), encoding="utf-8")
    LOGS.mkdir(exist_ok=True)
    for run in runs:
        shutil.copy(run / "metrics.jsonl", LOGS / f"{run.name}.jsonl")
    size = sum(map(len, files.values()))
    print(f"{tokenizer.fingerprint}  {size / 1e6:.1f} MB  {folder}")


if __name__ == "__main__":
    main()
