"""Clip signatures for duplicate search: a hash of the codes, words of sampled bits, and the location."""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from bitmill.pipeline.auditing.duplicates.lsh import num_words, sample_words
from bitmill.pipeline.auditing.shard.collector_protocol import RowGroupData
from bitmill.schemas.arrays import Int64s

_ID_BYTES = 32
_CLIP_ID = f"^[0-9a-f]{{{_ID_BYTES}}}$"
_DIGEST_BYTES = 16
_SIDE_BITS = 20
"""Bits for each side of a clip's token grid."""
_KEPT_BYTES = 1 << 26

Shape = tuple[int, int, int]
"""t, h and w of a clip's token grid."""
Signatures = npt.NDArray[np.void]
"""Structured: ``shard``, ``group`` and ``row`` (in the group), ``start`` (of its codes), ``clip_id``,
``digest`` (as two uint64), ``shape`` (three sides in a uint64), ``tokens`` (their number) and ``words`` [W].
"""


def signature_type(radius: float) -> np.dtype[np.void]:
    """A signature's dtype, whose number of words depends on the radius."""
    return np.dtype(
        [
            ("shard", np.int32),
            ("group", np.int32),
            ("row", np.int32),
            ("start", np.int64),
            ("clip_id", f"S{_ID_BYTES}"),
            ("digest", np.uint64, 2),
            ("shape", np.uint64),
            ("tokens", np.int64),
            ("words", np.uint32, num_words(radius)),
        ]
    )


class DuplicateSignatures:
    """Signatures of clips in order of arrival. Beyond 64 MiB they are stored in a temporary file.

    Pickles with all signatures (216 bytes per clip at a radius of 0.05), wherever they are stored.
    """

    def __init__(self, bits_per_token: int, radius: float, folder: Path | None = None) -> None:
        """``folder`` is for the temporary file; the default is the system's temporary folder."""
        self.bits_per_token = bits_per_token
        self.radius = radius
        self.num_clips = 0
        self.record_type = signature_type(radius)
        self._folder = folder
        self._kept: list[Signatures] = []
        self._kept_bytes = 0
        self._file: Any = None

    def add(self, group: RowGroupData) -> None:
        """Add a row group's clips. Skips a clip without a valid id, because no list could name it."""
        clip_ids, codes = group.table.column("clip_id"), group.codes
        rows = np.flatnonzero(pc.match_substring_regex(clip_ids, _CLIP_ID).to_numpy())
        starts, shapes_n3, num_tokens = group.starts[rows], group.shapes_n3[rows], group.num_tokens[rows]
        num_bits = num_tokens * self.bits_per_token
        signatures = np.zeros(len(rows), self.record_type)
        signatures["shard"], signatures["group"] = group.shard, group.number
        signatures["row"], signatures["start"], signatures["tokens"] = rows, starts, num_tokens
        signatures["clip_id"] = np.array(clip_ids.to_pylist(), object)[rows].astype(f"S{_ID_BYTES}")
        signatures["digest"] = _digests(codes, starts, num_bits, shapes_n3)
        sides = shapes_n3.astype(np.uint64) << np.arange(3, dtype=np.uint64) * np.uint64(_SIDE_BITS)
        signatures["shape"] = np.bitwise_or.reduce(sides, axis=1)
        signatures["words"] = sample_words(codes, starts, num_bits, self.record_type["words"].shape[0])
        self._append(signatures)

    def merge(self, other: "DuplicateSignatures") -> None:
        """Add the following clips' signatures. Raises ValueError if their tokens or radius differ."""
        if (self.bits_per_token, self.radius) != (other.bits_per_token, other.radius):
            raise ValueError("signatures of other tokens or another radius cannot be compared")
        for chunk in other.chunks():
            self._append(chunk)

    def chunks(self) -> Iterator[Signatures]:
        """Yield all signatures in order, in batches."""
        if self._file is not None:
            self._file.seek(0)
            size = max(1, (1 << 22) // self.record_type.itemsize) * self.record_type.itemsize
            while data := self._file.read(size):
                yield np.frombuffer(data, self.record_type)
        yield from self._kept

    def _append(self, signatures: Signatures) -> None:
        if not len(signatures):
            return
        self._kept.append(signatures)
        self._kept_bytes += signatures.nbytes
        self.num_clips += len(signatures)
        if self._kept_bytes > _KEPT_BYTES:
            self._file = self._file or tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
            self._file.seek(0, 2)
            for kept in self._kept:
                self._file.write(kept.data)
            self._kept, self._kept_bytes = [], 0

    def __getstate__(self) -> dict[str, Any]:
        every = np.concatenate([np.empty(0, self.record_type), *self.chunks()])
        return self.__dict__ | {"_kept": [every], "_kept_bytes": every.nbytes, "_file": None, "_folder": None}


def _digests(
    codes: npt.NDArray[np.uint8], starts: Int64s, num_bits: Int64s, shapes_n3: Int64s
) -> npt.NDArray[np.uint64]:
    view = codes.data
    ends = starts + (num_bits + 7) // 8
    places = zip(shapes_n3.tolist(), starts.tolist(), ends.tolist(), strict=True)
    digests = b"".join(digest_of(shape, view[start:end]) for shape, start, end in places)
    return np.frombuffer(digests, "<u8").reshape(-1, 2)


def digest_of(shape: Sequence[int], codes: memoryview) -> bytes:
    """128 bits of BLAKE2b over a clip's shape and codes."""
    hashed = hashlib.blake2b(pack("<3q", *shape), digest_size=_DIGEST_BYTES)
    hashed.update(codes)
    return hashed.digest()


def shape_of(sides: np.uint64) -> Shape:
    """Unpack the shape from a signature."""
    frames, height, width = (int(sides) >> _SIDE_BITS * side & (1 << _SIDE_BITS) - 1 for side in range(3))
    return frames, height, width
