"""Published tokenizers against their networks written plainly, one clip or image at a time.

    python -m benchmarks.published [--models …] [--sizes 256x256 480x864] [--frames 17 33] [--parts encode]

Sizes that a model does not take are left out: Infinity has 256x256 and 512x512, but not 480x864.
Weights are random and the same on both sides. Every way runs once in each round, in turn, in a process of its
own. Seconds are CPU time of all threads. The floor is the published networks' operations at the rate of one
large 3×3 convolution in the same process.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.published.models import CONFIGS, clip_of, operations
from benchmarks.published.one_run import one_run
from benchmarks.published.ways import Convolutions
from benchmarks.repeated import ratio, summary
from bitmill.schemas.models.geometry import Geometry, grid_name

_PARTS = ("encode", "decode")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.published",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--models", nargs="+", default=[*CONFIGS], choices=[*CONFIGS])
    add("--sizes", nargs="+", default=["256x256", "480x864"], help="height x width (default: %(default)s)")
    add("--frames", type=int, nargs="+", default=[17, 33], help="of clips, at most (default: %(default)s)")
    add("--parts", nargs="+", default=_PARTS, choices=_PARTS)
    add("--rounds", type=int, default=3, help="repetitions (default: %(default)s)")
    add("--threads", type=int, default=1, help="of torch (default: %(default)s)")
    add("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def measure(
    model: str, what: str, shape_THW: tuple[int, int, int], *, rounds: int, threads: int
) -> dict[str, Any]:
    """Seconds of both ways, our share of the floor, and bytes of both at their peak."""
    runs: dict[str, list[dict[str, Any]]] = {"bitmill": [], "peer": []}
    for _ in range(rounds):
        for who, told in runs.items():
            told.append(one_run(who, model, what, shape_THW, threads))
    seconds = {who: summary([run["seconds"] for run in told]) for who, told in runs.items()}
    floor = summary([run["floor"] for run in runs["bitmill"]])
    share = operations(model, clip_of(*shape_THW), decodes=what == "decode") / Convolutions().operations
    return {
        "model": model,
        "what": what,
        "shape": shape_THW,
        "seconds": seconds,
        "ratio": ratio(seconds["peer"], seconds["bitmill"]),
        "share_of_floor": share * ratio(floor, seconds["bitmill"]),
        "bytes": {who: max(run["bytes"] for run in told) for who, told in runs.items()},
    }


def row(told: dict[str, Any]) -> str:
    """Of the Markdown table."""
    frames, height, width = told["shape"]
    seconds = " | ".join(f"{told['seconds'][who]['median']:.3g}" for who in ("bitmill", "peer"))
    memory = " | ".join(f"{told['bytes'][who] / 2**30:.2f}" for who in ("bitmill", "peer"))
    shape = f"{height}×{width}, {frames}"
    return (
        f"| {told['model']} | {told['what']} | {shape} | {seconds} | {told['ratio']:.2f}× | "
        f"{told['share_of_floor']:.2f} | {memory} |"
    )


def shapes(
    geometry: Geometry, height: int, width: int, num_frames: Sequence[int]
) -> list[tuple[int, int, int]]:
    """The clips T, H, W of at most so many frames that the tokenizer takes, each once."""
    if geometry.schedules is not None and grid_name(*geometry.grid(height, width)) not in geometry.schedules:
        return []
    lengths = (geometry.legal_at_most(most) or geometry.least_frames for most in num_frames)
    return [(length, height, width) for length in dict.fromkeys(lengths)]


def main() -> None:
    asked = _arguments()
    where = machine.describe(["torch"])
    print(f"float32, {asked.threads} threads; {machine.sentence(where)}\n")
    print(
        "| model | | size, frames | bitmill, s | peer, s | ratio | of the floor | bitmill, GiB | peer, GiB |"
    )
    print("|" + "---|" * 9, flush=True)
    told: list[dict[str, Any]] = []
    for size in asked.sizes:
        height, width = map(int, size.split("x"))
        for model in asked.models:
            for shape_THW in shapes(CONFIGS[model].geometry, height, width, asked.frames):
                for what in asked.parts:
                    told.append(measure(model, what, shape_THW, rounds=asked.rounds, threads=asked.threads))
                    print(row(told[-1]), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps({"machine": where, "figures": told}, indent=2) + "\n")


if __name__ == "__main__":
    main()
