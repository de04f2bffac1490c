"""What sample k is, as a pure function of (seed, k, number of sources): no state, no order of evaluation.

Random numbers are BLAKE2b digests (RFC 7693) of the decimal names of what is drawn: a counter-based generator
whose output the standard fixes, on every machine, byte order and library version.
"""

import struct
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b

_ROUNDS = 6
_SHARE_STEPS = 1_000_000


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample's source and chances; fractions lie in [0, 1)."""

    source_index: int
    time: float
    """Where in a video; an image has no use for it."""
    top: float
    left: float
    """Where the crop lies within the room that it has."""
    scale: float
    """Where in the range of crop scales."""
    flip: bool


@dataclass(frozen=True, slots=True)
class BatchPlace:
    """A batch's kind, and its place among the batches of that kind."""

    is_image: bool
    position: int


def draw(seed: int, sample_index: int, attempt: int, num_sources: int) -> Draw:
    """Sample ``sample_index`` of an endless sequence over sources 0 … num_sources − 1.

    At attempt 0 each epoch, samples [e·n, (e+1)·n), visits every source exactly once, in an order of its own.
    A later attempt, for a sample whose source failed, takes any source, and other chances.
    """
    words = struct.unpack("<8Q", _digest(b"sample", seed, sample_index, attempt))
    if attempt == 0:
        epoch, position = divmod(sample_index, num_sources)
        source_index = permuted(seed, epoch, position, num_sources)
    else:
        source_index = words[0] * num_sources >> 64
    time, top, left, scale = map(_fraction, words[1:5])
    return Draw(source_index, time, top, left, scale, flip=bool(words[5] & 1))


def permuted(seed: int, epoch: int, position: int, length: int) -> int:
    """Where ``position`` goes in the epoch's permutation of range(length); memory does not grow with length.

    A Feistel network permutes the next power of four; results beyond ``length`` are permuted again until they
    fall inside ("cycle walking"), which keeps it a permutation.
    """
    half_bits = max(1, ((length - 1).bit_length() + 1) // 2)
    place = position
    while True:
        place = _feistel(seed, epoch, place, half_bits)
        if place < length:
            return place


def place_of_batch(seed: int, step: int, image_share: float) -> BatchPlace:
    """The kind of global batch ``step`` where images and videos take turns.

    Image batches are spread evenly, ⌊share·s + offset⌋ of them before step s, with an offset drawn from the
    seed: so any batch's place among its kind is known without counting.
    """
    share = Fraction(image_share).limit_denominator(_SHARE_STEPS)
    offset = Fraction(int.from_bytes(_digest(b"kinds", seed)[:8], "little"), 1 << 64)
    before, after = int(share * step + offset), int(share * (step + 1) + offset)
    return BatchPlace(True, before) if after > before else BatchPlace(False, step - before)


def _feistel(seed: int, epoch: int, value: int, half_bits: int) -> int:
    mask = (1 << half_bits) - 1
    left, right = value >> half_bits, value & mask
    for number in range(_ROUNDS):
        mixed = int.from_bytes(_digest(b"order", seed, epoch, number, right)[:8], "little")
        left, right = right, left ^ (mixed & mask)
    return left << half_bits | right


def _digest(what: bytes, *names: int) -> bytes:
    return blake2b(",".join(map(str, names)).encode(), digest_size=64, person=what).digest()


def _fraction(word: int) -> float:
    """The upper 53 bits, which a double holds exactly."""
    return (word >> 11) * 2.0**-53
