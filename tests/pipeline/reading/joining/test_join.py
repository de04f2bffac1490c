"""Columns of other files, joined by clip id: the same values in samples, batches and filters."""

import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

from bitmill.pipeline.reading import (
    ClipFilter,
    Clips,
    Packing,
    Padding,
    TokenBatches,
    TokenDataset,
    TokenLoader,
)
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import shard_file
from bitmill.schemas.errors import FormatError, UsageError, WrongArgumentError
from tests.support.random_datasets import write_dataset

SHAPES = [[(4, 5, 3), (1, 5, 3), (3, 5, 3)] * 7, [(4, 5, 3)] * 9, [(2, 5, 3)] * 11]
NUM_CLIPS = 41


class Told:
    """A dataset and what its joined files say, by clip id."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.ids: list[str] = [one["clip_id"] for one in TokenDataset(uri, columns=("clip_id",))]
        self.scores = {one: number / NUM_CLIPS for number, one in enumerate(self.ids) if number % 4}
        self.captions = {one: f"clip {number} ä" for number, one in enumerate(self.ids) if number % 3}
        self.embeddings = {one: [float(number), 0.5, -1.0] for number, one in enumerate(self.ids[:30])}

    def store(self, name: str, column: str, values: Mapping[str, Any], kind: pa.DataType, **more: Any) -> str:
        """Publish a file of a clip id and one column, its rows in another order, beside the dataset."""
        ids = sorted(values)
        table = pa.table({"clip_id": ids, column: pa.array([values[one] for one in ids], kind)})
        return self.publish(name, table, **{"row_group_size": 6} | more)

    def publish(self, name: str, table: pa.Table, **more: Any) -> str:
        sink = io.BytesIO()
        pq.write_table(table, sink, **more)
        Folder(self.uri).write_bytes(name, sink.getvalue())
        return f"{self.uri}/{name}"

    def scored(self, **more: Any) -> str:
        return self.store("scores.parquet", "score", self.scores, pa.float32(), **more)

    def captioned(self) -> str:
        return self.store("captions.parquet", "caption", self.captions, pa.string())

    def embedded(self, *, fixed: bool) -> str:
        kind = pa.list_(pa.float32(), 3) if fixed else pa.list_(pa.float32())
        return self.store("embeddings.parquet", "embedding", self.embeddings, kind)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    write_dataset(str(tmp_path / "tokens"), SHAPES)
    return Told(str(tmp_path / "tokens"))


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Told:
    uri = request.getfixturevalue("s3") if request.param == "s3" else str(tmp_path / "tokens")
    write_dataset(uri, SHAPES)
    return Told(uri)


def near(found: object, expected: float | None) -> bool:
    return found is None if expected is None else found == pytest.approx(expected)


def test_samples_have_the_values_of_their_clip_or_none(anywhere):
    paths = [anywhere.scored(), anywhere.captioned(), anywhere.embedded(fixed=False)]
    names = ("caption", "source", "score", "embedding", "clip_id")
    dataset = TokenDataset(anywhere.uri, columns=names, join=paths)
    assert dataset.columns == names
    for sample in (*dataset, dataset[7], dataset[-1]):
        clip = sample["clip_id"]
        assert list(sample) == ["tokens", *names]
        assert sample["caption"] == anywhere.captions.get(clip)
        assert near(sample["score"], anywhere.scores.get(clip))
        expected = anywhere.embeddings.get(clip)
        assert sample["embedding"] is None if expected is None else sample["embedding"].tolist() == expected
    assert dataset[7]["clip_id"] == anywhere.ids[7]


def test_joined_columns_need_no_clip_id_among_the_columns(told):
    dataset = TokenDataset(told.uri, columns=("caption",), join=told.captioned())
    assert [sample["caption"] for sample in dataset] == [told.captions.get(one) for one in told.ids]
    assert list(dataset[1]) == ["tokens", "caption"]


@pytest.mark.parametrize("fixed", [True, False])
def test_batches_have_numbers_as_tensors_and_all_else_as_lists(anywhere, fixed):
    dataset = TokenDataset(
        anywhere.uri,
        columns=("clip_id", "score", "caption", "embedding"),
        join=[anywhere.scored(), anywhere.captioned(), anywhere.embedded(fixed=fixed)],
    )
    seen: list[str] = []
    for batch in TokenBatches(dataset, batch_size=4, shuffle=True, seed=3, shape=Padding(), remainder="keep"):
        seen += batch["clip_id"]
        assert batch["caption"] == [anywhere.captions.get(one) for one in batch["clip_id"]]
        expected = [anywhere.scores.get(one, float("nan")) for one in batch["clip_id"]]
        assert np.allclose(batch["score"], expected, equal_nan=True)
        for one, found in zip(batch["clip_id"], batch["embedding"], strict=True):
            wanted = anywhere.embeddings.get(one)
            if wanted is None:
                assert found.isnan().all() if fixed else found is None
            else:
                assert found.tolist() == wanted
                assert found.dtype == torch.float32
        assert isinstance(batch["embedding"], torch.Tensor) == fixed
    assert sorted(seen) == sorted(anywhere.ids)


def test_packed_rows_have_a_value_per_document(told):
    dataset = TokenDataset(told.uri, view="integers", columns=("clip_id", "caption"), join=told.captioned())
    for batch in TokenBatches(dataset, batch_size=2, shape=Packing(180), remainder="keep"):
        for ids, captions in zip(batch["clip_id"], batch["caption"], strict=True):
            assert captions == [told.captions.get(one) for one in ids]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_and_forks_return_the_same_batches(told, workers):
    dataset = TokenDataset(
        told.uri,
        columns=("clip_id", "score", "caption", "embedding"),
        join=[told.scored(), told.captioned(), told.embedded(fixed=False)],
        where=pc.field("score") > 0.2,
    )
    dataset[0]  # A fork has the row groups and locks of its parent.
    options: dict[str, Any] = {"batch_size": 4, "shuffle": True, "seed": 1, "shape": Padding()}
    expected = list(TokenBatches(dataset, **options))
    for found, wanted in zip(
        TokenLoader(TokenBatches(dataset, **options), num_workers=workers), expected, strict=True
    ):
        assert found["clip_id"] == wanted["clip_id"]
        assert found["caption"] == wanted["caption"]
        assert torch.equal(found["score"], wanted["score"])
        assert [None if one is None else one.tolist() for one in found["embedding"]] == [
            None if one is None else one.tolist() for one in wanted["embedding"]
        ]
    single = DataLoader(dataset, batch_size=None, num_workers=workers)
    assert [one["caption"] for one in single] == [one["caption"] for one in dataset]


def test_a_dataset_with_joined_files_pickles(told):
    dataset = TokenDataset(told.uri, columns=("caption",), join=told.captioned())
    again = pickle.loads(pickle.dumps(dataset))
    assert [one["caption"] for one in again] == [one["caption"] for one in dataset]


FILTERS: list[tuple[pc.Expression, Any]] = [
    (pc.field("score") >= 0.5, lambda score, _: score is not None and score >= 0.5),
    (~(pc.field("score") >= 0.5), lambda score, _: score is not None and score < 0.5),
    (pc.field("score").is_null(), lambda score, _: score is None),
    (
        (pc.field("score") > 0.3) & pc.match_substring(pc.field("caption"), "1"),
        lambda score, caption: score is not None and score > 0.3 and caption is not None and "1" in caption,
    ),
    ((pc.field("score") > 0.3) & (pc.field("num_frames") == 4), None),
]
"""Filters, and what they select by score and caption."""


@pytest.mark.parametrize(("where", "selects"), FILTERS)
def test_filters_over_joined_columns_select_as_pyarrow_does(told, where, selects):
    _check_filter(told, where, selects)


@pytest.mark.s3
def test_filters_over_joined_columns_select_the_same_on_a_store(s3):
    write_dataset(s3, SHAPES)
    told = Told(s3)
    # Those over two files, and over a file and the dataset's own columns.
    for where, selects in FILTERS[-2:]:
        _check_filter(told, where, selects)


def _check_filter(told: Told, where: pc.Expression, selects: Any) -> None:
    paths = [told.scored(), told.captioned()]
    dataset = TokenDataset(told.uri, columns=("clip_id", "num_frames"), join=paths, where=where)
    found = [sample["clip_id"] for sample in dataset]
    if selects is None:
        assert {sample["num_frames"] for sample in dataset} == {4}
        assert all(told.scores[one] > 0.3 for one in found)
    else:
        known = [(told.scores.get(one), told.captions.get(one)) for one in told.ids]
        assert found == [one for one, both in zip(told.ids, known, strict=True) if selects(*both)]
    assert found
    assert dataset.find(found[-1]) == len(found) - 1
    within = ClipFilter(where=where, max_frames=3)
    fewer = TokenDataset(told.uri, columns=("num_frames",), join=paths, where=within)
    assert all(sample["num_frames"] <= 3 for sample in fewer)


def test_only_columns_that_are_asked_for_are_read(told):
    """All pages of the other column are garbage, which any reading of it would notice."""
    ids = told.ids
    path = told.publish(
        "both.parquet",
        pa.table({"clip_id": ids, "score": np.arange(41.0), "large": ["secret" * 100] * 41}),
        row_group_size=8,
        write_page_checksum=True,
        use_dictionary=False,
        compression="none",
    )
    data = Path(path).read_bytes()
    assert data.count(b"secret") >= 41 * 100
    Path(path).write_bytes(data.replace(b"secret", b"SECRET"))
    dataset = TokenDataset(told.uri, columns=("score",), join=path, where=pc.field("score") < 30)
    assert [sample["score"] for sample in dataset] == list(range(30))
    asked = TokenDataset(told.uri, columns=("large",), join=path)
    with pytest.raises(FormatError, match=r"both\.parquet"):
        asked[0]


def test_parts_of_a_table_are_one_table(told):
    halves = dict(list(told.scores.items())[::2]), dict(list(told.scores.items())[1::2])
    paths = [
        told.store(f"part-{number}.parquet", "score", half, pa.float32(), row_group_size=3)
        for number, half in enumerate(halves)
    ]
    dataset = TokenDataset(told.uri, columns=("clip_id", "score"), join=paths)
    assert all(near(one["score"], told.scores.get(one["clip_id"])) for one in dataset)


def test_several_folders_share_the_joined_files(tmp_path):
    uris = [str(tmp_path / name) for name in "ab"]
    for uri, shapes in zip(uris, (SHAPES, SHAPES[:2]), strict=True):
        write_dataset(uri, shapes)
    told = Told(uris[0])
    dataset = TokenDataset(uris, columns=("clip_id", "caption"), join=told.captioned())
    assert all(one["caption"] == told.captions.get(one["clip_id"]) for one in dataset)


def test_a_state_is_refused_if_new_scores_select_other_samples_and_only_then(told):
    def batches(column: str, where: pc.Expression | None) -> TokenBatches:
        dataset = TokenDataset(
            told.uri, columns=("clip_id", column), join=[told.scored(), told.captioned()], where=where
        )
        return TokenBatches(dataset, batch_size=4, shuffle=True, seed=9, shape=Padding())

    good = pc.field("score") > 0.25
    begun = batches("score", good)
    walk = iter(begun)
    next(walk)
    state = begun.state_dict()
    rest = [batch["clip_id"] for batch in walk]
    # Other columns of the same clips are the same samples.
    resumed = batches("caption", good)
    resumed.load_state_dict(state)
    assert [batch["clip_id"] for batch in resumed] == rest
    told.scores = {one: score / 2 for one, score in told.scores.items()}
    with pytest.raises(UsageError, match="state"):
        batches("score", good).load_state_dict(state)


def test_mixtures_take_joined_columns_of_one_type(told, tmp_path):
    one = TokenDataset(told.uri, columns=("score",), join=told.scored(), where=pc.field("num_frames") == 4)
    batches = TokenBatches([(one, 0.5), (one, 0.5)], batch_size=2, lanes=1, shape=Clips())
    assert next(iter(batches))["score"].shape == (2,)
    other = told.store("more.parquet", "score", told.scores, pa.float64())
    mixed = TokenDataset(told.uri, columns=("score",), join=other, where=pc.field("num_frames") == 4)
    with pytest.raises(WrongArgumentError, match="names and types"):
        TokenBatches([(one, 0.5), (mixed, 0.5)], batch_size=2, lanes=1)


def test_damaged_shards_are_skipped_with_joined_columns(told):
    dataset = TokenDataset(told.uri, columns=("clip_id", "caption"), join=told.captioned(), skip_damaged=True)
    shard = Path(told.uri) / shard_file(dataset.clips.parts[0].index.shard_ids[1])
    data = bytearray(shard.read_bytes())
    data[4 : len(data) // 2] = bytes(len(data) // 2 - 4)
    shard.write_bytes(data)
    batches = TokenBatches(dataset, batch_size=41, shape=Padding(), remainder="keep")
    batch = next(iter(batches))
    lost = [not one for one in batch["valid"].tolist()]
    assert 0 < sum(lost) < 41
    for clip, caption, gone in zip(batch["clip_id"], batch["caption"], lost, strict=True):
        assert caption == (None if gone else told.captions.get(clip))


@pytest.mark.parametrize("fixed", [True, False])
def test_a_batch_of_lost_samples_has_no_embeddings(told, fixed):
    dataset = TokenDataset(
        told.uri, columns=("embedding",), join=told.embedded(fixed=fixed), skip_damaged=True
    )
    shard = Path(told.uri) / shard_file(dataset.clips.parts[0].index.shard_ids[0])
    data = bytearray(shard.read_bytes())
    data[4 : len(data) - 5000] = bytes(len(data) - 5004)
    shard.write_bytes(data)
    batch = next(iter(TokenBatches(dataset, batch_size=3, shape=Padding())))
    assert not batch["valid"].any()
    assert batch["embedding"].isnan().all() if fixed else batch["embedding"] == [None] * 3


def test_a_rank_without_samples_has_embeddings_of_none(told):
    dataset = TokenDataset(told.uri, columns=("embedding",), join=told.embedded(fixed=True))
    ranks = {"world_size": 2, "batch_size": 40, "remainder": "keep", "shape": Padding()}
    first, second = (list(TokenBatches(dataset, rank=rank, **ranks))[-1]["embedding"] for rank in (0, 1))
    assert first.shape == (1, 3)
    assert second.shape == (0, 3)
    assert second.dtype == first.dtype


@pytest.mark.parametrize("name", ["mask", "scales", "scale_grids"])
def test_a_column_that_would_hide_a_key_of_batches_is_refused(told, name):
    path = told.store("hiding.parquet", name, told.scores, pa.float32())
    with pytest.raises(UsageError, match=name):
        TokenDataset(told.uri, join=path)


@pytest.mark.parametrize("kind", ["large_string", "dictionary", "string_view"])
def test_ids_may_be_any_kind_of_string(told, kind):
    kinds = {
        "large_string": pa.large_string(),
        "dictionary": pa.dictionary(pa.int32(), pa.string()),
        "string_view": pa.string_view(),
    }
    ids = pa.array(told.ids).cast(kinds[kind])
    path = told.publish("x.parquet", pa.table({"clip_id": ids, "place": np.arange(NUM_CLIPS)}))
    dataset = TokenDataset(told.uri, columns=("place",), join=path)
    assert [one["place"] for one in dataset] == list(range(NUM_CLIPS))


def test_an_empty_file_joins_nothing(told):
    empty = pa.table({"clip_id": pa.array([], pa.string()), "score": pa.array([], pa.float32())})
    dataset = TokenDataset(told.uri, columns=("score",), join=told.publish("x.parquet", empty))
    assert {one["score"] for one in dataset} == {None}


def test_unsigned_numbers_keep_all_their_bits(told):
    hashes = {one: 2**64 - 1 - number for number, one in enumerate(told.ids[1:])}
    path = told.store("hashes.parquet", "hash", hashes, pa.uint64())
    dataset = TokenDataset(told.uri, columns=("clip_id", "hash"), join=path)
    for batch in TokenBatches(dataset, batch_size=7, shape=Padding(), remainder="keep"):
        assert batch["hash"].dtype == torch.uint64
        assert batch["hash"].tolist() == [hashes.get(one, 0) for one in batch["clip_id"]]


def refusal(told: Told, columns: Mapping[str, Sequence[Any]] | pa.Table) -> str:
    table = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
    with pytest.raises(WrongArgumentError) as caught:
        TokenDataset(told.uri, join=told.publish("wrong.parquet", table))
    text = str(caught.value)
    assert "wrong.parquet" in text
    return text


def test_files_that_cannot_be_joined_are_named(told):
    ids = told.ids[:3]
    assert "no column clip_id, only id, score" in refusal(told, {"id": ids, "score": [1, 2, 3]})
    assert "'num_frames'" in refusal(told, {"clip_id": ids, "num_frames": [1, 2, 3]})
    assert "'mask'" in refusal(told, {"clip_id": ids, "mask": [1, 2, 3]})
    assert ids[1] in refusal(told, {"clip_id": [*ids, ids[1]], "score": [1, 2, 3, 4]})
    assert "no column but clip_id" in refusal(told, {"clip_id": ids})
    assert "clip_id is int64" in refusal(told, {"clip_id": [1, 2], "score": [1, 2]})
    for wrong in (None, "7", "x" * 32, f" {ids[0][1:]}", f"{ids[0][:30]}  "):
        text = refusal(told, {"clip_id": [ids[0], wrong], "score": [1, 2]})
        assert f"its clip_id {'null' if wrong is None else repr(wrong)} is no clip id" in text
        assert "two rows" not in text
    twice = pa.table([ids, [1, 2, 3], [1, 2, 3]], names=["clip_id", "score", "score"])
    assert "two columns 'score'" in refusal(told, twice)


def test_files_that_do_not_fit_each_other_are_named(told):
    one = told.scored()
    wider = told.store("wide.parquet", "score", told.scores, pa.float64())
    with pytest.raises(WrongArgumentError, match=r"wide\.parquet.*double.*scores\.parquet float"):
        TokenDataset(told.uri, join=[one, wider])
    both = told.publish("both.parquet", pa.table({"clip_id": told.ids[:1], "score": [1.0], "other": [1]}))
    for paths in ([one, both], [both, one]):
        with pytest.raises(WrongArgumentError, match="both have a column 'score'"):
            TokenDataset(told.uri, join=paths)
    with pytest.raises(WrongArgumentError, match="two rows with the clip_id"):
        TokenDataset(told.uri, join=[one, one])
    for wrong in (3, [one, 3]):
        with pytest.raises(WrongArgumentError, match="join must be a path or a list of paths, not"):
            TokenDataset(told.uri, join=wrong)


def test_what_is_no_parquet_file_or_no_file_is_named(anywhere):
    Folder(anywhere.uri).write_bytes("text.parquet", b"clip_id,score\n")
    with pytest.raises(FormatError, match=r"text\.parquet.*no Parquet file"):
        TokenDataset(anywhere.uri, join=f"{anywhere.uri}/text.parquet")
    with pytest.raises(WrongArgumentError, match=r"no file .*none\.parquet to join"):
        TokenDataset(anywhere.uri, join=f"{anywhere.uri}/none.parquet")


def test_a_file_that_changes_while_it_is_read_is_refused(anywhere):
    dataset = TokenDataset(anywhere.uri, columns=("score",), join=anywhere.scored())
    anywhere.scores = dict.fromkeys(anywhere.ids[:5], -1.0)
    anywhere.scored()
    with pytest.raises(FormatError, match=r"scores\.parquet has changed"):
        dataset[1]


def test_wrong_columns_and_filters_are_told(told):
    path = told.scored()
    with pytest.raises(
        WrongArgumentError, match=r"Unknown column 'scor' \(did you mean 'score'\?\).*joined are score"
    ):
        TokenDataset(told.uri, columns=("scor",), join=path)
    with pytest.raises(WrongArgumentError, match="cannot be evaluated"):
        TokenDataset(told.uri, join=path, where=pc.field("scor") > 1)
    with pytest.raises(WrongArgumentError, match=r'"score"\)\.is_valid'):
        TokenDataset(told.uri, join=path, where=ClipFilter(metadata_keys=["score"]))
