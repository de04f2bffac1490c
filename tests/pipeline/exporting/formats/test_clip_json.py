"""A clip's JSON is its columns, and is never longer than was told beforehand."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.exporting.formats.clip_json import clip_json, most_json_bytes
from bitmill.pipeline.exporting.formats.exported_clip import clip_columns
from bitmill.schemas.dataset.token_shard import TOKEN_COLUMNS
from bitmill.schemas.errors import FormatError
from tests.support.exports import made_clip

TEXT = st.text(max_size=30)
INT64 = st.integers(-(2**63), 2**63 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)
VALUES = {
    "string": TEXT,
    "int64": INT64,
    "int32": INT32,
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "list<element: int64 not null>": st.lists(INT64, max_size=5),
}
METADATA = st.dictionaries(TEXT, st.one_of(TEXT, INT64, st.booleans()), max_size=3).map(json.dumps)
SCHEMA = pa.schema([field for field in TOKEN_COLUMNS if field.name in clip_columns(2)])


def _value(field):
    values = METADATA if field.name == "metadata" else VALUES[str(field.type)]
    return st.none() | values if field.nullable else values


ROWS = st.lists(st.fixed_dictionaries({field.name: _value(field) for field in SCHEMA}), max_size=4)


@pytest.mark.slow
@given(ROWS)
def test_the_json_is_the_columns_and_no_longer_than_told(rows):
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    for row, most in zip(rows, most_json_bytes(table).tolist(), strict=True):
        data = clip_json(row)
        assert most - 64 <= len(data) <= most
        metadata = row["metadata"] and json.loads(row["metadata"])
        assert json.loads(data) == {**row, "metadata": metadata}


def test_rows_in_pieces_are_told_like_whole_ones():
    rows = [dict(made_clip((frames, 2, 2), seed=frames).columns) for frames in (3, 1, 12)]
    pieces = pa.concat_tables([pa.Table.from_pylist([row], schema=SCHEMA) for row in rows])
    whole = pa.Table.from_pylist(rows, schema=SCHEMA)
    assert most_json_bytes(pieces).tolist() == most_json_bytes(whole).tolist()
    assert most_json_bytes(whole.slice(1)).tolist() == most_json_bytes(whole).tolist()[1:]


@pytest.mark.parametrize("text", ["{", "[1]", '"caption"', ""])
def test_metadata_that_is_no_object_names_its_clip(text):
    clip = made_clip((1, 2, 2), seed=5, metadata=text)
    with pytest.raises(FormatError, match=f"clip {5:032x} of /media/a.mp4 is not a JSON object"):
        clip_json(clip.columns)
