"""Planted duplicates, found, and nothing else: within a dataset, with others, however the work is divided."""

import pickle
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from bitmill.pipeline.auditing.duplicates import signatures as signatures_module
from bitmill.pipeline.auditing.duplicates.duplicate_collector import DuplicateCollector
from bitmill.pipeline.auditing.duplicates.find_duplicates import find_duplicates
from bitmill.pipeline.auditing.duplicates.lsh import missed, num_words, sample_words
from bitmill.pipeline.auditing.duplicates.stored_clips import ClipAddress
from bitmill.pipeline.auditing.shard.collector_protocol import RowGroupData
from bitmill.pipeline.reading.kernels.unpack import SPARE_BYTES
from bitmill.schemas.dataset.packing import pack_bits
from bitmill.schemas.errors import UsageError

BITS = 18
SHAPE = (4, 8, 8)
RADIUS = 0.05


def random_clip(seed: int, shape=SHAPE):
    return np.random.default_rng(seed).random((*shape, BITS)) < 0.5


def changed(clip, share: float, seed: int = 0):
    """The clip with just this share of its bits flipped (rounded)."""
    flat = clip.reshape(-1).copy()
    flat[np.random.default_rng(seed).permutation(flat.size)[: round(share * flat.size)]] ^= True
    return flat.reshape(clip.shape)


@dataclass
class Corpus:
    """Clips of one dataset in row groups of some, as an audit reads them."""

    name: str
    clips: list = field(default_factory=list)
    rows_per_group: int = 3
    groups_per_shard: int = 2

    def add(self, clip, clip_id: str | None = None) -> str:
        clip_id = clip_id or f"{self.name}{len(self.clips)}".rjust(32, "0")
        self.clips.append((clip_id, f"/{self.name}/{len(self.clips)}.mp4", clip))
        return clip_id

    def table(self, shard: int, group: int) -> pa.Table:
        first = (shard * self.groups_per_shard + group) * self.rows_per_group
        rows = self.clips[first : first + self.rows_per_group]
        return pa.table(
            {
                "clip_id": pa.array([row[0] for row in rows], pa.string()),
                "source": [row[1] for row in rows],
                "key": pa.array([None] * len(rows), pa.string()),
                "start_ns": pa.array([0] * len(rows), pa.int64()),
                "end_ns": pa.array([1] * len(rows), pa.int64()),
                "codes": pa.array([pack_bits(row[2].reshape(-1, BITS)) for row in rows], pa.large_binary()),
            }
        )

    def collected(self, radius=RADIUS, shards_per_worker=None, folder=None) -> DuplicateCollector:
        size = self.rows_per_group * self.groups_per_shard
        shards = range(-(-len(self.clips) // size))
        step = shards_per_worker or max(1, len(shards))
        whole = DuplicateCollector(BITS, radius, folder)
        for first in shards[::step]:
            part = DuplicateCollector(BITS, radius, folder)
            for shard in shards[first : first + step]:
                for group in range(self.groups_per_shard):
                    part.add(self.row_group(shard, group))
            whole.merge(pickle.loads(pickle.dumps(part)) if shards_per_worker else part)
        return whole

    def row_group(self, shard: int, group: int) -> RowGroupData:
        first = (shard * self.groups_per_shard + group) * self.rows_per_group
        table = self.table(shard, group)
        codes = table.column("codes").to_pylist()
        shapes = [row[2].shape[:3] for row in self.clips[first : first + self.rows_per_group]]
        return RowGroupData(
            shard=shard,
            number=group,
            codes=np.frombuffer(b"\1" + b"".join(codes) + bytes(SPARE_BYTES), np.uint8),
            starts=np.cumsum([1, *map(len, codes)])[:-1],
            shapes_n3=np.array(shapes, np.int64).reshape(-1, 3),
            num_tokens=np.array(shapes, np.int64).reshape(-1, 3).prod(1),
            table=table,
        )


@dataclass
class Corpora:
    """The clips of several datasets, as they are read again."""

    corpora: list[Corpus]

    def codes(self, address: ClipAddress):
        table = self.corpora[address.dataset].table(address.shard, address.group)
        return np.frombuffer(table.column("codes")[address.row].as_py(), np.uint8)

    def names(self, dataset: int, shard: int, group: int) -> pa.Table:
        return self.corpora[dataset].table(shard, group).drop_columns(["codes"])


def find(own: Corpus, others=(), *, list_path: Path | None = None, radius=RADIUS, **options):
    division = options.pop("division", {})
    corpora = [*others, own]
    return find_duplicates(
        own.collected(radius, **division).signatures,
        [(other.name, other.collected(radius, **division).signatures) for other in others],
        Corpora(corpora),
        list_path=list_path,
        **options,
    )


def listed(own: Corpus, others=(), **options) -> tuple[set[str], object]:
    """Ids on the list, and the report; a list in no order or with repeats fails."""
    path = Path(options.pop("folder_of_list")) / "duplicates.txt"
    report = find(own, others, list_path=path, **options)
    lines = path.read_text().splitlines()
    order = [clip[0] for clip in own.clips if clip[0] in set(lines)]
    assert lines == order
    assert report.list_file == "duplicates.txt"
    assert len(lines) == report.exact_clips + report.near_clips
    return set(lines), report


def test_the_same_codes_are_found_whatever_their_sources(tmp_path):
    own = Corpus("a")
    ids = [own.add(random_clip(seed)) for seed in (0, 1, 2, 0, 3, 4, 1, 5, 0, 6)]
    duplicates, report = listed(own, folder_of_list=tmp_path)
    assert duplicates == {ids[3], ids[6], ids[8]}
    assert (report.exact_groups, report.exact_clips, report.near_groups, report.near_clips) == (2, 3, 0, 0)
    first, second = report.groups
    assert [place.clip_id for place in first.clips] == [ids[0], ids[3], ids[8]]
    assert (first.num_clips, first.distance, second.num_clips) == (3, 0, 2)
    assert first.clips[1].model_dump() == {
        "dataset": None, "clip_id": ids[3], "source": "/a/3.mp4", "key": None, "start_ns": 0, "end_ns": 1
    }  # fmt: skip


def test_what_another_dataset_holds_stays_there(tmp_path):
    own, other = Corpus("a"), Corpus("b")
    kept = [other.add(random_clip(seed)) for seed in (1, 7, 7, 8)]
    ids = [own.add(random_clip(seed)) for seed in (0, 1, 2, 3, 3)]
    near = own.add(changed(random_clip(8), 0.02))
    duplicates, report = listed(own, [other], folder_of_list=tmp_path)
    # The other's own duplicates are none of this dataset's.
    assert duplicates == {ids[1], ids[4], near}
    assert report.others == ["b"]
    assert (report.exact_groups, report.exact_clips, report.near_groups, report.near_clips) == (2, 2, 1, 1)
    of_other = [[(place.dataset, place.clip_id) for place in group.clips] for group in report.groups]
    assert [("b", kept[0]), (None, ids[1])] in of_other
    assert [("b", kept[3]), (None, near)] in of_other


def test_near_copies_are_found_within_the_radius_and_not_beyond(tmp_path):
    own = Corpus("a")
    originals = [own.add(random_clip(seed)) for seed in range(20)]
    inside = [own.add(changed(random_clip(seed), 0.03, seed)) for seed in range(10)]
    for seed in range(10, 20):
        own.add(changed(random_clip(seed), 0.06, seed))
    duplicates, report = listed(own, folder_of_list=tmp_path)
    assert duplicates == set(inside)
    assert (report.near_groups, report.near_clips, report.exact_clips) == (10, 10, 0)
    assert [place.clip_id for place in report.groups[4].clips] == [originals[4], inside[4]]
    bits = random_clip(0).size
    assert {group.distance for group in report.groups} == {round(0.03 * bits) / bits}


def test_clips_of_other_shapes_are_not_alike(tmp_path):
    own = Corpus("a")
    clip = random_clip(0)
    own.add(clip)
    own.add(clip[:3])
    own.add(clip.reshape(4, 16, 4, BITS))
    own.add(np.zeros((1, 1, 1, BITS), np.bool_))
    own.add(np.zeros((1, 2, 1, BITS), np.bool_))
    assert listed(own, folder_of_list=tmp_path)[0] == set()


def test_a_chain_of_small_steps_takes_out_only_what_is_near_to_a_clip_that_stays(tmp_path):
    own = Corpus("a")
    flat = random_clip(0).reshape(-1)
    step = round(0.04 * flat.size)
    ids = []
    for number in range(6):
        clip = flat.copy()
        clip[: number * step] ^= True
        ids.append(own.add(clip.reshape(*SHAPE, BITS)))
    copy = own.add(own.clips[3][2])
    duplicates, report = listed(own, folder_of_list=tmp_path)
    assert duplicates == {ids[1], ids[3], ids[5], copy}
    assert (report.near_clips, report.exact_clips) == (3, 1)
    largest = report.groups[0]
    assert [place.clip_id for place in largest.clips] == [ids[2], ids[3], copy]
    assert largest.distance == pytest.approx(0.04, abs=0.001)


@pytest.mark.slow
def test_a_crowd_of_clips_that_are_all_alike_is_one_group(tmp_path):
    own = Corpus("a", rows_per_group=200)
    black = np.zeros((1, 4, 4, BITS), np.bool_)
    own.add(black)
    for number in range(799):
        own.add(changed(black, 0.02, number))
    duplicates, report = listed(own, folder_of_list=tmp_path)
    assert len(duplicates) == 799
    assert [group.num_clips for group in report.groups] == [800]


def test_a_row_that_stands_twice_is_damage_and_no_duplicate(tmp_path):
    own = Corpus("a")
    clip_id = own.add(random_clip(0))
    own.add(random_clip(0), clip_id)
    assert listed(own, folder_of_list=tmp_path)[0] == set()


def test_a_name_that_is_no_clip_id_is_passed_over(tmp_path):
    own = Corpus("a")
    own.add(random_clip(0), "<script>")
    kept = own.add(random_clip(0))
    copy = own.add(random_clip(0))
    duplicates, report = listed(own, folder_of_list=tmp_path)
    assert duplicates == {copy}
    assert report.groups[0].clips[0].clip_id == kept


@pytest.mark.parametrize("partition_bytes", [500, 20_000])
def test_division_of_the_work_changes_nothing(tmp_path, monkeypatch, partition_bytes):
    own, other = Corpus("a"), Corpus("b")
    random = np.random.default_rng(0)
    for corpus in (own, other):
        for number in range(60):
            seed = int(random.integers(0, 25))
            share = float(random.choice([0, 0.01, 0.02, 0.04]))
            corpus.add(changed(random_clip(seed), share, number))
    whole = find(own, [other], list_path=tmp_path / "duplicates.txt")
    expected = (tmp_path / "duplicates.txt").read_bytes()
    assert whole.near_clips > 10 < len(expected) // 33
    monkeypatch.setattr(signatures_module, "_KEPT_BYTES", 1000)
    for shards_per_worker in (1, 2):
        division = {"shards_per_worker": shards_per_worker, "folder": tmp_path}
        again = find(own, [other], list_path=tmp_path / "duplicates.txt", folder=tmp_path,
                     partition_bytes=partition_bytes, division=division)  # fmt: skip
        assert again == whole
        assert (tmp_path / "duplicates.txt").read_bytes() == expected
    assert [path.name for path in tmp_path.iterdir()] == ["duplicates.txt"]


def test_a_dataset_without_clips_has_no_duplicates(tmp_path):
    assert listed(Corpus("a"), folder_of_list=tmp_path)[0] == set()


def test_tokens_of_other_widths_are_not_compared():
    with pytest.raises(UsageError, match="of one tokenizer"):
        find_duplicates(
            DuplicateCollector(18, RADIUS).signatures,
            [("b", DuplicateCollector(36, RADIUS).signatures)],
            Corpora([]),
        )


@pytest.mark.parametrize("radius", [0, 0.11, -1])
def test_a_radius_that_bits_cannot_find_is_refused(radius):
    with pytest.raises(ValueError, match=r"radius must be above 0 and at most 0\.1"):
        num_words(radius)


@pytest.mark.parametrize("distance", [0.02, 0.05, 0.1, 0.15])
def test_pairs_are_missed_as_often_as_stated(distance):
    """At a radius of 0.05, words in common of pairs at known distances, against the formula."""
    pairs, size = 4000, 4608 // 8
    random = np.random.default_rng(0)
    one = random.integers(0, 256, (pairs, size), dtype=np.uint8)
    flips = np.zeros((pairs, size * 8), np.uint8)
    flips[:, : round(distance * size * 8)] = 1
    other = one ^ np.packbits(random.permuted(flips, axis=1), axis=1)
    starts, bits = np.arange(pairs) * size, np.full(pairs, size * 8)
    words = [sample_words(codes.reshape(-1), starts, bits, num_words(RADIUS)) for codes in (one, other)]
    share = float(np.mean(np.all(words[0] != words[1], axis=1)))
    stated = missed(distance, RADIUS)
    assert share == pytest.approx(stated, abs=4 * np.sqrt(stated / pairs) + 2 / pairs)
    assert missed(RADIUS, RADIUS) <= 0.001


def test_words_of_bits_are_the_same_for_ever():
    codes = np.arange(256, dtype=np.uint8)
    words = sample_words(codes, np.array([0, 8]), np.array([2048, 144]), 2)
    # By plain Python's integers.
    assert words.tolist() == [[3902333951, 3713985497], [2418197442, 152055003]]
