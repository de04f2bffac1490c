"""Files of every released format version stay readable, by us and by others, with the same contents."""

import json
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bitmill.pipeline.dataset.ledger import read_ledger
from bitmill.pipeline.dataset.plan_file import plan_bytes, plan_part, read_plan
from bitmill.schemas.dataset.card import read_card
from bitmill.schemas.dataset.ledger_schema import LEDGER_SCHEMA
from bitmill.schemas.dataset.token_shard import TOKEN_COLUMNS, read_shard_metadata
from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.geometry import Code
from tests.golden.make import spelled

VERSIONS = sorted(path.name for path in Path(__file__).parent.glob("v*") if path.is_dir())
FIRST, LATEST = Path(__file__).parent / "v1", Path(__file__).parent / "v5"
SHARD_VERSIONS = {"v1": 1, "v2": 1, "v3": 1, "v4": 1, "v5": 2}
"""A folder is named by its ledger's version; card, token shard and plan have kept their own."""


def _expected(version: str):
    return json.loads((Path(__file__).parent / version / "expected.json").read_text())


def _with_bits(rows):
    return [spelled(row, Code.of_bits(18)) for row in rows]


@pytest.mark.parametrize("version", VERSIONS)
def test_golden_shards_are_read_as_ever(version):
    file = pq.ParquetFile(Path(__file__).parent / version / "shard.parquet")
    metadata = read_shard_metadata(file.schema_arrow, origin=version)
    assert metadata.bits_per_token == 18
    assert metadata.format_version == SHARD_VERSIONS[version]
    assert _with_bits(file.read().to_pylist()) == _expected(version)["clips"]


@pytest.mark.parametrize("version", VERSIONS)
def test_golden_ledgers_are_read_as_ever(version):
    data = (Path(__file__).parent / version / "ledger.parquet").read_bytes()
    assert read_ledger(data, origin=version) == _expected(version)["ledger"]
    assert pq.read_schema(pa.BufferReader(data)).metadata[b"bitmill.format_version"] == version[1:].encode()


def test_a_dataset_of_the_first_version_is_read_and_written_as_todays():
    card = read_card((FIRST / "dataset.json").read_bytes(), origin="x")
    (part,) = card.plan
    shards = read_plan((FIRST / "plan.parquet").read_bytes(), origin="x", attempt=part.attempt)
    assert (card.format_version, card.num_sources, card.num_retried, card.appended_sources) == (1, 3, 0, [])
    assert (card.pixel_rule, card.shard_version) == (1, 1)
    assert card.geometry == card.tokenizer.geometry
    assert plan_part(part.file, shards) == part
    assert plan_bytes(shards) == (FIRST / "plan.parquet").read_bytes()
    again = read_card(card.to_json(), origin="x")
    assert (again.format_version, again.plan, again.totals) == (2, card.plan, card.totals)


@pytest.mark.parametrize("folder", ["v2", "v5", "card4", "card5"])
def test_cards_are_read_and_written_as_ever(folder):
    data = (FIRST.parent / folder / "dataset.json").read_bytes()
    assert read_card(data, origin="x").to_json() == data


def test_a_card_of_version_4_tells_of_a_tokenizer_of_any_size():
    card = read_card((FIRST.parent / "card4" / "dataset.json").read_bytes(), origin="x")
    assert (card.format_version, card.tokenizer.format_version) == (4, 2)
    assert (card.geometry.size_px, card.geometry.multiple_px) == (None, (8, 8))


def test_a_card_of_version_5_tells_of_a_codebook():
    card = read_card((FIRST.parent / "card5" / "dataset.json").read_bytes(), origin="x")
    assert (card.format_version, card.tokenizer.architecture) == (5, "emu3")
    assert card.geometry.code == Code.of_index(32768)


def test_a_card_of_version_2_says_the_same_as_todays():
    before, now = (
        read_card((FIRST.parent / folder / "dataset.json").read_bytes(), origin="x")
        for folder in ("v2", "v5")
    )
    assert (before.geometry, before.shard_version, now.shard_version) == (now.geometry, 1, 2)


def test_a_newer_card_is_refused():
    newer = (FIRST / "dataset.json").read_bytes().replace(b'version": 1', b'version": 6', 1)
    with pytest.raises(FormatError, match=r"x has dataset format 6; this bitmill reads up to 5\. Upgrade"):
        read_card(newer, origin="x")


def test_a_card_of_newer_shards_is_refused():
    data = (LATEST / "dataset.json").read_bytes()
    newer = data.replace(b'"storage.shard_version": 2', b'"storage.shard_version": 3')
    with pytest.raises(FormatError, match="has token shards of format 3; this bitmill reads up to 2"):
        _ = read_card(newer, origin="x").shard_version


def test_golden_digits_are_read_as_ever():
    file = pq.ParquetFile(LATEST / "digits.parquet")
    metadata = read_shard_metadata(file.schema_arrow, origin="x")
    assert (metadata.patch_px, metadata.frames_per_token, metadata.layout) == ((8, 8), 4, "grid")
    assert metadata.code == Code.of_digits((8, 8, 5, 5))
    rows = [spelled(row, metadata.code) for row in file.read().to_pylist()]
    assert rows == _expected(LATEST.name)["digits"]
    assert [(row["num_frames"], row["num_real_frames"]) for row in rows] == [(2, 3), (2, 5), (1, 1)]


def test_duckdb_reads_a_shard_as_it_is():
    query = f"select * from '{LATEST / 'shard.parquet'}'"
    names = [field.name for field in TOKEN_COLUMNS]
    with duckdb.connect() as connection:
        rows = [dict(zip(names, row, strict=True)) for row in connection.execute(query).fetchall()]
    assert _with_bits(rows) == _expected(LATEST.name)["clips"]


def test_polars_reads_a_shard_as_it_is():
    assert _with_bits(pl.read_parquet(LATEST / "shard.parquet").to_dicts()) == _expected(LATEST.name)["clips"]


def test_todays_columns_are_those_of_the_golden_files():
    shard = pq.read_schema(LATEST / "shard.parquet")
    assert [(f.name, f.type, f.nullable) for f in shard] == [
        (f.name, f.type, f.nullable) for f in TOKEN_COLUMNS
    ]
    ledger = pq.read_schema(LATEST / "ledger.parquet")
    assert [(f.name, f.type, f.nullable) for f in ledger] == [
        (f.name, f.type, f.nullable) for f in LEDGER_SCHEMA
    ]


def test_codes_are_plain_and_others_compressed():
    group = pq.read_metadata(LATEST / "shard.parquet").row_group(0)
    columns = {group.column(place).path_in_schema: group.column(place) for place in range(group.num_columns)}
    assert columns["codes"].compression == "UNCOMPRESSED"
    assert not columns["codes"].has_dictionary_page
    assert columns["clip_id"].compression == "ZSTD"


def _rewritten(tmp_path: Path, change) -> pa.Schema:
    table = change(pq.read_table(LATEST / "shard.parquet"))
    pq.write_table(table, tmp_path / "x.parquet")
    return pq.read_schema(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.replace_schema_metadata({}), "is a Parquet file but no bitmill token shard"),
        (lambda table: table.drop_columns(["codes"]), "lacks the column 'codes'"),
        (
            lambda table: table.set_column(3, "start_ns", pa.array([0.5] * len(table))),
            "column 'start_ns' has type double, not int64",
        ),
        (
            lambda table: table.replace_schema_metadata(
                {b"bitmill": table.schema.metadata[b"bitmill"].replace(b'version":2', b'version":3')}
            ),
            "has token shard format 3; this bitmill reads up to 2. Upgrade",
        ),
        (lambda table: table.replace_schema_metadata({b"bitmill": b"{}"}), "damaged shard metadata"),
    ],
)
def test_what_is_no_shard_of_ours_is_named(tmp_path, change, message):
    schema = _rewritten(tmp_path, change)
    with pytest.raises(FormatError, match=message):
        read_shard_metadata(schema, origin="x.parquet")


def test_a_newer_ledger_is_refused_and_a_damaged_one_named(tmp_path):
    table = pq.read_table(LATEST / "ledger.parquet")
    newer = table.replace_schema_metadata({b"bitmill.format_version": b"6"})
    pq.write_table(newer, tmp_path / "newer.parquet")
    with pytest.raises(FormatError, match="has format 6; this bitmill reads up to 5"):
        read_ledger((tmp_path / "newer.parquet").read_bytes(), origin="x")
    with pytest.raises(FormatError, match="The ledger x is damaged"):
        read_ledger((LATEST / "ledger.parquet").read_bytes()[:-9], origin="x")
