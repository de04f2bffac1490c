"""Sources and manifests: what is listed, what travels along, and one sentence for each mistake."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.sources import find_sources
from pipeline.storage import Folder
from schemas.errors import BadJobError
from schemas.job import SourceSpec


def _touch(tmp_path, *names):
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def _names(found, tmp_path):
    return [source.uri.removeprefix(f"{tmp_path}/") for source in found.sources]


def test_a_folder_gives_its_media_and_counts_the_rest(tmp_path):
    _touch(tmp_path, "b/2.MP4", "b/1.webm", "a.jpg", "notes.txt", "b/.DS_Store", "noending")
    found = find_sources(SourceSpec(paths=[str(tmp_path)]))
    assert _names(found, tmp_path) == ["a.jpg", "b/1.webm", "b/2.MP4"]
    assert found.ignored_files == 3


def test_globs_and_files_are_meant_whatever_their_names(tmp_path):
    _touch(tmp_path, "a.bin", "b.bin", "c.mp4", "d [1].mp4")
    paths = [str(tmp_path / "*.bin"), str(tmp_path / "d [1].mp4"), str(tmp_path / "a.bin")]
    assert _names(find_sources(SourceSpec(paths=paths)), tmp_path) == ["a.bin", "b.bin", "d [1].mp4"]


def test_odd_names_are_taken_literally(tmp_path):
    names = ["[abc]/a b.mp4", "[abc]/ü#%20?.mp4", "[abc]/notes.txt", "*.mp4"]
    _touch(tmp_path, *names)
    found = find_sources(SourceSpec(paths=[str(tmp_path / "[abc]"), str(tmp_path / "*.mp4")]))
    assert _names(found, tmp_path) == ["*.mp4", "[abc]/a b.mp4", "[abc]/ü#%20?.mp4"]
    assert found.ignored_files == 1


def test_links_are_followed_and_loops_end(tmp_path):
    _touch(tmp_path, "real/a.mp4", "elsewhere/b.mp4")
    folder = tmp_path / "real"
    (folder / "folder").symlink_to(tmp_path / "elsewhere")
    (folder / "link.mp4").symlink_to(tmp_path / "elsewhere" / "b.mp4")
    (folder / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (folder / "loop").symlink_to(folder)
    found = find_sources(SourceSpec(paths=[str(folder)]))
    assert _names(found, folder) == ["a.mp4", "folder/b.mp4", "gone.mp4", "link.mp4"]
    assert [source.version == "missing" for source in found.sources] == [False, False, True, False]
    globbed = find_sources(SourceSpec(paths=[str(folder / "*" / "b.mp4")]))
    assert _names(globbed, folder) == ["folder/b.mp4"]


def test_overlapping_paths_name_a_file_once(tmp_path):
    _touch(tmp_path, "v/a.mp4", "v/readme.txt")
    paths = [str(tmp_path / "v"), str(tmp_path), str(tmp_path / "v/a.mp4")]
    found = find_sources(SourceSpec(paths=paths))
    assert _names(found, tmp_path) == ["v/a.mp4"]
    assert found.ignored_files == 1


@pytest.mark.s3
def test_sources_on_s3(s3):
    folder = Folder(s3)
    for name in ("x/b.mp4", "x/a.mp4", "x/readme.md"):
        folder.write_bytes(name, b"12345")
    found = find_sources(SourceSpec(paths=[f"{s3}/x"]))
    assert [source.uri for source in found.sources] == [f"{s3}/x/a.mp4", f"{s3}/x/b.mp4"]
    assert [source.size_bytes for source in found.sources] == [5, 5]
    assert found.ignored_files == 1
    folder.write_bytes("clips.csv", f"uri,start\n{s3}/x/b.mp4,1.5\nx/a.mp4,\n".encode())
    by_manifest = find_sources(SourceSpec(manifest=f"{s3}/clips.csv")).sources
    assert [(s.uri, s.start_ns) for s in by_manifest] == [
        (f"{s3}/x/b.mp4", 1_500_000_000),
        (f"{s3}/x/a.mp4", None),
    ]
    assert by_manifest[1].version == found.sources[0].version


ROWS = [
    {"uri": "v/a.mp4", "start": 0.5, "end": 2.0, "caption": "ein Hund läuft", "views": 3},
    {"uri": "v/a.mp4", "start": 2.0, "end": None, "caption": None, "views": None},
    {"uri": "gone.mp4", "start": None, "end": None, "caption": "x", "views": 1},
]


def _write(tmp_path, suffix):
    path = tmp_path / f"clips.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif suffix == "csv":
        lines = ["uri,start,end,caption,views"]
        lines += [",".join("" if v is None else str(v) for v in row.values()) for row in ROWS]
        path.write_text("\n".join(lines))
    else:
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS))
    return path


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_manifests_of_each_kind_say_the_same(tmp_path, suffix):
    _touch(tmp_path, "v/a.mp4")
    sources = find_sources(SourceSpec(manifest=str(_write(tmp_path, suffix)))).sources
    assert [source.uri for source in sources] == [str(tmp_path / row["uri"]) for row in ROWS]
    assert [source.span_ns for source in sources] == [
        (500_000_000, 2_000_000_000),
        (2_000_000_000, None),
        (None, None),
    ]
    assert json.loads(sources[0].metadata or "") == {"caption": "ein Hund läuft", "views": 3}
    assert json.loads(sources[2].metadata or "") == {"caption": "x", "views": 1}
    assert sources[0].size_bytes == 7
    assert sources[2].version == "missing"


def test_other_columns_travel_whatever_their_type(tmp_path):
    table = pa.table(
        {
            "uri": ["a.mp4"],
            "when": pa.array([0], pa.timestamp("s")),
            "score": [float("nan")],
            "tags": [["x", "y"]],
        }
    )
    pq.write_table(table, tmp_path / "m.parquet")
    (source,) = find_sources(SourceSpec(manifest=str(tmp_path / "m.parquet"))).sources
    assert json.loads(source.metadata or "") == {
        "when": "1970-01-01 00:00:00",
        "score": None,
        "tags": ["x", "y"],
    }


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "url\na.mp4", "has no column 'uri'"),
        ("m.csv", "uri,start\na.mp4,soon", "column 'start' has type string; it must be seconds, as a number"),
        ("m.csv", "uri,start\na.mp4,-1", "row 1: start is -1; it must be seconds from 0 up"),
        ("m.csv", "uri,start,end\nb.mp4,,\na.mp4,3,2", "row 2: end 2 is not after start 3"),
        ("m.csv", "uri,x\na.mp4,1\n,2", "row 2 has no uri"),
        ("m.csv", "uri\na.mp4\nb.mp4\na.mp4", "row 3 repeats row 1"),
        ("m.jsonl", '{"uri": 7}', "column 'uri' has type int64; it must be text"),
        ("m.jsonl", '{"uri": "a"', "cannot be read as jsonl"),
        ("m.parquet", "no parquet", "cannot be read as parquet"),
        ("m.txt", "a.mp4", "must end in .parquet, .csv or .jsonl"),
    ],
)
def test_each_wrong_manifest_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadJobError, match=message) as caught:
        find_sources(SourceSpec(manifest=str(tmp_path / name)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (SourceSpec(paths=["/nowhere/at/all"]), "/nowhere/at/all does not exist"),
        (SourceSpec(paths=["/nowhere/*.mp4"]), "No media was found at /nowhere"),
        (SourceSpec(manifest="/nowhere/m.csv"), "m.csv does not exist"),
    ],
)
def test_missing_sources_are_named(spec, message):
    with pytest.raises(BadJobError, match=message):
        find_sources(spec)


def test_a_folder_without_media_says_what_it_saw(tmp_path):
    _touch(tmp_path, "a.txt", "b.doc")
    with pytest.raises(BadJobError, match="2 files there are no media by their names"):
        find_sources(SourceSpec(paths=[str(tmp_path)]))
