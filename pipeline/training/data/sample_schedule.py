"""Draws sample k as a pure function of (seed, k, number of sources), without state.

Random numbers are BLAKE2b digests (RFC 7693) of a purpose and decimal indices: a counter-based generator
whose output the standard fixes on every machine, byte order and library version.
"""

import struct
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b

_ROUNDS = 6
_SHARE_STEPS = 1_000_000


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample's source and random numbers; fractions are in [0, 1)."""

    source_index: int
    time: float
    """Position in a video; unused for an image."""
    top: float
    left: float
    """Position of the crop within the picture's free margin."""
    scale: float
    """Position in the range of crop scales."""
    flip: bool


@dataclass(frozen=True, slots=True)
class BatchPlace:
    """A batch's kind, and its index among the batches of that kind."""

    is_image: bool
    position: int


def draw(seed: int, sample_index: int, attempt: int, num_sources: int) -> Draw:
    """Draw sample ``sample_index`` of an endless sequence over sources 0 … num_sources − 1.

    At attempt 0, epoch e, samples [e·n, (e+1)·n), visits every source exactly once, in its own order. A later
    attempt, for a sample whose source failed, draws any source and new random numbers.
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
    """Return where the epoch's permutation of range(length) maps ``position``, in constant memory.

    A Feistel network permutes the next power of four; results beyond ``length`` are permuted again until they
    are inside ("cycle walking"), which keeps it a permutation.
    """
    half_bits = max(1, ((length - 1).bit_length() + 1) // 2)
    place = position
    while True:
        place = _feistel(seed, epoch, place, half_bits)
        if place < length:
            return place


def place_of_batch(seed: int, step: int, image_share: float) -> BatchPlace:
    """Return the kind and index of global batch ``step`` when image and video batches alternate.

    Image batches are spread evenly, ⌊share·s + offset⌋ of them before step s, with an offset drawn from the
    seed, so that a batch's index among its kind is known without counting.
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
    """Return the upper 53 bits as a fraction, which a double represents exactly."""
    return (word >> 11) * 2.0**-53
