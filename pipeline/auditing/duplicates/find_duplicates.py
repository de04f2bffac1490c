"""Turns clip signatures into groups of duplicates and the list of clips to exclude."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bitmill.pipeline.auditing.duplicates.clip_distances import ClipRereader
from bitmill.pipeline.auditing.duplicates.collection import ClipCollection
from bitmill.pipeline.auditing.duplicates.exact_duplicates import exact_copies
from bitmill.pipeline.auditing.duplicates.lsh import WORD_BITS, missed, num_words
from bitmill.pipeline.auditing.duplicates.near_duplicates import (
    BEFORE_IN_BUCKET,
    FIRST_IN_BUCKET,
    candidate_pairs,
)
from bitmill.pipeline.auditing.duplicates.resolve_duplicates import resolve
from bitmill.pipeline.auditing.duplicates.signatures import DuplicateSignatures
from bitmill.pipeline.auditing.duplicates.stored_clips import ClipStore
from bitmill.schemas.arrays import Float64s, Int64s
from bitmill.schemas.errors import UsageError
from bitmill.schemas.reports.audit_report import DuplicateGroup, Duplicates

PARTITION_BYTES = 1 << 25
_MAX_GROUPS = 100
_MAX_CLIPS_OF_GROUP = 8


@dataclass(frozen=True)
class _Found:
    """Duplicates in the audited dataset, ascending by their numbers."""

    kept: Int64s
    clips: Int64s
    distances: Float64s
    originals: Int64s
    """The first clip with equal codes; the clip itself if there is none."""


def find_duplicates(
    own: DuplicateSignatures,
    others: Sequence[tuple[str, DuplicateSignatures]],
    store: ClipStore,
    *,
    list_path: Path | None = None,
    folder: Path | None = None,
    partition_bytes: int = PARTITION_BYTES,
) -> Duplicates:
    """Compare a dataset's clips with each other, and with those of other datasets of the same tokenizer.

    The other datasets come first, in their order: their clips are kept, and only clips of the audited dataset
    are duplicates. ``store`` numbers datasets in this order, the audited one last. Writes the ids of all
    duplicates to ``list_path``, one per line. Temporary files in ``folder`` take 800 bytes per clip at a
    radius of 0.05; memory holds one partition, 4 bytes per clip, and about 100 bytes per duplicate. Raises
    UsageError if the datasets' tokens cannot be compared.
    """
    datasets = [*(signatures for _, signatures in others), own]
    if any((d.bits_per_token, d.radius) != (own.bits_per_token, own.radius) for d in datasets):
        raise UsageError("Only datasets of one tokenizer can be searched together for duplicates.")
    with tempfile.TemporaryDirectory(dir=folder, prefix="bitmill-duplicates-") as work:
        clips = ClipCollection(Path(work), datasets)
        rereader = ClipRereader(clips, store, [*(name for name, _ in others), None])
        found = _search(clips, rereader, own.radius, Path(work), partition_bytes)
        if list_path is not None:
            _write_list(clips, found.clips, list_path)
        is_copy = found.originals != found.clips
        return Duplicates(
            others=[name for name, _ in others],
            radius=own.radius,
            method=method(own.radius),
            exact_groups=len(np.unique(found.originals[is_copy])),
            exact_clips=int(is_copy.sum()),
            near_groups=len(np.unique(found.kept[~is_copy])),
            near_clips=int((~is_copy).sum()),
            groups=_groups(found, rereader),
            list_file=list_path.name if list_path is not None else None,
        )


def method(radius: float) -> str:
    """How duplicates are found and which may be missed, as text for the report."""
    words = num_words(radius)
    crowd = FIRST_IN_BUCKET + BEFORE_IN_BUCKET
    return (
        f"Exact: the same shape and codes, by a hash of 128 bits. Near: of clips of one shape, "
        f"{words * WORD_BITS} bits at places drawn from the whole clip make {words} words; clips that share "
        f"one are compared, first in the drawn bits, then in all. Of pairs that differ in just {radius:.2%} "
        f"of their bits, {missed(radius, radius):.3%} share no word and are missed; at {radius / 2:.2%}, "
        f"{missed(radius / 2, radius):.1e} of them. Where more than {crowd} clips before it share a word, a "
        f"clip is compared with the first {FIRST_IN_BUCKET} and the last {BEFORE_IN_BUCKET} of them. A clip "
        "is a duplicate where it lies within the radius of an earlier one that stays. Clips of one scene "
        "that begin at other times, or have other lengths, are not found. Bits are those of the stored "
        "codes, also where these are digits or an index."
    )


def _search(
    clips: ClipCollection, rereader: ClipRereader, radius: float, folder: Path, partition_bytes: int
) -> _Found:
    firsts, copies = exact_copies(clips, folder, partition_bytes)
    is_copy = np.zeros(len(clips), np.bool_)
    is_copy[copies] = True
    candidates = candidate_pairs(clips, is_copy, radius, folder, partition_bytes)
    kept, near, far = resolve(candidates, len(clips), radius, rereader.distances)
    # Copies of a clip that is itself a duplicate belong to its group.
    moved, places = np.isin(firsts, near), np.searchsorted(near, firsts)
    copies_kept, copies_far = firsts.copy(), np.zeros(len(firsts))
    copies_kept[moved], copies_far[moved] = kept[places[moved]], far[places[moved]]
    every = _Found(
        np.concatenate((kept, copies_kept)),
        np.concatenate((near, copies)),
        np.concatenate((far, copies_far)),
        np.concatenate((near, firsts)),
    )
    first_own = clips.firsts[-2]
    # Two clips with one id are damage and reported as that; listing the id would remove both.
    ids = clips.clips["clip_id"]
    twice = (ids[every.clips] == ids[every.kept]) & (every.kept >= first_own)
    order = np.argsort(every.clips)
    order = order[(every.clips >= first_own)[order] & ~twice[order]]
    return _Found(every.kept[order], every.clips[order], every.distances[order], every.originals[order])


def _groups(found: _Found, rereader: ClipRereader) -> list[DuplicateGroup]:
    """The largest groups; among equals, those of earlier clips first."""
    kept, sizes = np.unique(found.kept, return_counts=True)
    largest = np.lexsort((kept, -sizes))[:_MAX_GROUPS]
    by_kept = np.argsort(found.kept, kind="stable")
    starts = np.searchsorted(found.kept[by_kept], kept)
    members = [by_kept[starts[one] : starts[one] + sizes[one]] for one in largest]
    shown = [
        [int(kept[one]), *found.clips[own[: _MAX_CLIPS_OF_GROUP - 1]].tolist()]
        for one, own in zip(largest, members, strict=True)
    ]
    places = rereader.places({number for numbers in shown for number in numbers})
    return [
        DuplicateGroup(
            num_clips=1 + len(own),
            distance=float(found.distances[own].max()),
            clips=[places[number] for number in numbers],
        )
        for own, numbers in zip(members, shown, strict=True)
    ]


def _write_list(clips: ClipCollection, duplicates: Int64s, path: Path) -> None:
    with path.open("wb") as file:
        for first in range(0, len(duplicates), 1 << 16):
            ids: list[bytes] = clips.clips["clip_id"][duplicates[first : first + (1 << 16)]].tolist()
            file.writelines(clip_id + b"\n" for clip_id in ids)
