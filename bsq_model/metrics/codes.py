"""Code usage: entropy of each bit and number of distinct codes. Axes: M tokens, L bits."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def bit_entropies(share_of_ones_L: Tensor) -> Tensor:
    """Return each bit's entropy from the share of tokens in which it is one: float64 [L], in bits, 0 to 1."""
    p_L = share_of_ones_L.double()
    return (torch.special.entr(p_L) + torch.special.entr(1 - p_L)) / torch.log(torch.tensor(2.0).double())


class CodeCounts:
    """Counts bits and codes over tokens; memory grows by 16 bytes per distinct code."""

    def __init__(self, bits_per_token: int) -> None:
        self.num_tokens = 0
        self._ones_L = torch.zeros(bits_per_token, dtype=torch.int64)
        self._codes: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._counts: npt.NDArray[np.int64] = np.zeros(0, np.int64)

    def add(self, bits_xL: Tensor) -> None:
        """Count tokens, bool [..., L], L ≤ 64."""
        bits_ML = bits_xL.reshape(-1, bits_xL.shape[-1]).cpu()
        self.num_tokens += len(bits_ML)
        self._ones_L += bits_ML.sum(0)
        place = np.arange(bits_ML.shape[1], dtype=np.uint64)[::-1]
        codes = (bits_ML.numpy().astype(np.uint64) << place).sum(1, dtype=np.uint64)
        every = np.concatenate([self._codes, codes])
        weights = np.concatenate([self._counts, np.ones(len(codes), np.int64)])
        self._codes, inverse = np.unique(every, return_inverse=True)
        self._counts = np.bincount(inverse, weights).astype(np.int64)

    @property
    def entropies(self) -> Tensor:
        """Entropy of each bit over all tokens, float64 [L], in bits."""
        return bit_entropies(self._ones_L.double() / max(self.num_tokens, 1))

    @property
    def used_codes(self) -> int:
        """Distinct codes seen."""
        return len(self._codes)

    @property
    def code_entropy_bits(self) -> float:
        """Entropy of the code distribution, in bits per token; at most log2 of the tokens counted."""
        p = torch.from_numpy(self._counts / max(self.num_tokens, 1))
        return float(torch.special.entr(p).sum() / np.log(2))
