"""VidTok and Cosmos DV at their published sizes against their networks written plainly, one clip at a time.

    python -m benchmarks.fsq [--models …] [--sizes 256x256 480x864] [--frames 17 33] [--parts encode decode]

Weights are random and the same on both sides; every way is measured once in each round, in turn, in seconds of
CPU time of all threads, which other work on the machine disturbs least. The floor is the published networks' operations at the rate of one large 3×3 convolution in the same rounds.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine
from benchmarks.encoding.rounds import interleaved
from benchmarks.fsq.memory import peak_bytes
from benchmarks.fsq.models import CONFIGS, clip_of, operations, tokenizer_of
from benchmarks.fsq.ways import Convolutions, make_way
from benchmarks.repeated import ratio

_PARTS = ("encode", "decode")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fsq",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--models", nargs="+", default=[*CONFIGS], choices=[*CONFIGS])
    add("--sizes", nargs="+", default=["256x256", "480x864"], help="height x width (default: %(default)s)")
    add("--frames", type=int, nargs="+", default=[17, 33], help="of clips (default: %(default)s)")
    add("--parts", nargs="+", default=_PARTS, choices=_PARTS)
    add("--rounds", type=int, default=3, help="repetitions (default: %(default)s)")
    add("--threads", type=int, default=1, help="of torch (default: %(default)s)")
    add("--no-memory", action="store_true", help="skip peak memory, which takes two more runs")
    add("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def measure(model: str, what: str, shape_THW: tuple[int, int, int], asked: argparse.Namespace) -> dict[str, Any]:
    """Seconds of both ways, our share of the floor, and bytes of both at their peak."""
    tokenizer, clip, floor = tokenizer_of(model), clip_of(*shape_THW), Convolutions()
    ways = {who: make_way(who, what, tokenizer, clip) for who in ("bitmill", "peer")}
    seconds = interleaved(
        {**ways, "convolutions": floor},
        rounds=asked.rounds,
        device=torch.device("cpu"),
        warms=False,
        clock=time.process_time,
    )
    share = operations(model, clip, decodes=what == "decode") / floor.operations
    told: dict[str, Any] = {
        "model": model,
        "what": what,
        "shape": shape_THW,
        "seconds": seconds,
        "ratio": ratio(seconds["peer"], seconds["bitmill"]),
        "share_of_floor": share * ratio(seconds["convolutions"], seconds["bitmill"]),
    }
    if not asked.no_memory:
        told["bytes"] = {who: peak_bytes(who, model, what, shape_THW, asked.threads) for who in ways}
    return told


def row(told: dict[str, Any]) -> str:
    """Of the Markdown table."""
    frames, height, width = told["shape"]
    seconds = " | ".join(f"{told['seconds'][who]['median']:.3g}" for who in ("bitmill", "peer"))
    memory = [f"{told['bytes'][who] / 2**30:.2f}" for who in told.get("bytes", ())] or ["–", "–"]
    return (
        f"| {told['model']} | {told['what']} | {height}×{width}, {frames} | {seconds} | {told['ratio']:.2f}× | "
        f"{told['share_of_floor']:.2f} | {' | '.join(memory)} |"
    )


def main() -> None:
    asked = _arguments()
    torch.set_num_threads(asked.threads)
    where = machine.describe(["torch"])
    print(f"float32, {asked.threads} threads; {machine.sentence(where)}\n")
    print("| model | | size, frames | bitmill, s | peer, s | ratio | of the floor | bitmill, GiB | peer, GiB |")
    print("|" + "---|" * 9, flush=True)
    told: list[dict[str, Any]] = []
    for size in asked.sizes:
        height, width = map(int, size.split("x"))
        for model in asked.models:
            for num_frames in asked.frames:
                for what in asked.parts:
                    told.append(measure(model, what, (num_frames, height, width), asked))
                    print(row(told[-1]), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps({"machine": where, "figures": told}, indent=2) + "\n")


if __name__ == "__main__":
    main()
