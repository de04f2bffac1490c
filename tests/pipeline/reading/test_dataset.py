"""TokenDataset gives back exactly what was written, in every view, and refuses what is not sound."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from torch.utils.data import DataLoader

from bitmill.pipeline.reading import ClipFilter, Padding, TokenBatches, TokenDataset
from bitmill.schemas.dataset.card import shard_file
from bitmill.schemas.errors import FormatError, TokenizerMismatchError, UsageError
from bitmill.schemas.models.geometry import Code, Geometry
from tests.support.datasets import expected_bits, make_dataset
from tests.support.token_datasets import store_dataset

LENGTHS = [[4, 4, 2], [], [1], [4, 3], [4, 4, 4, 4]]


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    uri = request.getfixturevalue("s3") if request.param == "s3" else str(tmp_path / "tokens")
    make_dataset(uri, LENGTHS)
    return uri


@pytest.fixture
def local(tmp_path: Path) -> str:
    make_dataset(str(tmp_path / "tokens"), LENGTHS)
    return str(tmp_path / "tokens")


def test_what_was_written_is_read_by_index_and_in_order(uri):
    dataset = TokenDataset(uri, columns=("clip_id", "source", "start_ns", "frame_pts_ns", "metadata"))
    expected = list(expected_bits(LENGTHS))
    assert len(dataset) == len(expected) == 10
    in_order = list(dataset)
    for index, bits_THWL in enumerate(expected):
        for sample in (dataset[index], dataset[index - len(expected)], in_order[index]):
            assert sample["tokens"].dtype == torch.bool
            assert np.array_equal(sample["tokens"].numpy(), bits_THWL)
            assert len(sample["frame_pts_ns"]) == len(bits_THWL)
    assert in_order[4]["source"] == "/media/0003.mp4"
    assert in_order[4]["metadata"] == '{"caption":"clip 3"}'
    assert in_order[0]["metadata"] is None
    assert len({sample["clip_id"] for sample in in_order}) == 10


def test_views_agree_with_each_other(local):
    bits_THWL = TokenDataset(local)[0]["tokens"]
    weights = 2 ** torch.arange(17, -1, -1)
    integers = TokenDataset(local, view="integers")[0]["tokens"]
    assert torch.equal(integers, (bits_THWL * weights).sum(-1))
    groups = TokenDataset(local, view="groups", group_bits=9)[0]["tokens"]
    assert torch.equal(groups[..., 0] * 512 + groups[..., 1], integers)
    values = TokenDataset(local, view="values")[0]["tokens"]
    assert torch.equal(values > 0, bits_THWL)
    assert torch.allclose(values.square().sum(-1), torch.ones(values.shape[:-1]))
    packed = TokenDataset(local, view="packed")[0]["tokens"]
    assert packed.dtype == torch.uint8
    assert len(packed) == 4 * 4 * 18 // 8


def test_64_bit_tokens_have_groups_but_no_integers(tmp_path):
    make_dataset(str(tmp_path), [[2]], bits_per_token=64)
    groups = TokenDataset(str(tmp_path), view="groups", group_bits=16)[0]["tokens"]
    assert groups.shape == (2, 2, 2, 4)
    assert int(groups.max()) < 2**16
    with pytest.raises(UsageError, match="do not fit int64"):
        TokenDataset(str(tmp_path), view="integers")


@pytest.mark.slow
def test_batches_come_from_worker_processes(local):
    dataset = TokenDataset(local, view="integers", columns=("clip_id",))
    full = [index for index, bits in enumerate(expected_bits(LENGTHS)) if len(bits) == 4]
    loader = DataLoader(
        torch.utils.data.Subset(dataset, full), batch_size=3, num_workers=1, multiprocessing_context="spawn"
    )
    batches = list(loader)
    assert [tuple(batch["tokens"].shape) for batch in batches] == [(3, 4, 2, 2), (3, 4, 2, 2), (1, 4, 2, 2)]
    assert torch.equal(batches[0]["tokens"][1], dataset[full[1]]["tokens"])


def test_a_dataset_is_shared_between_threads_and_pickles_small(local):
    dataset = TokenDataset(local)
    with ThreadPoolExecutor(8) as pool:
        samples = list(pool.map(dataset.__getitem__, [index % 10 for index in range(200)]))
    expected = list(expected_bits(LENGTHS))
    assert all(
        np.array_equal(sample["tokens"].numpy(), expected[index % 10]) for index, sample in enumerate(samples)
    )
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[3]["tokens"], dataset[3]["tokens"])


def test_another_tokenizer_is_refused(local):
    own = TokenDataset(local).card.tokenizer_fingerprint
    assert len(TokenDataset(local, expect_tokenizer=own)) == 10
    with pytest.raises(TokenizerMismatchError, match=f"by tokenizer {own}, not by the expected ffff"):
        TokenDataset(local, expect_tokenizer="ffff")


def test_a_shard_of_another_tokenizer_is_refused(local, tmp_path):
    others = make_dataset(str(tmp_path / "other"), LENGTHS, bits_per_token=36)
    shards = make_dataset(local, LENGTHS)
    foreign = (tmp_path / "other" / shard_file(others[0].shard_id)).read_bytes()
    (Path(local) / shard_file(shards[0].shard_id)).write_bytes(foreign)
    with pytest.raises(TokenizerMismatchError, match="mixes two datasets"):
        TokenDataset(local)


def test_an_unfinished_dataset_is_refused_unless_asked_for(tmp_path):
    make_dataset(str(tmp_path), LENGTHS, leave_out=1)
    with pytest.raises(UsageError, match="has 2 of 3 shards; run its job again"):
        TokenDataset(str(tmp_path))
    assert len(TokenDataset(str(tmp_path), allow_incomplete=True)) == 6


def test_a_flipped_bit_is_found_and_named(local):
    shard = make_dataset(local, LENGTHS)[0]
    path = Path(local) / shard_file(shard.shard_id)
    codes = TokenDataset(local, view="packed")[0]["tokens"].numpy().tobytes()
    data = bytearray(path.read_bytes())
    place = bytes(data).index(codes)
    data[place + 5] ^= 0x10
    path.write_bytes(bytes(data))
    with pytest.raises(FormatError, match=f"{shard.shard_id}.parquet is damaged"):
        next(iter(TokenDataset(local)))
    with pytest.raises(FormatError, match=f"{shard.shard_id}.parquet is damaged"):
        TokenDataset(local, verify="always")[0]


def test_a_truncated_shard_is_named(local):
    shard = make_dataset(local, LENGTHS)[1]
    path = Path(local) / shard_file(shard.shard_id)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError, match=f"{shard.shard_id}.parquet is damaged"):
        TokenDataset(local)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"view": "tokens"}, "Unknown view 'tokens'"),
        ({"view": "groups"}, "needs group_bits that divide the 18 bits"),
        ({"view": "groups", "group_bits": 4}, "needs group_bits that divide the 18 bits"),
        ({"group_bits": 9}, "group_bits needs the view 'groups'"),
        ({"columns": ("codes",)}, "Unknown column 'codes'"),
        ({"verify": "sometimes"}, "verify must be pages, always or never, not 'sometimes'"),
    ],
)
def test_impossible_options_are_refused(local, options, message):
    with pytest.raises(UsageError, match=message):
        TokenDataset(local, **options)


def test_a_folder_without_a_dataset_is_no_dataset(tmp_path):
    with pytest.raises(UsageError, match="is not a bitmill dataset"):
        TokenDataset(str(tmp_path))


def test_a_sample_outside_raises_index_error(local):
    with pytest.raises(IndexError, match="sample 10 of 10"):
        TokenDataset(local)[10]


@pytest.mark.parametrize("where", [None, ClipFilter(min_frames=4), ClipFilter(max_frames=1)])
def test_a_stretch_of_samples(local, where):
    dataset = TokenDataset(local, view="packed", columns=("clip_id",), where=where)
    ids = [sample["clip_id"] for sample in dataset]
    for first in range(len(ids) + 1):
        for end in range(first, len(ids) + 2):
            assert [sample["clip_id"] for sample in dataset.between(first, end)] == ids[first:end]


def test_row_groups_of_which_nothing_is_wanted_are_not_read(tmp_path):
    stored = store_dataset(tmp_path, [[(1, 2, 2)] * 5, [(2, 2, 2)] * 5])
    dataset = TokenDataset(tmp_path, columns=("num_frames",), where=ClipFilter(min_frames=2))
    stored.path(0).unlink()
    assert [sample["num_frames"] for sample in dataset] == [2] * 5


def test_folders_are_read_one_after_the_other(tmp_path):
    stored = [store_dataset(tmp_path / name, [[(1, 2, 2)] * 3], seed=seed) for seed, name in enumerate("ab")]
    clips = stored[0].clips + stored[1].clips
    dataset = TokenDataset([one.folder for one in stored], columns=("clip_id",))
    assert [sample["clip_id"] for sample in dataset] == [row.clip_id for row in clips]
    assert [dataset.find(row.clip_id) for row in clips] == list(range(6))
    # Both have the same sources.
    assert dataset.of_source("/media/0000.mp4") == list(range(6))
    assert dataset[4]["tokens"].shape == (1, 2, 2, 18)


def test_folders_of_two_tokenizers_are_refused(tmp_path):
    store_dataset(tmp_path / "a", [[(1, 2, 2)]])
    store_dataset(tmp_path / "b", [[(1, 2, 2)]], tokenizer="e" * 32)
    with pytest.raises(TokenizerMismatchError, match=f"by tokenizer {'e' * 32}, not by that of {tmp_path}/a"):
        TokenDataset([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(TokenizerMismatchError, match=f"/a was made by tokenizer {'f' * 32}, not by the exp"):
        TokenDataset([tmp_path / "a", tmp_path / "b"], expect_tokenizer="e" * 32)


@pytest.mark.parametrize("verify", ["pages", "always", "never"])
@pytest.mark.parametrize("skip_damaged", [False, True])
def test_what_is_verified_where(tmp_path, verify, skip_damaged):
    """A flipped bit of codes: iterating looks at checksums, a single clip only where it is told to."""
    stored = store_dataset(tmp_path, [[(1, 2, 2)] * 5, [(2, 2, 2)] * 5], row_group_bytes=10**6)
    dataset = TokenDataset(tmp_path, columns=("clip_id",), verify=verify, skip_damaged=skip_damaged)
    data = bytearray(stored.path(0).read_bytes())
    data[bytes(data).index(stored.clips[3].codes)] ^= 1
    stored.path(0).write_bytes(bytes(data))
    ids = [row.clip_id for row in stored.clips]
    if verify == "never":
        assert [sample["clip_id"] for sample in dataset] == ids
    elif skip_damaged:
        assert [sample["clip_id"] for sample in dataset] == ids[5:]
    else:
        with pytest.raises(FormatError, match="a page does not match its checksum"):
            list(dataset)
    if verify == "always":
        with pytest.raises(FormatError, match="a page does not match its checksum"):
            dataset[3]
    else:
        assert int((dataset[3]["tokens"].numpy() != stored.codes(stored.clips[3])).sum()) == 1


@pytest.mark.parametrize("uris", [[], ()])
def test_no_folder_is_no_dataset(uris):
    with pytest.raises(UsageError, match="at least one dataset folder"):
        TokenDataset(uris)


def test_an_expression_is_a_filter(local):
    own = TokenDataset(local, where=ClipFilter(where=pc.field("num_frames") == 4))
    assert 0 < len(TokenDataset(local, where=pc.field("num_frames") == 4)) == len(own) < 10
    with pytest.raises(
        ValueError, match="where must be a ClipFilter or a pyarrow expression, not 'num_frames > 2'"
    ):
        TokenDataset(local, where="num_frames > 2")


def test_one_clip_is_asked_for_at_a_time(local):
    dataset = TokenDataset(local)
    assert torch.equal(dataset[np.int64(3)]["tokens"], dataset[3]["tokens"])
    for wrong in (slice(2, 5), "3", 3.0, [1, 2]):
        with pytest.raises(
            ValueError, match=r"takes the number of one clip, .*write \[dataset\[i\] for i in"
        ):
            dataset[wrong]


@pytest.fixture
def versions(tmp_path: Path) -> list[Path]:
    """Two datasets of one tokenizer, of token shards of version 1 and of version 2."""
    shapes = [[(2, 2, 2), (1, 2, 2)]] * 2
    store_dataset(tmp_path / "1", shapes, seed=1)
    store_dataset(tmp_path / "2", shapes, seed=2, geometry=Geometry(patch_px=(8, 8), code=Code.of_bits(18)))
    return [tmp_path / "1", tmp_path / "2"]


def test_datasets_of_both_versions_are_read_as_one(versions):
    dataset = TokenDataset(versions, columns=("clip_id", "num_frames"), where=pc.field("num_frames") == 2)
    parts = [
        TokenDataset(folder, columns=("clip_id",), where=ClipFilter(min_frames=2)) for folder in versions
    ]
    apart = [sample for part in parts for sample in part]
    assert [sample["clip_id"] for sample in dataset] == [sample["clip_id"] for sample in apart]
    for number, sample in enumerate(apart):
        assert torch.equal(dataset[number]["tokens"], sample["tokens"])
        assert dataset.find(sample["clip_id"]) == number


def test_columns_of_the_newer_version(versions):
    new = TokenDataset(
        versions[1], columns=("num_real_frames", "shot_index"), where=pc.field("scaled_height") > 9
    )
    assert [sample["num_real_frames"] for sample in new] == [2, 1, 2, 1]
    assert new[0]["shot_index"] is None
    (batch,) = TokenBatches(new, batch_size=4, shape=Padding())
    assert batch["num_real_frames"].tolist() == [2, 1, 2, 1]


def test_a_column_that_a_dataset_lacks_is_refused_by_its_folder(versions):
    message = r"/1 has token shards of version 1, which have no column 'shot_index'"
    with pytest.raises(UsageError, match=message):
        TokenDataset(versions, columns=("shot_index",))
    with pytest.raises(UsageError, match=r"cannot be evaluated: No match for FieldRef\.Name\(shot_index\)"):
        TokenDataset(versions, where=pc.field("shot_index") == 1)
