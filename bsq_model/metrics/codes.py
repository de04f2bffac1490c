"""Code usage: entropy of each dimension and number of distinct codes. Axes: M tokens, D dimensions."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bitmill.schemas.models.geometry import Code

_WORD_BITS = 64


def bit_entropies(share_of_ones_L: Tensor) -> Tensor:
    """Return each bit's entropy from the share of tokens in which it is one: float64 [L], in bits, 0 to 1."""
    p_L = share_of_ones_L.double()
    return (torch.special.entr(p_L) + torch.special.entr(1 - p_L)) / torch.log(torch.tensor(2.0).double())


def digit_entropies(shares_V: Tensor, code: Code) -> Tensor:
    """Return each digit's entropy as a share of the largest that it could have, float64 [D].

    ``shares_V`` are the shares of tokens of each value of the first digit, then of the second, ….
    """
    parts = shares_V.double().split(list(code.bases))
    return torch.stack([torch.special.entr(part).sum() / math.log(len(part)) for part in parts])


def digit_shares(digits_xD: Tensor, code: Code) -> Tensor:
    """Return the shares of tokens of each value of the first digit, then of the second, …: float32 [V]."""
    digits_MD = digits_xD.flatten(0, -2)
    parts = [
        torch.bincount(digits_M, minlength=base) / len(digits_M)
        for digits_M, base in zip(digits_MD.unbind(1), code.bases, strict=True)
    ]
    return torch.cat(parts)


class CodeCounts:
    """Counts values of each dimension (bit, digit, or the index) and codes over tokens.

    Memory grows by 16 bytes or more per distinct code.
    """

    def __init__(self, code: Code) -> None:
        self.num_tokens = 0
        self._code = code
        # An index may have any number of values, of which those seen are counted as codes.
        self._values = [np.zeros(base, np.int64) for base in code.bases if code.kind != "index"]
        self._codes: npt.NDArray[Any] = np.zeros(0, self._names(np.zeros((1, code.dimensions), bool)).dtype)
        self._counts: npt.NDArray[np.int64] = np.zeros(0, np.int64)

    def add(self, codes_xD: Tensor) -> None:
        """Count tokens, [..., D], as a tokenizer gives them."""
        codes_MD: npt.NDArray[Any] = codes_xD.reshape(-1, codes_xD.shape[-1]).cpu().numpy()
        self.num_tokens += len(codes_MD)
        for dimension, counts in enumerate(self._values):
            np.add(counts, np.bincount(codes_MD[:, dimension], minlength=len(counts)), out=counts)
        every = np.concatenate([self._codes, self._names(codes_MD)])
        weights = np.concatenate([self._counts, np.ones(len(codes_MD), np.int64)])
        self._codes, inverse = np.unique(every, return_inverse=True)
        self._counts = np.bincount(inverse, weights).astype(np.int64)

    def _names(self, codes_MD: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a value per token, different for different codes."""
        if self._code.bits_per_token <= _WORD_BITS:
            weights = np.cumprod([1, *self._code.bases[:-1]], dtype=np.uint64)
            return (codes_MD.astype(np.uint64) * weights).sum(1, dtype=np.uint64)
        packed_MB = np.packbits(codes_MD, axis=1)
        return packed_MB.view(f"S{packed_MB.shape[1]}")[:, 0]

    @property
    def entropies(self) -> Tensor:
        """Entropy of each dimension over all tokens, float64 [D], in bits."""
        counted = self._values or [self._counts]
        return torch.tensor([_entropy(counts) for counts in counted], dtype=torch.float64)

    @property
    def shares(self) -> Tensor:
        """Each dimension's entropy as a share of the largest that it could have, float64 [D]."""
        return self.entropies / torch.tensor(self._code.bases, dtype=torch.float64).log2()

    @property
    def used_codes(self) -> int:
        """Distinct codes seen."""
        return len(self._codes)

    @property
    def code_entropy_bits(self) -> float:
        """Entropy of the code distribution, in bits per token; at most log2 of the tokens counted."""
        return _entropy(self._counts)


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    return float(torch.special.entr(torch.from_numpy(counts / max(int(counts.sum()), 1))).sum() / np.log(2))
