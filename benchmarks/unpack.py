"""How quickly packed codes become int64 tokens on one thread, against a mere copy of the result.

    python -m benchmarks.unpack [--bits 18 12 36] [--rounds N] [--json FILE]

Random tokens of one clip (4,096) and of one row group (4 MiB of codes). Every way gives the same tokens; that
is checked first, then each is timed once a round, one after another.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import machine
from benchmarks.repeated import ratio, summary
from bitmill.pipeline.reading.kernels.unpack import SPARE_BYTES, address_of, unpack_into, unpack_pieces
from bitmill.schemas.dataset.packing import pack_integers, packed_size, unpack_integers

CLIP_TOKENS = 4096
_ROW_GROUP_BYTES = 1 << 22
_PACKAGES = ["numpy", "numba"]

Tokens = npt.NDArray[np.int64]
Figures = dict[str, Any]
"""Tokens a second: median, min, max, rounds."""


@dataclass(frozen=True)
class Codes:
    """Packed tokens, and room for the unpacked ones."""

    codes: npt.NDArray[np.uint8]
    expected: Tokens
    out: Tokens
    bits: int
    pieces_P4: Tokens
    """A piece a clip, by the addresses of ``codes``; of ``bitmill.pipeline.reading.kernels.unpack``."""
    runs_R3: Tokens

    @classmethod
    def random(cls, num_clips: int, bits: int) -> "Codes":
        """Clips of 4,096 tokens, which fill whole bytes, end to end."""
        num_tokens = num_clips * CLIP_TOKENS
        expected = np.random.default_rng(bits).integers(0, 1 << bits, num_tokens, dtype=np.int64)
        packed = pack_integers(expected, bits)
        codes = np.frombuffer(packed + bytes(SPARE_BYTES), np.uint8)[: len(packed)]
        clip_bytes = packed_size(CLIP_TOKENS, bits)
        pieces_P4 = np.array(
            [
                [address_of(codes) + clip * clip_bytes, 0, CLIP_TOKENS, clip * CLIP_TOKENS]
                for clip in range(num_clips)
            ]
        )
        runs_R3 = np.array([[address_of(pieces_P4), num_clips, 0]])
        return cls(codes, expected, np.empty(num_tokens, np.int64), bits, pieces_P4, runs_R3)


def copy(given: Codes) -> Tokens:
    np.copyto(given.out, given.expected)
    return given.out


def compiled(given: Codes) -> Tokens:
    unpack_into(given.codes, given.out, given.bits)
    return given.out


def pieces(given: Codes) -> Tokens:
    """As the reader does it: clip by clip in one call, from codes that lie in a buffer with room behind."""
    unpack_pieces(given.runs_R3, given.out[:, None], given.bits)
    return given.out


def strided(given: Codes) -> Tokens:
    return unpack_integers(given.codes, len(given.out), given.bits)


def bit_by_bit(given: Codes) -> Tokens:
    """The reader of docs/format.md."""
    stream = np.unpackbits(given.codes, count=len(given.out) * given.bits, bitorder="little")
    return (stream.reshape(-1, given.bits) * (1 << np.arange(given.bits, dtype=np.int64))).sum(-1)


WAYS: dict[str, Callable[[Codes], Tokens]] = {
    "memcpy of the result": copy,
    "bitmill, compiled, as the reader calls it": pieces,
    "bitmill, compiled, unpack_into": compiled,
    "bitmill, numpy, a new array": strided,
    "np.unpackbits, a new array": bit_by_bit,
}
"""By the table's row; the first is what the others are compared with."""


def tokens_per_s(unpack: Callable[[Codes], Tokens], given: Codes, seconds: float) -> float:
    """Over as many calls as fill ``seconds``."""
    began = time.perf_counter()
    calls = 0
    while (spent := time.perf_counter() - began) < seconds:
        unpack(given)
        calls += 1
    return calls * len(given.out) / spent


def measure(bits: int, rounds: int, seconds: float) -> dict[str, dict[str, Figures]]:
    """Figures by size and way. Raises ValueError where a way gives other tokens."""
    clip_bytes = packed_size(CLIP_TOKENS, bits)
    num_clips = -(-_ROW_GROUP_BYTES // clip_bytes)
    sizes = {
        "one clip": Codes.random(1, bits),
        f"a row group of {num_clips} clips": Codes.random(num_clips, bits),
    }
    for given in sizes.values():
        for name, unpack in WAYS.items():
            given.out.fill(0)
            if not np.array_equal(unpack(given), given.expected):
                raise ValueError(f"{name} gives other tokens of {bits} bits than were packed")
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(rounds):
        for size, given in sizes.items():
            for name, unpack in WAYS.items():
                found[size, name].append(tokens_per_s(unpack, given, seconds))
    return {size: {name: summary(found[size, name]) for name in WAYS} for size in sizes}


def table(bits: int, sizes: dict[str, dict[str, Figures]]) -> str:
    """Markdown: Mtok/s, median (min–max), and the share of a memcpy's speed."""
    lines = [f"| {bits} bits a token, Mtok/s, × memcpy | " + " | ".join(sizes) + " |"]
    lines.append("|---" * (len(sizes) + 1) + "|")
    for name in WAYS:
        cells = [_cell(rates[name], next(iter(rates.values()))) for rates in sizes.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(rate: Figures, memcpy: Figures) -> str:
    middle, low, high = (f"{rate[key] / 1e6:,.0f}" for key in ("median", "min", "max"))
    return f"{middle} ({low}–{high}), {ratio(rate, memcpy):.2f}×"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.unpack",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bits", type=int, nargs="+", default=[18], help="bits a token, 1 to 62")
    parser.add_argument("--rounds", type=int, default=9, help="repetitions (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.2, help="of each (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    asked = parser.parse_args()
    where = machine.describe(_PACKAGES)
    told: dict[int, Any] = {bits: measure(bits, asked.rounds, asked.seconds) for bits in asked.bits}
    if asked.json:
        everything = {"rounds": asked.rounds, "seconds": asked.seconds, "machine": where, "bits": told}
        asked.json.write_text(json.dumps(everything, indent=2) + "\n")
    print(f"One thread, {asked.rounds} rounds; {machine.sentence(where)}")
    for bits, sizes in told.items():
        print("\n" + table(bits, sizes))


if __name__ == "__main__":
    main()
