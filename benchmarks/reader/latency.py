"""How far reading ahead makes up for a store's latency: bitmill's reader from S3, each request delayed.

    python -m benchmarks.reader.latency [--ms 0 20] [--clips N] [--rounds N] [--seconds S] [--folder F]

An S3 server is started on this machine, and before it a proxy for each delay, in a process of its own; the
delays take turns. Rates are of whole epochs after the opening, by the reader's defaults, without a cache.
"""

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks import machine
from benchmarks.reader.corpus import make_corpus
from benchmarks.reader.delaying_proxy import proxy_process
from benchmarks.reader.rounds import Course, stored
from benchmarks.reader.s3 import served
from benchmarks.repeated import ratio, summary

_MODES = ("sequential", "shuffled")


def measure(course: Course, delays_ms: list[int]) -> dict[tuple[str, int], list[float]]:
    """Million tokens a second by mode and delay, one of each round."""
    rates: dict[tuple[str, int], list[float]] = {(mode, ms): [] for mode in _MODES for ms in delays_ms}
    with ExitStack() as stack:
        server = stack.enter_context(served("", course.folder, ["ours"]))
        children = {}
        for ms in delays_ms:
            endpoint = stack.enter_context(proxy_process(server.environment["AWS_ENDPOINT_URL"], ms / 1e3))
            environment = {**server.environment, "AWS_ENDPOINT_URL": endpoint}
            children[ms] = stack.enter_context(course.child("ours", f"{server.uri}/ours", environment))
        for number in range(1, course.num_rounds + 1):
            for mode in _MODES:
                for ms, child in children.items():
                    said = child.ask("rate", mode=mode, epoch=1000 * number, seconds=course.seconds)
                    rates[mode, ms].append(said["tokens_per_s"] / 1e6)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reader.latency",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--ms", type=int, nargs="+", default=[0, 20], help="of each request (default: 0 20)")
    add("--clips", type=int, default=20_000, help="of 4,096 tokens (default: %(default)s)")
    add("--rounds", type=int, default=5, help="repetitions (default: %(default)s)")
    add("--seconds", type=float, default=3.0, help="of each measurement (default: %(default)s)")
    add("--folder", type=Path, help="keep what is written here (default: a temporary folder)")
    asked = parser.parse_args()
    where = machine.describe(["torch", "numpy", "pyarrow", "s3fs"])
    with ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place = folder.resolve() / f"{asked.clips}-clips"
        course = Course(
            folder=place,
            corpus=place / "corpus.bin",
            batch_size=64,
            num_rounds=asked.rounds,
            seconds=asked.seconds,
        )
        make_corpus(course.corpus, asked.clips)
        stored("ours", course, from_s3=True)
        rates = measure(course, asked.ms)
    print(f"{asked.clips:,} clips, {asked.rounds} rounds; {machine.sentence(where)}\n")
    print("| | " + " | ".join(f"{ms} ms" for ms in asked.ms) + " |")
    print("|---" * (len(asked.ms) + 1) + "|")
    for mode in _MODES:
        cells: list[str] = []
        for ms in asked.ms:
            one = summary(rates[mode, ms])
            relative = ratio(one, summary(rates[mode, asked.ms[0]]))
            cells.append(f"{one['median']:.0f} ({one['min']:.0f}–{one['max']:.0f}), {relative:.2f}×")
        print(f"| {mode} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
