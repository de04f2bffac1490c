"""Filters: each condition, all together, expressions; and a filtered dataset's samples, ids and sources."""

import pickle
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.pipeline.reading import ClipFilter, Padding, TokenBatches, TokenDataset
from bitmill.schemas.dataset.token_shard import TOKEN_COLUMNS
from bitmill.schemas.errors import FormatError, UsageError, WrongArgumentError
from tests.support.token_datasets import StoredDataset, store_dataset

SHAPES = [[(4, 2, 2)] * 9, [(1, 2, 2), (3, 2, 2)] * 4, [], [(2, 2, 2), (1, 2, 2), (4, 2, 2)] * 3]

COLUMNS = pa.schema([field for field in TOKEN_COLUMNS if field.name != "codes"])


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> StoredDataset:
    return store_dataset(tmp_path_factory.mktemp("filtered"), SHAPES, sources_per_shard=2)


def table(**columns: list[object]) -> pa.Table:
    """Rows of the columns given; all others say nothing that a filter asks for."""
    count = len(next(iter(columns.values())))
    plain = {
        "clip_id": [f"{row:032x}" for row in range(count)],
        "source": ["/a"] * count,
        "key": [None] * count,
        "fps": [8.0] * count,
        "frame_pts_ns": [[]] * count,
        "metadata": [None] * count,
    }
    filled = {name: columns.get(name, plain.get(name, [0] * count)) for name in COLUMNS.names}
    return pa.table(filled, schema=COLUMNS)


def rows(condition: ClipFilter, **columns: list[object]) -> list[int]:
    return condition.rows(table(**columns).select(condition.columns())).tolist()


def test_frames():
    frames = [1, 2, 3, 4]
    assert rows(ClipFilter(min_frames=2), num_frames=frames) == [1, 2, 3]
    assert rows(ClipFilter(max_frames=2), num_frames=frames) == [0, 1]
    assert rows(ClipFilter(min_frames=2, max_frames=3), num_frames=frames) == [1, 2]
    assert rows(ClipFilter(min_frames=0), num_frames=frames) == [0, 1, 2, 3]


@given(st.integers(0, 10**7), st.sampled_from([1, 10, 1000]))
def test_durations_are_exact_to_the_millisecond(milliseconds, start):
    """2.3 s as a float, in nanoseconds, is a little less than 2.3 s."""
    ends = [start + (milliseconds + more) * 1_000_000 for more in (-1, 0, 1)]
    said = {"start_ns": [start] * 3, "end_ns": ends}
    assert rows(ClipFilter(min_duration_s=milliseconds / 1000), **said) == [1, 2]
    assert rows(ClipFilter(max_duration_s=milliseconds / 1000), **said) == [0, 1]


def test_sources_are_shell_patterns_of_which_one_must_match():
    sources = ["s3://b/a/1.mp4", "s3://b/a/b/2.mp4", "/c/3.mkv", "s3://b/A/1.mp4"]
    assert rows(ClipFilter(sources=["s3://b/a/*"]), source=sources) == [0, 1]
    assert rows(ClipFilter(sources=["*/?.mkv", "s3://b/A/*"]), source=sources) == [2, 3]
    assert rows(ClipFilter(sources=["*[12].mp4"]), source=sources) == [0, 1, 3]
    assert rows(ClipFilter(sources=["mp4"]), source=sources) == []


def test_a_relative_path_names_a_source_as_on_the_command_line(stored, monkeypatch):
    source = stored.clips[0].source
    monkeypatch.chdir("/")
    dataset = TokenDataset(stored.folder)
    assert dataset.of_source(source[1:]) == dataset.of_source(source) != []
    for relative in (source[1:], source[1:-5] + "?.mp4"):
        kept = TokenDataset(stored.folder, where=ClipFilter(sources=[relative]), columns=("source",))
        assert source in {clip["source"] for clip in kept}


def test_metadata_must_hold_every_key_with_a_value():
    texts = [
        None,
        "{}",
        '{"caption": "a cat"}',
        '{"caption": "", "license": "CC0"}',
        '{"caption": null}',
        '{"caption": "é", "license": "CC0"}',
        '{"caption": [], "tags": {}}',
        '{"caption": 0}',
        '{"caption": false}',
    ]
    assert rows(ClipFilter(metadata_keys=["caption"]), metadata=texts) == [2, 5, 7, 8]
    assert rows(ClipFilter(metadata_keys=["caption", "license"]), metadata=texts) == [5]
    assert rows(ClipFilter(metadata_keys=["tags"]), metadata=texts) == []


def test_ids():
    a, b, c, other = ids = ["a" * 32, "b" * 32, "c" * 32, "d" * 32]
    ids = ids[:3]
    assert rows(ClipFilter(clip_ids={c, a, other}), clip_id=ids) == [0, 2]
    assert rows(ClipFilter(clip_ids=[]), clip_id=ids) == []
    assert rows(ClipFilter(without_clip_ids=(b, other)), clip_id=ids) == [0, 2]
    assert rows(ClipFilter(clip_ids=[a, b], without_clip_ids={b: 1}.keys()), clip_id=ids) == [0]


@pytest.mark.parametrize("listed", [iter, pa.array, np.array, tuple, set])
def test_ids_may_be_listed_by_anything(listed):
    ids = ["a" * 32, "b" * 32, "c" * 32]
    assert rows(ClipFilter(clip_ids=listed(ids[:2])), clip_id=ids) == [0, 1]
    assert rows(ClipFilter(without_clip_ids=listed(ids[:2])), clip_id=ids) == [2]


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"sources": [Path("/media/x.mp4")]}, r"sources are strings; PosixPath\('/media/x.mp4'\) is none"),
        ({"min_frames": "2"}, "min_frames must be a number, not '2'"),
        ({"max_duration_s": float("nan")}, "max_duration_s must be a number, not nan"),
        ({"clip_ids": [UUID("a" * 32)]}, "clip_ids are clip ids, 32 digits"),
        # These would exclude nothing.
        ({"without_clip_ids": [str(UUID("a" * 32))]}, "without_clip_ids are clip ids, 32 digits"),
        ({"without_clip_ids": ["A" * 32]}, "without_clip_ids are clip ids, 32 digits"),
    ],
)
def test_what_no_clip_can_satisfy_by_its_kind_is_refused(conditions, message):
    with pytest.raises(WrongArgumentError, match=message):
        ClipFilter(**conditions)


def test_expressions():
    heights = [360, 720, 1080]
    assert rows(ClipFilter(where=pc.field("source_height") >= 720), source_height=heights) == [1, 2]
    both = (pc.field("source_height") > 360) & pc.field("key").is_null()
    assert rows(ClipFilter(where=both), source_height=heights, key=["k", None, "k"]) == [1]
    # A condition on a null is neither true nor false, and takes nothing.
    assert rows(ClipFilter(where=pc.field("fps") > 5), fps=[8.0, None, 2.0]) == [0]
    assert rows(ClipFilter(where=pc.scalar(True)), fps=[8.0, None, 2.0]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (pc.field("codes").is_valid(), r"cannot be evaluated: No match for FieldRef\.Name\(codes\)"),
        (pc.field("height_px") > 3, r"The filter \(height_px > 3\) cannot be evaluated"),
        (pc.field("height"), "must evaluate to bool"),
        (pc.field("height") > "high", "cannot be evaluated"),
        ("height > 3", "The filter height > 3 cannot be evaluated"),
    ],
)
def test_an_expression_that_cannot_be_computed_is_refused(where, message, stored):
    with pytest.raises(UsageError, match=message):
        TokenDataset(stored.folder, where=ClipFilter(where=where))


@pytest.mark.parametrize("name", ["sources", "metadata_keys", "clip_ids", "without_clip_ids"])
def test_a_word_where_a_list_belongs_is_refused(name):
    """Its letters would be patterns, keys or ids; and of the pattern "*" every source has one."""
    with pytest.raises(UsageError, match=rf"write {name}=\['a\*'\] for one"):
        ClipFilter(**{name: "a*"})


CONDITIONS = {
    "min_frames": (st.integers(0, 5), lambda row, least: row.num_frames >= least),
    "max_frames": (st.integers(0, 5), lambda row, most: row.num_frames <= most),
    "min_duration_s": (
        st.sampled_from([0.0, 0.125, 0.25, 0.5]),
        lambda row, least: row.end_ns - row.start_ns >= least * 1e9,
    ),
    "max_duration_s": (
        st.sampled_from([0.0, 0.25, 0.375]),
        lambda row, most: row.end_ns - row.start_ns <= most * 1e9,
    ),
    "sources": (
        st.lists(st.integers(0, 8).map("*{}.mp4".format), min_size=1, max_size=4),
        lambda row, patterns: any(row.source.endswith(pattern[1:]) for pattern in patterns),
    ),
    "metadata_keys": (st.just(["caption"]), lambda row, _: row.metadata is not None),
    "where": (st.just(pc.field("source_height") == 360), lambda row, _: row.source_height == 360),
}


@pytest.mark.slow
@settings(max_examples=40)
@given(st.data())
def test_conditions_together_take_what_each_takes(stored, data):
    wanted = {}
    chosen = list(stored.clips)
    for name, (values, takes) in CONDITIONS.items():
        if data.draw(st.integers(0, 3)) == 0:
            wanted[name] = data.draw(values)
            chosen = [row for row in chosen if takes(row, wanted[name])]
    dataset = TokenDataset(stored.folder, view="packed", columns=("clip_id",), where=ClipFilter(**wanted))
    assert len(dataset) == len(chosen)
    assert [sample["clip_id"] for sample in dataset] == [row.clip_id for row in chosen]
    if chosen:
        index = data.draw(st.integers(-len(chosen), len(chosen) - 1))
        sample = dataset[index]
        assert sample["clip_id"] == chosen[index].clip_id
        assert sample["tokens"].numpy().tobytes() == chosen[index].codes


@pytest.fixture
def filtered(stored) -> tuple[TokenDataset, list[int]]:
    """A dataset of clips of one frame, and their places among all clips."""
    places = [place for place, row in enumerate(stored.clips) if row.num_frames == 1]
    dataset = TokenDataset(stored.folder, columns=("clip_id", "num_frames"), where=ClipFilter(max_frames=1))
    return dataset, places


def test_ids_are_found_among_those_that_are_taken(stored, filtered):
    dataset, places = filtered
    for index, place in enumerate(places):
        assert dataset.find(stored.clips[place].clip_id) == index
    left_out = next(row for row in stored.clips if row.num_frames > 1)
    with pytest.raises(KeyError, match=left_out.clip_id):
        dataset.find(left_out.clip_id)


def test_sources_have_the_clips_that_are_taken(stored, filtered):
    dataset, places = filtered
    for number in range(8):
        source = f"/media/{number:04d}.mp4"
        own = [index for index, place in enumerate(places) if stored.clips[place].source == source]
        assert dataset.of_source(source) == own
    assert dataset.of_source("/media/9999.mp4") == []


def test_a_filter_that_takes_nothing(stored):
    dataset = TokenDataset(stored.folder, where=ClipFilter(min_frames=100))
    assert len(dataset) == 0
    assert list(dataset) == []
    with pytest.raises(IndexError, match="sample 0 of 0"):
        dataset[0]
    with pytest.raises(KeyError, match=stored.clips[0].clip_id):
        dataset.find(stored.clips[0].clip_id)
    assert dataset.of_source(stored.clips[0].source) == []
    with pytest.raises(UsageError, match="the filter excludes every clip"):
        TokenBatches(dataset, batch_size=2)


def test_a_filter_without_conditions_takes_all(stored):
    assert len(TokenDataset(stored.folder, where=ClipFilter())) == len(stored.clips)
    assert len(TokenDataset(stored.folder, where=ClipFilter(sources=[], without_clip_ids=()))) == len(
        stored.clips
    )


def test_batches_of_a_filtered_dataset(stored, filtered):
    dataset, places = filtered
    batches = TokenBatches(dataset, batch_size=3, shuffle=True, shape=Padding(), remainder="pad")
    seen = [
        clip_id
        for batch in batches
        for clip_id, valid in zip(batch["clip_id"], batch["valid"].tolist(), strict=True)
        if valid
    ]
    assert sorted(seen) == sorted(stored.clips[place].clip_id for place in places)


def test_several_folders_and_a_filter(stored, tmp_path):
    other = store_dataset(tmp_path, [[(1, 2, 2), (5, 2, 2)]], seed=1)
    dataset = TokenDataset(
        [stored.folder, other.folder], columns=("clip_id",), where=ClipFilter(min_frames=4)
    )
    wanted = [row for row in stored.clips + other.clips if row.num_frames >= 4]
    assert [sample["clip_id"] for sample in dataset] == [row.clip_id for row in wanted]
    assert dataset.find(other.clips[1].clip_id) == len(wanted) - 1
    copy = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(copy[len(wanted) - 1]["tokens"].numpy(), other.codes(other.clips[1]))


def test_row_groups_that_a_filter_cannot_read_are_skipped_if_asked_for(tmp_path):
    stored = store_dataset(tmp_path, [[(1, 2, 2)] * 6, [(2, 2, 2)] * 3], row_group_bytes=1)
    TokenDataset(stored.folder)
    place = pq.ParquetFile(stored.path(0)).metadata.row_group(2)
    column = next(
        place.column(n) for n in range(place.num_columns) if place.column(n).path_in_schema == "source"
    )
    data = bytearray(stored.path(0).read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + 8] = bytes(8)
    stored.path(0).write_bytes(data)
    everything = ClipFilter(sources=sorted({row.source for row in stored.clips}))
    with pytest.raises(FormatError, match="damaged"):
        TokenDataset(stored.folder, where=everything)
    with pytest.warns(UserWarning, match=r"damaged.*leaves out this row group's clips"):
        dataset = TokenDataset(stored.folder, columns=("clip_id",), where=everything, skip_damaged=True)
    lost = stored.clips[2].clip_id
    assert [sample["clip_id"] for sample in dataset] == [
        row.clip_id for row in stored.clips if row.clip_id != lost
    ]
