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
from bitmill.schemas.dataset.packing import unpack_bits
from bitmill.schemas.dataset.token_shard import TOKEN_COLUMNS, read_shard_metadata
from bitmill.schemas.errors import FormatError

VERSIONS = sorted(path.name for path in Path(__file__).parent.glob("v*") if path.is_dir())
FIRST, LATEST = Path(__file__).parent / "v1", Path(__file__).parent / "v4"
LATEST_CARD = Path(__file__).parent / "v2" / "dataset.json"
SHARD_VERSIONS = {"v1": 1, "v2": 1, "v3": 1, "v4": 1}
"""A folder is named by its ledger's version; card, token shard and plan have kept their own."""


def _expected(version: str):
    return json.loads((Path(__file__).parent / version / "expected.json").read_text())


def _with_bits(rows):
    """Rows with their codes spelled out, code bit 0 first."""
    for row in rows:
        codes = row.pop("codes")
        num_tokens = row["num_frames"] * row["height"] * row["width"]
        row["bits"] = [
            "".join("01"[bit] for bit in code) for code in unpack_bits(codes, num_tokens, 18).tolist()
        ]
    return rows


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
    assert card.pixel_rule == 1
    assert plan_part(part.file, shards) == part
    assert plan_bytes(shards) == (FIRST / "plan.parquet").read_bytes()
    again = read_card(card.to_json(), origin="x")
    assert (again.format_version, again.plan, again.totals) == (2, card.plan, card.totals)


def test_todays_card_is_read_and_written_as_ever():
    data = LATEST_CARD.read_bytes()
    assert read_card(data, origin="x").to_json() == data


def test_a_newer_card_is_refused():
    newer = (FIRST / "dataset.json").read_bytes().replace(b'version": 1', b'version": 3', 1)
    with pytest.raises(FormatError, match=r"x has dataset format 3; this bitmill reads up to 2\. Upgrade"):
        read_card(newer, origin="x")


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
                {b"bitmill": table.schema.metadata[b"bitmill"].replace(b'version":1', b'version":2')}
            ),
            "has token shard format 2; this bitmill reads up to 1. Upgrade",
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
    newer = table.replace_schema_metadata({b"bitmill.format_version": b"5"})
    pq.write_table(newer, tmp_path / "newer.parquet")
    with pytest.raises(FormatError, match="has format 5; this bitmill reads up to 4"):
        read_ledger((tmp_path / "newer.parquet").read_bytes(), origin="x")
    with pytest.raises(FormatError, match="The ledger x is damaged"):
        read_ledger((LATEST / "ledger.parquet").read_bytes()[:-9], origin="x")
