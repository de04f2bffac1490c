"""A bounded set of texts, chosen by hash, so that the choice depends neither on order nor on merging."""

import hashlib
import heapq


class SmallestHashes:
    """The ``max_texts`` texts with the smallest hashes.

    Chosen by hash instead of by count, a text that is in the set in the end was in it since its first
    occurrence, in every merged part: so what is counted by text is exact.
    """

    def __init__(self, max_texts: int) -> None:
        self._max_texts = max_texts
        self._largest: list[tuple[int, str]] = []
        """A heap, largest hash first (negated)."""

    def add(self, text: str) -> str | None:
        """Add a text that is not in the set; return the one left out: None, another, or the text itself."""
        entry = (-_hash(text), text)
        if len(self._largest) < self._max_texts:
            heapq.heappush(self._largest, entry)
            return None
        return heapq.heappushpop(self._largest, entry)[1]


def _hash(text: str) -> int:
    # Foreign text may contain surrogates.
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest())
