"""Tokenizers of other bit widths from the bundled ``small-1``, for curves that it alone cannot give.

``small-1`` with as many bits a token as asked: its transformers, the bottleneck's projections cut, or widened
by small random rows; then trained a little on, on photographs, by ``bitmill train``. They are made for this
comparison and nothing else: each saw a twelfth of the pictures that ``small-1`` saw.

    python -m examples.small_tokenizer.fetch_data small-data
    python -m benchmarks.compression.widths small-data widths --bits 12 36
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch
import yaml

from bitmill.bsq_model import BSQTokenizer, save_tokenizer, tokenizer_from_files
from bitmill.bsq_model.bundled import bundled_files
from bitmill.bsq_model.presets import untrained_tokenizer
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig

RECIPE = Path(__file__).resolve().parents[2] / "examples" / "small_tokenizer" / "image.yaml"


def main() -> None:
    """Train each width, unless an earlier call has."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="the folder that fetch_data made")
    parser.add_argument("out", type=Path)
    parser.add_argument("--bits", type=int, nargs="+", default=[12, 36])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    small = tokenizer_from_files(*bundled_files("small-1"))
    for bits in options.bits:
        folder = options.out / f"{bits}-bits"
        save_tokenizer(with_bits(small, bits), folder / "start")
        document = training_file(options.data, folder, bits, options.steps, options.threads)
        (folder / "train.yaml").write_text(yaml.safe_dump(document))
        command = [sys.executable, "-m", "bitmill.jobs", "train", str(folder / "train.yaml")]
        done = subprocess.run(command, check=False)
        if done.returncode:
            sys.exit(f"bitmill train ended with exit code {done.returncode}")


@torch.no_grad()
def with_bits(small: BSQTokenizer, bits: int) -> BSQTokenizer:
    """An image tokenizer of ``bits`` a token with as many weights of ``small-1`` as fit, others random."""
    fields = small.config.model_dump() | {"bits_per_token": bits, "num_frames": 1}
    made = untrained_tokenizer(TokenizerConfig.model_validate(fields), seed=0)
    weights = made.state_dict()
    for name, tensor in small.state_dict().items():
        if name not in weights:
            continue
        sizes = zip(weights[name].shape, tensor.shape, strict=True)
        kept = tuple(slice(0, min(ours, theirs)) for ours, theirs in sizes)
        weights[name][kept] = tensor[kept]
    made.load_state_dict(weights)
    return made


def training_file(data: Path, folder: Path, bits: int, steps: int, threads: int) -> dict[str, object]:
    """The recipe of ``small-1``'s first stage, half the batch, from ``folder/start``."""
    document = yaml.safe_load(RECIPE.read_text())
    document["source"]["paths"] = [str(data / "photos" / split) for split in ("train", "validation")]
    document["validation"] = {"source": {"paths": str(data / "photos" / "held-out")}, "items": 16}
    document["output"] = str(folder / "run")
    document["start_from"] = str(folder / "start")
    document["model"]["bits_per_token"] = bits
    document["steps"], document["global_batch"] = steps, 16
    document["loss"]["entropy"]["ramp_steps"] = steps // 4
    document["optimizer"] |= {"learning_rate": 0.001, "warmup_steps": 20, "ema": 0.99}
    document["compute"]["threads"] = threads
    document |= {"validate_every": 100, "checkpoint_every": 100}
    return document


if __name__ == "__main__":
    main()
