"""The symbols of a token: what the entropy coder codes, one after another.

Axes: N tokens, D dimensions of a code, G symbols of a token, S = N·G, g bits of a symbol.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bitmill.bsq_model.coding.symbol_model import Int64s
from bitmill.schemas.dataset.packing import Codes
from bitmill.schemas.models.geometry import Code

_MOST_SYMBOL_BITS = 12
"""A dimension of more values is several symbols, so that counts of values adapt and take little memory."""


@dataclass(frozen=True)
class Alphabet:
    """Groups of g bits; of other codes a symbol per dimension, or several if it has more than 2^12 values.

    Such a dimension is split into bits, in as few symbols as possible of widths that differ by at most one;
    the most significant bits come first.
    """

    code: Code
    group_bits: int = 1
    """g of a code of bits, a divisor of L; else 1."""

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """K of each symbol of a token, in coding order."""
        if self.code.kind == "bits":
            return (1 << self.group_bits,) * (self.code.bits_per_token // self.group_bits)
        return tuple(part.size for part in self._parts)

    def symbols_of(self, codes_ND: Codes) -> Int64s:
        """Return int64 [S], token after token."""
        if self.code.kind == "bits":
            return groups_of_bits(codes_ND, self.group_bits)
        columns = [codes_ND[:, part.dimension] >> part.shift & part.mask for part in self._parts]
        return np.stack(columns, axis=1, dtype=np.int64).reshape(-1)

    def codes_of(self, symbols_S: Int64s) -> Codes:
        """Invert ``symbols_of``: [N, D]. Symbols that no token has give a value outside its dimension."""
        if self.code.kind == "bits":
            return bits_of_groups(symbols_S, self.group_bits).reshape(-1, self.code.bits_per_token)
        symbols_NG = symbols_S.reshape(-1, len(self._parts))
        codes_ND = np.zeros((len(symbols_NG), self.code.dimensions), np.int64)
        for place, part in enumerate(self._parts):
            codes_ND[:, part.dimension] |= symbols_NG[:, place] << part.shift
        return codes_ND

    @cached_property
    def _parts(self) -> tuple["_Part", ...]:
        found: list[_Part] = []
        for dimension, base in enumerate(self.code.bases):
            shift = (base - 1).bit_length()
            for left in range(-(-shift // _MOST_SYMBOL_BITS), 0, -1):
                width = shift // left
                shift -= width
                found.append(
                    _Part(dimension, shift, (1 << width) - 1, min(1 << width, (base - 1 >> shift) + 1))
                )
        return tuple(found)


class _Part(NamedTuple):
    """One symbol of a dimension: its bits there, and K."""

    dimension: int
    shift: int
    mask: int
    size: int


def groups_of_bits(bits_NL: Codes, group_bits: int) -> Int64s:
    """Return groups in coding order, int64 [S]; a group's first bit is its most significant."""
    weights_g = 1 << np.arange(group_bits - 1, -1, -1, dtype=np.int64)
    return bits_NL.reshape(-1, group_bits).astype(np.int64) @ weights_g


def bits_of_groups(indices_S: Int64s, group_bits: int) -> npt.NDArray[np.bool_]:
    """Return the bits of groups, bool [S, g]: the inverse of ``groups_of_bits``."""
    return (indices_S[:, None] >> np.arange(group_bits - 1, -1, -1) & 1).astype(np.bool_)
