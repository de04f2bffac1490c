"""The model alone against the textbook's way and other tokenizers, from frames in memory.

    python -m benchmarks.encoding [--parts images numerics …] [--rounds N] [--threads N] [--json FILE]
    python -m benchmarks.encoding --device cuda --dtype bfloat16 --batch 32

Weights are untrained and the same on both sides; every way is measured once in each round, in turn.
Peers beyond bitmill's dependencies: pip install --no-deps -r benchmarks/encoding/peers.txt
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine
from benchmarks.encoding.clips import (
    lengths_table,
    measure_lengths,
    measure_memory,
    measure_mixed,
    memory_sentence,
    mixed_sentence,
)
from benchmarks.encoding.images import images_table, measure_images
from benchmarks.encoding.numerics import measure_numerics, numerics_table

_PARTS = ("images", "numerics", "clips", "mixed", "memory")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.encoding",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--parts", nargs="+", default=_PARTS, choices=_PARTS)
    add("--rounds", type=int, default=5, help="repetitions (default: %(default)s)")
    add("--threads", type=int, default=1, help="of torch (default: %(default)s)")
    add("--device", default="cpu", type=torch.device)
    add("--dtype", default="float32", choices=("float32", "bfloat16"))
    add("--batch", type=int, default=1, help="images at once (default: %(default)s)")
    add(
        "--lengths",
        type=int,
        nargs="+",
        default=[4, 8, 16, 32],
        help="frames of clips (default: %(default)s)",
    )
    add("--sizes", nargs="+", default=["small", "base, two layers"], help="of clips (default: %(default)s)")
    add("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def main() -> None:
    asked = _arguments()
    torch.set_num_threads(asked.threads)
    dtype = getattr(torch, asked.dtype)
    where = machine.describe(["torch", "diffusers"])
    told: dict[str, Any] = {"machine": where, "threads": asked.threads, "dtype": asked.dtype}
    if asked.device.type == "cuda":
        told["gpu"] = torch.cuda.get_device_name()
    print(f"{asked.device}, {asked.dtype}, {asked.threads} threads; {machine.sentence(where)}\n", flush=True)
    if "images" in asked.parts:
        told["images"] = measure_images(asked.device, dtype, batch=asked.batch, rounds=asked.rounds)
        print(images_table(told["images"]) + "\n", flush=True)
    if "numerics" in asked.parts:
        told["numerics"] = measure_numerics(asked.device, batch=asked.batch, rounds=asked.rounds)
        print(numerics_table(told["numerics"]) + "\n", flush=True)
    if "clips" in asked.parts:
        told["clips"] = {
            size: measure_lengths(size, asked.lengths, asked.device, dtype, rounds=asked.rounds)
            for size in asked.sizes
        }
        print(lengths_table(told["clips"]) + "\n", flush=True)
    if "mixed" in asked.parts:
        told["mixed"] = measure_mixed("small", asked.device, dtype, rounds=asked.rounds)
        print(mixed_sentence(told["mixed"]) + "\n", flush=True)
    if "memory" in asked.parts and asked.device.type == "cpu":
        told["memory"] = {size: measure_memory(size) for size in ("small", "base, two layers")}
        print("\n".join(memory_sentence(size, figures) for size, figures in told["memory"].items()))
    if asked.json:
        asked.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
