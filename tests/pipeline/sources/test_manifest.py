"""Manifests: values travel as they are written, and what cannot is one sentence that names the row."""

import csv
import io
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bitmill.pipeline.sources.manifest import read_manifest
from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import UsageError


def _rows(tmp_path, text, kind="csv"):
    path = tmp_path / f"m.{kind}"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_manifest(str(path))


def _table(tmp_path, **columns):
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    return read_manifest(str(tmp_path / "m.parquet"))


def _metadata(rows):
    return [json.loads(row.metadata or "null") for row in rows]


def _refused(message):
    return pytest.raises(UsageError, match=message)


@pytest.mark.parametrize(
    ("header", "name", "meant"),
    [
        ("uri, start, end", " start", "start"),
        ("uri,Start", "Start", "start"),
        ("URI", "URI", "uri"),
        ("uri,end\u00a0", "end\\xa0", "end"),
        ("uri,\u200bend", "\\u200bend", "end"),
        ('uri, "start"', ' "start"', "start"),
        ("uri,\uff53tart", "\uff53tart", "start"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_what_nearly_is_a_name_of_ours_is_refused(tmp_path, kind, header, name, meant):
    names = header.split(",")
    values = dict.fromkeys(names, "a.mp4")
    with _refused(f"has a column {name!r}; write it {meant!r}"):
        if kind == "csv":
            _rows(tmp_path, f"{header}\n{','.join(values.values())}\n")
        elif kind == "jsonl":
            _rows(tmp_path, json.dumps(values), "jsonl")
        else:
            _table(tmp_path, **{one: [value] for one, value in values.items()})


@pytest.fixture
def remote():
    """Reads a manifest in a folder of a store, with one row per URI."""

    def read(*uris):
        Folder("memory://bucket/sets").write_bytes("m.csv", "\n".join(["uri", *uris]).encode())
        return [row.uri for row in read_manifest("memory://bucket/sets/m.csv")]

    return read


def test_relative_uris_on_a_store_are_resolved_as_on_a_disk(remote):
    assert remote("a.mp4", "./b.mp4", "../c.mp4", "x/../d.mp4", "./x//./e.mp4", "f..mp4", "x//g.mp4") == [
        "memory://bucket/sets/a.mp4",
        "memory://bucket/sets/b.mp4",
        "memory://bucket/c.mp4",
        "memory://bucket/sets/d.mp4",
        "memory://bucket/sets/x/e.mp4",
        "memory://bucket/sets/f..mp4",
        # The name of another object than x/g.mp4.
        "memory://bucket/sets/x//g.mp4",
    ]
    assert remote("memory://other/x/../a.mp4") == ["memory://other/x/../a.mp4"]


@pytest.mark.parametrize("uri", ["../../a.mp4", "../..", "x/../../../../a.mp4", ".."])
def test_a_relative_uri_does_not_leave_its_bucket(remote, uri):
    with _refused(rf"row 1: uri '{uri}' leads to or above memory://bucket; write a path in it"):
        remote(uri)


def test_other_names_are_metadata(tmp_path):
    (row,) = _rows(tmp_path, "uri,start_frame,url,ending,_end,\na.mp4,1,2,3,4,5\n")
    assert json.loads(row.metadata or "") == {
        "start_frame": "1",
        "url": "2",
        "ending": "3",
        "_end": "4",
        "": "5",
    }
    assert (row.start_ns, row.end_ns) == (None, None)


def test_json_values_travel_as_they_are(tmp_path):
    values = [
        {"when": "2024-05-06", "n": 18446744073709551557, "extra": {"camera": "x"}},
        {"when": "2024-05-07T08:00:00Z", "n": 7, "extra": {"lens": 2}},
        {"when": None, "n": "7", "extra": [{"a": 1}, {"b": [None, True, 0.1, "12:30"]}]},
        {},
    ]
    lines = [json.dumps({"uri": f"{number}.jpg", **row}) for number, row in enumerate(values)]
    rows = _rows(tmp_path, "\n".join(lines), "jsonl")
    assert _metadata(rows) == [*values[:-1], None]


def test_an_object_may_stand_on_several_lines_and_several_on_one(tmp_path):
    text = '{"uri":\r\n "a"}\n\n{"uri": "b"} {"uri": "c", "x": [{"y":\n1}]}\r{"uri": "d"}'
    rows = _rows(tmp_path, text, "jsonl")
    assert [row.uri for row in rows] == [f"{tmp_path}/{name}" for name in "abcd"]


def test_quoted_line_breaks_and_long_cells_stay_whole(tmp_path):
    captions = [f'first line {n}\nsecond, with a comma\r\nthird "quoted"' for n in range(9000)] + [
        "x" * 200_000
    ]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([["uri", "caption"], *([f"{n}.jpg", one] for n, one in enumerate(captions))])
    rows = _rows(tmp_path, text.getvalue())
    assert [one["caption"] for one in _metadata(rows)] == captions


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_a_byte_order_mark_are_no_part_of_a_csv(tmp_path, mark, end):
    (row,) = _rows(tmp_path, mark + end.join(["uri,start", "a.mp4, 1.5 ", ""]).encode())
    assert (row.uri, row.start_ns, row.metadata) == (f"{tmp_path}/a.mp4", 1_500_000_000, None)


def test_a_byte_order_mark_is_no_part_of_a_jsonl(tmp_path):
    (row,) = _rows(tmp_path, b'\xef\xbb\xbf{"uri": "a.mp4"}\n', "jsonl")
    assert row.uri == f"{tmp_path}/a.mp4"


@pytest.mark.parametrize(
    ("seconds", "expected_ns"),
    [
        (pa.array([Decimal("12.345678901")]), 12_345_678_901),
        (pa.array([Decimal("1000000.000000001")], pa.decimal256(40, 9)), 1_000_000_000_000_001),
        (pa.array([1.5], pa.float32()), 1_500_000_000),
        (pa.array([1.5], pa.float16()), 1_500_000_000),
        (pa.array([3], pa.uint64()), 3_000_000_000),
        (pa.array([2.5]).dictionary_encode(), 2_500_000_000),
        (pa.array([None], pa.null()), None),
        (pa.array([None], pa.decimal128(9, 3)), None),
    ],
)
def test_numbers_of_every_kind_are_seconds(tmp_path, seconds, expected_ns):
    (row,) = _table(tmp_path, uri=["a.mp4"], start=seconds)
    assert row.start_ns == expected_ns


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_text_of_every_kind_is_a_uri(tmp_path, kind):
    (row,) = _table(
        tmp_path, uri=pa.array(["a.mp4"], pa.string()).cast(kind), caption=pa.array(["0012"]).cast(kind)
    )
    assert row.uri == f"{tmp_path}/a.mp4"
    assert _metadata([row]) == [{"caption": "0012"}]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"start": ["1"]}, "row 1: start is '1'; it must be seconds, as a number"),
        ({"start": [True]}, "row 1: start is True; it must be seconds, as a number"),
        ({"start": pa.array([1], pa.duration("s"))}, "row 1: start is .*; it must be seconds, as a number"),
        ({"start": [float("nan")]}, "row 1: start is nan; it must be seconds from 0 up"),
        ({"start": [Decimal("-0.1")]}, "row 1: start is -0.1; it must be seconds from 0 up"),
        (
            {"x": pa.array([b"caf\xe9"]).view(pa.string())},
            r"row 1: its 'x' \(string\) has no Python form",
        ),
        (
            {"x": pa.array([0], pa.timestamp("s", "Europe/Nowhere"))},
            "row 1: its 'x' .* has no Python form",
        ),
        ({"x": pa.array([10**15], pa.timestamp("s"))}, "row 1: its 'x' .* has no Python form"),
    ],
)
def test_a_value_that_is_none_is_told_with_its_row(tmp_path, columns, message):
    with _refused(message) as caught:
        _table(tmp_path, uri=["a.mp4"], **columns)
    assert "\n" not in str(caught.value)


def test_the_row_of_a_value_that_is_none_is_counted_over_batches(tmp_path):
    times = pa.array([*[0] * 9999, 10**15], pa.timestamp("s"))
    with _refused("row 10000: its 't'"):
        _table(tmp_path, uri=[f"{n}.mp4" for n in range(10_000)], t=times)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("csv", "uri,start\na.mp4,0x10\n", "row 1: start is '0x10'; it must be seconds, as a number"),
        ("csv", "uri,start\na.mp4,00:01\n", "row 1: start is '00:01'; it must be seconds, as a number"),
        ("csv", "uri,start\na.mp4,nan\n", "row 1: start is nan; it must be seconds from 0 up"),
        ("csv", "uri,x\na.mp4,1\nb.mp4\n", "row 2: it has 1 cells, where the header has 2"),
        (
            "csv",
            'uri,x\na.mp4,1\nb.mp4,"never ends\n',
            "cannot be read as csv: row 2: unexpected end of data",
        ),
        ("csv", "uri,x,x\na.mp4,1,2\n", "has the column 'x' twice"),
        ("csv", "", "has no column 'uri'"),
        ("csv", b"uri\ncaf\xe9.mp4\n", "m.csv is not UTF-8 text; save it as UTF-8"),
        ("csv", "uri\na.mp4\n".encode("utf-16"), "m.csv is not UTF-8 text; save it as UTF-8"),
        ("csv", "uri\ns3://[draft]/a.jpg\n", "row 1: The host or bucket of a s3:// URI cannot be parsed"),
        (
            "csv",
            "uri\ns3://key:secret@[x/a.jpg\n",
            "row 1: The host or bucket of a s3:// URI cannot be parsed",
        ),
        ("csv", "uri\ns3://key:secret@b/a.jpg\n", "row 1: The URI of host 'b' contains credentials"),
        ("csv", "uri,x\n  ,1\n", "row 1 has no uri"),
        ("jsonl", '{"uri": "a\\u0000b.jpg"}', "row 1: A path or URI contains a NUL character"),
        ("jsonl", b'{"uri": "caf\xe9"}', "m.jsonl is not UTF-8 text; save it as UTF-8"),
        ("jsonl", '{"uri": "a"}\n[{"uri": "b"}]', "cannot be read as jsonl: row 2: it is not a JSON object"),
        ("jsonl", '{"uri": "a"}\n{"uri": "b"', "cannot be read as jsonl: row 2: the file ends inside it"),
        ("jsonl", '{"uri": "a"\n{"uri": "b"}', "cannot be read as jsonl: row 1: Expecting ',' delimiter"),
        ("jsonl", '{"uri": "a", "x": {"y": 1, "y": 2}}', "row 1: it has 'y' twice"),
        ("jsonl", '{"uri": "a", "x": 1e400}', "row 1 contains a number too large"),
        ("jsonl", '{"uri": "a", "x": ' + "9" * 5000 + "}", "row 1: Exceeds the limit"),
        ("jsonl", '{"uri": "a", "x": ' + "[" * 100_000, "row 1: maximum recursion depth exceeded"),
        ("jsonl", '{"uri": "a", "x": "\\ud800"}', "row 1 contains a lone surrogate"),
        ("jsonl", '{"uri": ["a"]}', r"row 1: uri is \['a'\]; it must be text"),
        ("jsonl", '{"uri": "a", "start": true}', "row 1: start is True; it must be seconds, as a number"),
        ("jsonl", '{"uri": "a", "start": "1"}', "row 1: start is '1'; it must be seconds, as a number"),
        ("jsonl", '{"uri": "a", "end": 1e400}', "row 1: end is inf; it must be seconds from 0 up"),
        (
            "jsonl",
            '{"uri": "a", "end": ' + "9" * 4000 + "}",
            "row 1: end is 9{80}…; it must be a time in seconds",
        ),
        ("jsonl", '{"uri": "a"}\n{"link": "b"}', "row 2 has no uri"),
    ],
)
def test_odd_manifests_are_one_sentence(tmp_path, kind, text, message):
    with _refused(message) as caught:
        _rows(tmp_path, text, kind)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_tilde_that_is_no_users_is_a_name(tmp_path):
    (row,) = _rows(tmp_path, "uri\n~no-such-user-here/a.jpg\n")
    assert row.uri == f"{tmp_path}/~no-such-user-here/a.jpg"


def test_uris_as_pathlib_writes_them_are_understood(tmp_path):
    names = ["a b.mp4", "ü#%20?.mp4", "100%.mp4"]
    uris = [(tmp_path / name).as_uri() for name in names]
    uris.append(uris[0].replace("file:///", "file://localhost/").replace("a%20b", "c%20d"))
    rows = _rows(tmp_path, "\n".join(["uri", *uris]))
    assert [row.uri for row in rows] == [f"{tmp_path}/{name}" for name in [*names, "c d.mp4"]]
