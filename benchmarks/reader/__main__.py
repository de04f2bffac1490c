"""How quickly tokens come back for training: bitmill's reader against other formats and their readers.

    python -m benchmarks.reader [--clips N] [--rounds N] [--seconds S] [--folder F] [--json FILE]
    python -m benchmarks.reader --s3                       # behind an S3 server that is started here
    python -m benchmarks.reader --s3 s3://bucket/prefix    # behind one that the environment names
    python -m benchmarks.reader.buckets                    # batches of several grids against those of one

Every contender stores the same random 18-bit codes of N clips of 16×16×16 tokens and gives int64 batches;
what it gives is compared with what was stored before anything is timed. Each runs in a process of its own;
in every round each is measured once in each way of reading, one after another, from a warm page cache. From
S3, an epoch (or 64 single clips) is timed as a whole, from opening on, with an empty local cache.

Peers beyond bitmill's dependencies: pip install --no-deps -r benchmarks/reader/peers.txt
One that is not installed is left out, and said to be. Each contender's module says how it is used, and why.
"""

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.reader.contender import CONTENDERS
from benchmarks.reader.corpus import TOKENS_PER_CLIP, make_corpus
from benchmarks.reader.measuring import MODES
from benchmarks.reader.report import rates_table, sizes_table
from benchmarks.reader.rounds import S3_MODES, Course, Told, measure, measure_s3, stored

_PACKAGES = ["torch", "numpy", "numba", "pyarrow", "s3fs", "litdata", "mosaicml-streaming", "webdataset"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reader",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--clips", type=int, default=20_000, help="of 4,096 tokens (default: %(default)s)")
    add("--batch", type=int, default=64, help="clips a batch (default: %(default)s)")
    add("--rounds", type=int, default=5, help="repetitions (default: %(default)s)")
    add("--seconds", type=float, default=2.0, help="of each measurement (default: %(default)s)")
    add("--folder", type=Path, help="keep what is written here (default: a temporary folder)")
    add("--contenders", default=",".join(CONTENDERS), help="some of %(default)s; ratios are to the first")
    add("--json", type=Path, help="write all figures to this file")
    add("--s3", nargs="?", const="", metavar="URI", help="read from S3: below URI, or a server started here")
    asked = parser.parse_args()
    asked.contenders = asked.contenders.split(",")
    unknown = [name for name in asked.contenders if name not in CONTENDERS]
    if unknown:
        parser.error(f"no contender {', '.join(unknown)}; there are {', '.join(CONTENDERS)}")
    return asked


def main() -> int:
    asked = _arguments()
    where = machine.describe(_PACKAGES)
    with ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        course = Course(
            folder=folder.resolve() / f"{asked.clips}-clips",
            corpus=folder.resolve() / f"{asked.clips}-clips" / "corpus.bin",
            batch_size=asked.batch,
            num_rounds=asked.rounds,
            seconds=asked.seconds,
        )
        make_corpus(course.corpus, asked.clips)
        told = {name: stored(name, course, from_s3=asked.s3 is not None) for name in asked.contenders}
        taking_part = {name: one for name, one in told.items() if "bytes" in one}
        for one in taking_part.values():
            one["bytes_per_token"] = one["bytes"] / (asked.clips * TOKENS_PER_CLIP)
        if asked.s3 is None:
            measure(taking_part, course)
        else:
            measure_s3(taking_part, course, asked.s3)
    settings = {"clips": asked.clips, "batch": asked.batch, "rounds": asked.rounds, "seconds": asked.seconds}
    if asked.json:
        everything = {**settings, "s3": asked.s3 is not None, "machine": where, "contenders": told}
        asked.json.write_text(json.dumps(everything, indent=2) + "\n")
    print(f"\n{asked.clips:,} clips of {TOKENS_PER_CLIP:,} tokens, batches of {asked.batch}, ", end="")
    print(f"{asked.rounds} rounds{'' if asked.s3 is None else ', from S3'}; {machine.sentence(where)}\n")
    print(rates_table(taking_part, MODES if asked.s3 is None else S3_MODES))
    if asked.s3 is None:
        print("\n" + sizes_table(taking_part))
    return _tell_rest(told)


def _tell_rest(told: dict[str, Told]) -> int:
    """Who was left out and what failed; gives the exit code, 1 where anything failed."""
    failures = 0
    for name, one in told.items():
        if "left_out" in one:
            print(f"\n{one['title']}: left out, {one['left_out']}")
        parts: dict[str, Any] = {"write": one, **one["modes"], "memory": one.get("memory", {})}
        for part, said in parts.items():
            if "failed" in said:
                failures += 1
                print(f"\n{name} {part}: FAILED, {said['failed']}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
