"""Any value in, the same value out: what a manifest's columns carry, by JSONL, CSV and Parquet."""

import csv
import io
import json
import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.sources.manifest import read_manifest
from bitmill.pipeline.sources.manifest_tables import OWN_COLUMNS


def _is_foreign(name):
    letters = "".join(one for one in unicodedata.normalize("NFKC", name).casefold() if one.isalnum())
    return letters not in OWN_COLUMNS


TEXTS = st.text()
NAMES = st.text(max_size=8).filter(_is_foreign)
SCALARS = (
    st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.datetimes().map(str)
    | st.sampled_from(["2024-05-06", "12:30:00", "null", "nan", "1e400", "0012", "true", ""])
)
VALUES = st.recursive(
    st.none() | SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
JSON_ROWS = st.lists(st.dictionaries(NAMES, VALUES, max_size=4), min_size=1, max_size=5)


def _carried(path, data):
    path.write_bytes(data)
    rows = read_manifest(str(path))
    assert [row.uri for row in rows] == [f"{path.parent}/{number}" for number in range(len(rows))]
    return [json.loads(row.metadata or "{}") for row in rows]


def _same(found, wanted):
    """Equal in type, too: Python holds True, 1 and 1.0 for one."""
    return repr(found) == repr(wanted) or json.dumps(found, sort_keys=True) == json.dumps(
        wanted, sort_keys=True
    )


@pytest.mark.slow
@given(rows=JSON_ROWS, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_any_json_value_travels_as_it_is(tmp_path_factory, rows, ascii_only, indent):
    lines = [
        json.dumps({"uri": str(number), **row}, ensure_ascii=ascii_only, indent=indent)
        for number, row in enumerate(rows)
    ]
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    assert _same(_carried(path, "\n".join(lines).encode()), rows)


@given(data=st.data(), names=st.lists(NAMES, min_size=1, max_size=3, unique=True))
def test_any_text_travels_through_a_csv(tmp_path_factory, data, names):
    cells = st.lists(TEXTS, min_size=len(names), max_size=len(names))
    rows = data.draw(st.lists(cells, min_size=1, max_size=5))
    text = io.StringIO()
    # Python's writer leaves a CR bare where lines end in another way and not all is quoted.
    quoting, end = data.draw(
        st.sampled_from([(csv.QUOTE_MINIMAL, "\r\n"), *((csv.QUOTE_ALL, end) for end in "\r\n")])
    )
    writer = csv.writer(text, quoting=quoting, lineterminator=end)
    writer.writerows([["uri", *names], *([number, *row] for number, row in enumerate(rows))])
    wanted = [{name: cell for name, cell in zip(names, row, strict=True) if cell} for row in rows]
    assert _same(_carried(tmp_path_factory.getbasetemp() / "any.csv", text.getvalue().encode()), wanted)


COLUMNS = {
    "int64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "double": (pa.float64(), st.floats(allow_nan=False, allow_infinity=False)),
    "bool": (pa.bool_(), st.booleans()),
    "string": (pa.string(), TEXTS),
    "string_view": (pa.string_view(), TEXTS),
    "list": (pa.list_(pa.string()), st.lists(TEXTS | st.none(), max_size=3)),
    "struct": (
        pa.struct({"a": pa.int64(), "b": pa.string()}),
        st.fixed_dictionaries({"a": st.integers(0, 9), "b": TEXTS}),
    ),
}


@pytest.mark.slow
@given(data=st.data())
def test_any_value_of_a_parquet_travels_as_it_is(tmp_path_factory, data):
    rows = data.draw(
        st.lists(
            st.fixed_dictionaries({name: st.none() | values for name, (_, values) in COLUMNS.items()}),
            min_size=1,
            max_size=4,
        )
    )
    arrays = {name: pa.array([row[name] for row in rows], kind) for name, (kind, _) in COLUMNS.items()}
    texts = pa.array([row["string"] for row in rows], pa.string()).dictionary_encode()
    sink = io.BytesIO()
    pq.write_table(pa.table({"uri": [str(n) for n in range(len(rows))], **arrays, "category": texts}), sink)
    wanted = [
        {name: value for name, value in {**row, "category": row["string"]}.items() if value is not None}
        for row in rows
    ]
    assert _same(_carried(tmp_path_factory.getbasetemp() / "any.parquet", sink.getvalue()), wanted)
