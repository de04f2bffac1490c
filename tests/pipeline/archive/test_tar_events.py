"""Tars as sources: what is an item, what belongs to it, and what each kind of damage costs."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from bitmill.pipeline.archive.tar_events import archive_events
from bitmill.pipeline.archive.tar_index import index_tar
from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.isolation.decode_process import isolated_events
from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events
from bitmill.pipeline.items import DecodedClip, ItemEnd, ItemStart
from bitmill.pipeline.sources.listing import find_sources
from bitmill.schemas.outcomes import Outcome, Reason
from bitmill.schemas.requests.job import SourceSpec
from tests.support.fakes import make_job
from tests.support.media import jpeg_photo, plain_mp4
from tests.support.tars import BLOCK, cut, member_offset, overwrite, write_samples, write_tar

SETTINGS = DecodeSettings.of(make_job(sampling={"fps": 8}), squares(64), pixel_rule=2)


@pytest.fixture(scope="module")
def mp4(tmp_path_factory):
    return plain_mp4(tmp_path_factory.mktemp("media") / "a.mp4").read_bytes()


@pytest.fixture(scope="module")
def jpg(tmp_path_factory):
    return jpeg_photo(tmp_path_factory.mktemp("media") / "a.jpg").read_bytes()


class Row:
    """One item as it came out of the events."""

    def __init__(self, start: ItemStart) -> None:
        self.start = start
        self.clips: list[DecodedClip] = []
        self.end: ItemEnd | None = None

    @property
    def told(self):
        assert self.end is not None
        return self.start.key, self.end.outcome(len(self.clips)), self.end.reason

    @property
    def metadata(self):
        return None if self.start.metadata is None else json.loads(self.start.metadata)


def source_of(path):
    (source,) = find_sources(SourceSpec(paths=[str(path)])).sources
    return source


def read(path, **options) -> list[Row]:
    rows: list[Row] = []
    for event in source_events(source_of(path), SETTINGS, **options):
        if isinstance(event, ItemStart):
            rows.append(Row(event))
        elif isinstance(event, ItemEnd):
            assert rows[-1].end is None
            rows[-1].end = event
        elif isinstance(event, DecodedClip):
            rows[-1].clips.append(event)
    return rows


def plain(path):
    return [event for event in source_events(source_of(path), SETTINGS) if isinstance(event, DecodedClip)]


OK, PARTIAL, FAILED = Outcome.OK, Outcome.PARTIAL, Outcome.FAILED


def test_a_tar_of_webdatasets_writer_gives_each_sample_with_its_fields(tmp_path, mp4, jpg):
    path = write_samples(
        tmp_path / "a.tar",
        [
            {"__key__": "x/000", "mp4": mp4, "json": {"views": 3, "caption": "ein Hund läuft"}, "cls": 7},
            {"__key__": "x/001", "jpg": jpg, "txt": "a phone\n", "npy": np.zeros(3), "pyd": {"a": object}},
        ],
    )
    video, picture = read(path)
    assert video.told == ("x/000.mp4", OK, None)
    assert video.metadata == {"views": 3, "caption": "ein Hund läuft", "cls": "7"}
    assert video.start.size_bytes == len(mp4)
    assert picture.told == ("x/001.jpg", OK, None)
    assert picture.metadata == {"caption": "a phone"}


def test_pixels_are_those_of_the_same_files_unpacked(tmp_path, mp4, jpg):
    files = {"a.mp4": mp4, "b.jpg": jpg}
    rows = read(write_tar(tmp_path / "x.tar", list(files.items())))
    for row, (name, data) in zip(rows, files.items(), strict=True):
        (tmp_path / name).write_bytes(data)
        expected = plain(tmp_path / name)
        assert len(row.clips) == len(expected) > 0
        for one, other in zip(row.clips, expected, strict=True):
            assert np.array_equal(one.frames_THWC, other.frames_THWC)
            assert np.array_equal(one.frame_pts_ns, other.frame_pts_ns)


def test_the_plans_metadata_lies_below_the_sidecars(tmp_path, jpg):
    write_tar(tmp_path / "x.tar", [("a.jpg", jpg), ("a.txt", b"own"), ("b.jpg", jpg)])
    (tmp_path / "m.csv").write_text("uri,caption,set\nx.tar,theirs,train\n")
    (source,) = find_sources(SourceSpec(manifest=str(tmp_path / "m.csv"))).sources
    starts = [event for event in source_events(source, SETTINGS) if isinstance(event, ItemStart)]
    assert [json.loads(start.metadata or "") for start in starts] == [
        {"caption": "own", "set": "train"},
        {"caption": "theirs", "set": "train"},
    ]


def test_dots_in_keys_merge_nothing(tmp_path, jpg):
    names = [
        "a.v1.jpg",
        "a.v2.jpg",
        "a.v1.json",
        "a.json",
        "a.v2.caption.txt",
        "b.c/d.jpg",
        "b.json",
        "d.txt",
    ]
    data = {".jpg": jpg, "json": b'{"n": 1, "of": "%s"}', ".txt": b"text"}
    members = [
        (name, data[name[-4:]] % name.encode() if name.endswith("json") else data[name[-4:]])
        for name in names
    ]
    rows = read(write_tar(tmp_path / "x.tar", members))
    assert [row.told for row in rows] == [(name, OK, None) for name in names if name.endswith("jpg")]
    # a.json is shared by all that go on from a; what is a.v1's own wins over it. b.c is a folder.
    assert [row.metadata for row in rows] == [
        {"n": 1, "of": "a.v1.json"},
        {"n": 1, "of": "a.json", "caption": "text"},
        None,
    ]


def test_members_of_one_key_meet_wherever_they_stand(tmp_path, jpg):
    others = [(f"other-{number}.jpg", jpg) for number in range(3)]
    members = [("a.json", b'{"n": 1}'), *others, ("a.jpg", jpg), ("b.jpg", jpg), *others[:0], ("a.cls", b"2")]
    members += [("b.txt", b"late"), ("b.", b"no suffix"), ("b", b"none at all")]
    rows = {row.start.key: row.metadata for row in read(write_tar(tmp_path / "x.tar", members))}
    assert rows["a.jpg"] == {"n": 1, "cls": "2"}
    assert rows["b.jpg"] == {"caption": "late"}
    assert len(rows) == 5


def test_names_that_collide_lose_nothing(tmp_path, jpg):
    members = [
        ("a.jpg", jpg),
        ("a.json", b'{"caption": "from json"}'),
        ("a.txt", b"from txt"),
        ("a.caption", b"from caption"),
        ("a.meta.json", b"[1, 2]"),
    ]
    (row,) = read(write_tar(tmp_path / "x.tar", members))
    assert row.metadata == {
        "caption": "from json",
        "txt": "from txt",
        ".caption": "from caption",
        "meta": [1, 2],
    }


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.json", b'{"a": ', "it is not valid JSON"),
        ("a.json", b'{"a": 1e999}', "it is not valid JSON"),
        ("a.json", b'{"a": "\\ud800"}', "it is not valid JSON"),
        ("a.json", b"[" * 100_000, "it is not valid JSON"),
        ("a.txt", b"caf\xe9", "it is not UTF-8 text"),
        ("a.txt", b"x" * (1 << 20) + b"y", "may have 1048576 bytes in total"),
    ],
    ids=["cut", "infinite", "surrogate", "deep", "latin-1", "huge"],
)
def test_a_sidecar_that_is_not_understood_leaves_a_partial_item(tmp_path, jpg, name, data, why):
    path = write_tar(tmp_path / "x.tar", [("a.jpg", jpg), (name, data), ("a.cls", b"5"), ("b.jpg", jpg)])
    row, other = read(path)
    assert row.told == ("a.jpg", PARTIAL, Reason.BAD_SIDECAR)
    assert row.end is not None
    assert row.end.detail is not None
    assert row.end.detail.startswith(f"Sidecar {name}: ")
    assert why in row.end.detail
    assert row.metadata == {"cls": "5"}
    assert other.told == ("b.jpg", OK, None)


def test_binary_members_are_left_out_and_never_unpickled(tmp_path, jpg):
    evil = b"cos\nsystem\n(S'touch /tmp/never'\ntR.\x80"
    members = [("a.jpg", jpg), ("a.pyd", evil), ("a.pt", b"PK\x03\x04\0\0"), ("a.wav", b"RIFF\xff\xff")]
    (row,) = read(write_tar(tmp_path / "x.tar", members))
    assert row.told == ("a.jpg", OK, None)
    assert row.metadata is None


def test_a_name_that_comes_twice_is_taken_once(tmp_path, jpg, mp4):
    members = [("a.jpg", jpg), ("a.json", b'{"n": 1}'), ("a.jpg", jpg), ("b.jpg", jpg), ("a.json", b"{}")]
    first, second, third = read(write_tar(tmp_path / "x.tar", members))
    assert first.told == ("a.jpg", PARTIAL, Reason.BAD_SIDECAR)
    assert first.metadata == {"n": 1}
    assert second.told == ("a.jpg", FAILED, Reason.DUPLICATE_KEY)
    assert third.told == ("b.jpg", OK, None)


def test_a_tar_without_media_is_one_failed_row(tmp_path):
    (row,) = read(write_tar(tmp_path / "x.tar", [("README", b"x"), ("a.", b"x"), ("a.json", b"{}")]))
    assert row.told == (None, FAILED, Reason.NOT_MEDIA)
    (row,) = read(write_tar(tmp_path / "empty.tar", []))
    assert row.told == (None, FAILED, Reason.NOT_MEDIA)


def test_files_that_are_no_tar_say_so(tmp_path, jpg):
    (tmp_path / "zero.tar").write_bytes(b"")
    (tmp_path / "text.tar").write_bytes(b"This is no tar." * 100)
    (tmp_path / "short.tar").write_bytes(b"This is no tar.")
    with tarfile.open(tmp_path / "gz.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
    told = {name: read(tmp_path / f"{name}.tar")[0] for name in ("zero", "text", "short", "gz")}
    assert {name: row.told for name, row in told.items()} == {
        "zero": (None, FAILED, Reason.EMPTY_FILE),
        "text": (None, FAILED, Reason.CORRUPT),
        "short": (None, FAILED, Reason.TRUNCATED),
        "gz": (None, FAILED, Reason.NOT_MEDIA),
    }
    assert "Compressed" in (told["gz"].end.detail or "")  # type: ignore[union-attr]


MEMBERS = ("a.json", "a.jpg", "b.mp4", "c.jpg")


@pytest.fixture
def whole(tmp_path, jpg, mp4):
    data = {"json": b'{"n": 1}', ".jpg": jpg, ".mp4": mp4}
    return write_tar(tmp_path / "x.tar", [(name, data[name[-4:]]) for name in MEMBERS])


def test_the_items_before_a_cut_are_whole_and_the_rest_is_one_row(whole, mp4):
    cut(whole, member_offset(whole, "b.mp4") + len(mp4) // 2)
    first, second, rest = read(whole)
    assert first.told == ("a.jpg", OK, None)
    assert first.metadata == {"n": 1}
    # Its index stood at its end.
    assert second.told == ("b.mp4", FAILED, Reason.TRUNCATED)
    assert second.end is not None
    assert second.end.detail == f"The tar ends within it, after {len(mp4) // 2} of its {len(mp4)} bytes."
    assert rest.told == (None, FAILED, Reason.TRUNCATED)


@pytest.mark.parametrize("beyond", [-BLOCK, -BLOCK // 2, -1, 0])
def test_a_cut_at_or_within_a_header_loses_no_whole_item(whole, beyond):
    cut(whole, member_offset(whole, "c.jpg") + beyond)
    told = [row.told for row in read(whole)]
    assert told[:2] == [("a.jpg", OK, None), ("b.mp4", OK, None)]
    assert told[-1] == (None, FAILED, Reason.TRUNCATED)
    assert told[2:-1] == ([("c.jpg", FAILED, Reason.TRUNCATED)] if not beyond else [])


def test_a_cut_sidecar_is_told_twice(tmp_path, jpg):
    path = write_tar(tmp_path / "x.tar", [("a.jpg", jpg), ("a.json", b'{"n": 1}')])
    cut(path, member_offset(path, "a.json") + 4)
    assert [row.told for row in read(path)] == [
        ("a.jpg", PARTIAL, Reason.BAD_SIDECAR),
        (None, FAILED, Reason.TRUNCATED),
    ]


def test_a_damaged_header_ends_the_tar_there(whole):
    overwrite(whole, member_offset(whole, "b.mp4") - BLOCK + 10, b"\xff\xff\xff")
    assert [row.told for row in read(whole)] == [("a.jpg", OK, None), (None, FAILED, Reason.CORRUPT)]


def test_a_damaged_member_is_its_own_affair(whole, jpg):
    overwrite(whole, member_offset(whole, "a.jpg"), b"\0" * 64)
    assert [row.told[:2] for row in read(whole)] == [("a.jpg", FAILED), ("b.mp4", OK), ("c.jpg", OK)]


def test_tars_joined_end_to_end_are_told(tmp_path, jpg):
    path = write_tar(tmp_path / "x.tar", [("a.jpg", jpg)])
    path.write_bytes(path.read_bytes() + write_tar(tmp_path / "y.tar", [("b.jpg", jpg)]).read_bytes())
    rows = read(path)
    assert [row.told for row in rows] == [("a.jpg", OK, None), (None, FAILED, Reason.CORRUPT)]


def test_a_size_below_zero_does_not_turn_in_circles(whole):
    with tarfile.open(whole) as tar:
        header = tar.getmember("b.mp4")
        raw = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    raw[124:136] = b"\xff" * 10 + b"\xf8\x00"
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    overwrite(whole, member_offset(whole, "b.mp4") - BLOCK, bytes(raw))
    assert [row.told for row in read(whole)] == [("a.jpg", OK, None), (None, FAILED, Reason.CORRUPT)]


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_are_keys(tmp_path, jpg, kind):
    names = ["d/" * 40 + "ü" * 30 + ".jpg", "./a b.jpg"]
    rows = read(write_tar(tmp_path / "x.tar", [(name, jpg) for name in names], kind=kind))
    assert [row.told for row in rows] == [(name, OK, None) for name in names]


def test_a_name_that_is_no_utf8_is_spelt_out(tmp_path, jpg):
    path = write_tar(tmp_path / "x.tar", [("a\udcff.jpg", jpg), ("a\udcff.txt", b"x")])
    (row,) = read(path)
    assert row.told == (r"a\xff.jpg", OK, None)
    assert row.metadata == {"caption": "x"}


def test_what_a_mac_leaves_in_a_tar_is_neither_media_nor_sidecar(tmp_path, jpg):
    left = b"\x00\x05\x16\x07"
    names = ("._a.jpg", "x/._a.jpg", "._a.json", "._a.txt", "x/._a.caption.txt")
    members = [*((name, left) for name in names), ("a.jpg", jpg), ("x/a.jpg", jpg)]
    rows = read(write_tar(tmp_path / "x.tar", members))
    assert [row.told for row in rows] == [("a.jpg", Outcome.OK, None), ("x/a.jpg", Outcome.OK, None)]
    assert [row.metadata for row in rows] == [None, None]


def test_links_are_followed_within_the_tar(tmp_path, jpg):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        (tmp_path / "a.jpg").write_bytes(jpg)
        tar.add(tmp_path / "a.jpg", "d/a.jpg")
        for name, kind, target in [
            ("hard.jpg", tarfile.LNKTYPE, "d/a.jpg"),
            ("d/soft.jpg", tarfile.SYMTYPE, "a.jpg"),
            ("out.jpg", tarfile.SYMTYPE, "/etc/passwd"),
        ]:
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, target
            tar.addfile(header)
    rows = read(tmp_path / "x.tar")
    assert [row.told for row in rows] == [
        ("d/a.jpg", OK, None),
        ("hard.jpg", OK, None),
        ("d/soft.jpg", OK, None),
        ("out.jpg", FAILED, Reason.NOT_FOUND),
    ]
    assert np.array_equal(rows[0].clips[0].frames_THWC, rows[1].clips[0].frames_THWC)


def test_folders_and_devices_are_no_members(tmp_path, jpg):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, kind in [("folder.jpg", tarfile.DIRTYPE), ("pipe.jpg", tarfile.FIFOTYPE)]:
            header = tarfile.TarInfo(name)
            header.type = kind
            tar.addfile(header)
    assert not index_tar(str(tmp_path / "x.tar")).members


def test_items_are_skipped_to_go_on_after_a_crash(whole):
    every = [row.told for row in read(whole)]
    for skip in range(len(every) + 1):
        assert [row.told for row in read(whole, skip_items=skip)] == every[skip:]
    cut(whole, member_offset(whole, "c.jpg") + 3)
    every = [row.told for row in read(whole)]
    assert [row.told for row in read(whole, skip_items=3)] == every[3:] == [(None, FAILED, Reason.TRUNCATED)]
    assert not read(whole, skip_items=4)


def test_an_item_is_given_up_by_name_and_the_rest_goes_on(whole):
    every = [row.told for row in read(whole)]
    end = ItemEnd.unread(Reason.DECODER_CRASHED, "It died.")
    rows = read(whole, skip_items=1, instead=end)
    assert [row.told for row in rows] == [("b.mp4", FAILED, Reason.DECODER_CRASHED), every[2]]
    # Its metadata is known all the same.
    assert read(whole, instead=end)[0].metadata == {"n": 1}
    assert not read(whole, skip_items=3, instead=end)


def test_a_tar_that_changes_while_it_is_read_is_told(whole):
    events = source_events(source_of(whole), SETTINGS)
    assert isinstance(next(events), Staged)
    next(events)
    overwrite(whole, 0, b"")
    *_, start, end = events
    assert isinstance(start, ItemStart)
    assert isinstance(end, ItemEnd)
    assert (start.key, end.reason) == (None, Reason.SOURCE_CHANGED)


def test_nothing_is_left_in_the_temporary_folder(whole, tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    assert len(read(whole)) == 3
    assert not list((tmp_path / "tmp").iterdir())


def test_a_decoder_that_dies_would_leave_no_bytes_behind(whole, jpg):
    def decode(path):
        assert Path(path).read_bytes()[:2] == jpg[:2] or path.endswith(".mp4")
        left = [file for file in Path(path).parent.iterdir() if not file.is_symlink()]
        assert not left
        yield ItemEnd.unread(Reason.CORRUPT, "Not decoded.")

    events = archive_events(str(whole), index_tar(str(whole)), source_of(whole), decode)
    assert len(list(events)) == 6


@pytest.mark.slow
def test_a_tar_in_a_child_process_gives_the_same_items(whole):
    there = list(isolated_events(source_of(whole), SETTINGS))
    here = [event for event in source_events(source_of(whole), SETTINGS) if not isinstance(event, Staged)]
    assert [type(event) for event in there] == [type(event) for event in here]
    assert [event for event in there if isinstance(event, (ItemStart, ItemEnd))] == [
        event for event in here if isinstance(event, (ItemStart, ItemEnd))
    ]


@pytest.mark.s3
def test_a_tar_on_s3_is_read_as_a_local_one(s3, whole):
    from bitmill.pipeline.storage import Folder

    Folder(s3).write_bytes("x.tar", whole.read_bytes())
    far, near = read(f"{s3}/x.tar"), read(whole)
    assert [row.told for row in far] == [row.told for row in near]
    for one, other in zip(far, near, strict=True):
        assert [clip.frames_THWC.tobytes() for clip in one.clips] == [
            clip.frames_THWC.tobytes() for clip in other.clips
        ]
