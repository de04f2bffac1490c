"""Folders and objects on a local disk and on each store, held to one behaviour."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bitmill.pipeline.storage import (
    Folder,
    ObjectInfo,
    list_objects,
    normalise,
    stage,
    stat,
    temporary_folders,
)
from bitmill.pipeline.storage.filesystem import filesystem
from bitmill.schemas.errors import BadItemError, InfrastructureError, UsageError
from bitmill.schemas.outcomes import Reason
from tests.support.stores import STORES


@pytest.fixture(params=["local", *STORES])
def base(request: pytest.FixtureRequest, store_named: Callable[[str], str], tmp_path: Path) -> str:
    return str(tmp_path / "base") if request.param == "local" else store_named(request.param)


def test_what_is_published_can_be_read(base):
    folder = Folder(base)
    folder.write_bytes("shards/a.parquet", b"one")
    folder.write_bytes("shards/a.parquet", b"two")
    assert folder.read_bytes("shards/a.parquet") == b"two"
    with folder.open("shards/a.parquet") as file:
        file.seek(1)
        assert file.read() == b"wo"
    assert folder.list_names("shards") == ["a.parquet"]
    assert folder.exists("shards/a.parquet")


def test_nothing_is_published_when_the_block_raises(base):
    folder = Folder(base)
    with pytest.raises(RuntimeError, match="midway"), folder.publishing("shards/a") as staged:  # noqa: PT012
        staged.path.write_bytes(b"half")
        raise RuntimeError("midway")
    assert not folder.exists("shards/a")
    assert folder.top_names() == set()


def test_a_commit_from_outside_is_seen_at_once(base):
    folder = Folder(base)
    assert not folder.exists("x")
    assert folder.list_names("") == []
    script = (
        "import sys; from bitmill.pipeline.storage import Folder\nFolder(sys.argv[1]).write_bytes('x', b'1')"
    )
    subprocess.run([sys.executable, "-c", script, base], check=True)
    assert folder.exists("x")
    assert folder.list_names("") == ["x"]


def test_an_absent_folder_is_empty(base):
    assert Folder(base).top_names() == set()
    assert Folder(base).list_names("shards") == []
    with pytest.raises(FileNotFoundError):
        Folder(base).read_bytes("nothing")


def test_listing_gives_files_below_in_order(base):
    folder = Folder(base)
    for name in ("b/2.mp4", "a.mp4", "b/1.mp4"):
        folder.write_bytes(name, name.encode())
    listing = list_objects(folder.uri)
    listed = listing.objects
    assert listing.kind == "folder"
    assert [info.uri for info in listed] == [
        f"{folder.uri}/{name}" for name in ("a.mp4", "b/1.mp4", "b/2.mp4")
    ]
    assert [info.size_bytes for info in listed] == [5, 7, 7]
    assert listed[1] == stat(f"{folder.uri}/b/1.mp4")
    globbed = [info.uri for info in list_objects(f"{folder.uri}/b/*.mp4").objects]
    assert globbed == [f"{folder.uri}/b/1.mp4", f"{folder.uri}/b/2.mp4"]
    assert list_objects(f"{folder.uri}/a.mp4").objects == (stat(f"{folder.uri}/a.mp4"),)


@pytest.mark.s3
def test_a_listing_of_many_pages_is_that_of_one_and_a_page_that_fails_is_asked_for_again(s3, monkeypatch):
    folder = Folder(f"{s3}/media")
    for name in ("b/2.mp4", "a b+c.mp4", "b/ü.mp4", "b.mp4", "b/1.mp4"):
        folder.write_bytes(name, name.encode())
    Folder(s3).write_bytes("media-other/no.mp4", b"no")
    whole = list_objects(folder.uri)
    fs, inner = filesystem(folder.uri)
    assert {info.uri for info in whole.objects} == {f"s3://{name}" for name in fs.find(inner)}
    monkeypatch.setitem(fs.req_kw, "MaxKeys", 2)
    call, asked = fs.call_s3, []

    def calling(method, **options):
        asked.append(options.get("ContinuationToken"))
        if len(asked) == 2:
            raise ConnectionResetError("a reset")
        return call(method, **options)

    monkeypatch.setattr(fs, "call_s3", calling)
    assert list_objects(folder.uri) == whole
    assert len(asked) == 4, "three pages, one of them twice"
    assert asked[0] is None
    assert asked[1] == asked[2] != asked[3]


def test_listing_what_is_not_there(base):
    with pytest.raises(FileNotFoundError):
        list_objects(f"{normalise(base)}/nowhere")


def test_a_staged_object_has_the_planned_bytes(base):
    folder = Folder(base)
    folder.write_bytes("v.mp4", b"content")
    with stage(stat(f"{folder.uri}/v.mp4")) as staged:
        assert Path(staged.path).read_bytes() == b"content"
        assert staged.path.endswith(".mp4")


def test_a_changed_object_is_not_taken(base):
    folder = Folder(base)
    folder.write_bytes("v", b"content")
    planned = stat(f"{folder.uri}/v")
    folder.write_bytes("v", b"content and more")
    with pytest.raises(BadItemError, match="size has changed since planning") as caught, stage(planned):
        pass
    assert caught.value.reason is Reason.SOURCE_CHANGED


def test_a_change_of_equal_size_is_seen_by_its_version(tmp_path):
    path = tmp_path / "v"
    path.write_bytes(b"content")
    planned = stat(str(path))
    path.write_bytes(b"contenX")
    os.utime(path, ns=(0, 1))
    with pytest.raises(BadItemError, match="version has changed since planning"), stage(planned):
        pass


def test_a_gone_object_says_so(base):
    with (
        pytest.raises(BadItemError, match="There is no object with this name") as caught,
        stage(ObjectInfo(uri=f"{normalise(base)}/gone", size_bytes=1, version="v")),
    ):
        pass
    assert caught.value.reason is Reason.NOT_FOUND


@pytest.mark.s3
def test_missing_credentials_are_a_permission_matter(s3, monkeypatch):
    Folder(s3).write_bytes("v", b"content")
    planned = stat(f"{s3}/v")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    import fsspec

    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(BadItemError, match="denied access") as caught, stage(planned):
        pass
    assert caught.value.reason is Reason.ACCESS_DENIED
    assert "wrong" not in str(caught.value)


def test_credentials_in_a_uri_are_refused_without_repeating_them():
    with pytest.raises(UsageError, match="contains credentials") as caught:
        normalise("s3://key:topsecret@bucket/x")
    assert "topsecret" not in str(caught.value)


def test_a_uri_that_names_an_account_of_azure_says_how_to_write_it():
    with pytest.raises(UsageError, match=r"write az://CONTAINER/PATH, and .* AZURE_STORAGE_ACCOUNT_NAME"):
        normalise("abfss://videos@account.dfs.core.windows.net/train")


def test_signed_urls_are_refused_without_repeating_them():
    for uri in (
        "https://bucket.example/x.mp4?X-Amz-Signature=topsecret",
        "https://storage.googleapis.com/b/x.mp4?X-Goog-Signature=topsecret",
        "az://container/x.mp4?sv=2025-01-05&sig=topsecret",
    ):
        with pytest.raises(UsageError, match="is signed") as caught:
            normalise(uri)
        assert "topsecret" not in str(caught.value)


@pytest.mark.s3
def test_wrong_settings_of_a_store_are_a_sentence(s3, monkeypatch):
    import fsspec

    monkeypatch.setenv("AWS_PROFILE", "nope")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(UsageError, match="is not configured correctly: ProfileNotFound"):
        Folder(s3).exists("x")
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_what_the_block_raises_passes_and_what_it_drops_is_not_published(tmp_path):
    folder = Folder(str(tmp_path / "d"))
    with pytest.raises(TimeoutError, match="elsewhere"), folder.publishing("x"):
        raise TimeoutError("elsewhere")
    with folder.publishing("x") as staged:
        staged.path.write_bytes(b"1")
        staged.drop()
    assert folder.list_names("") == []


def test_an_unknown_scheme_is_the_users_mistake():
    with pytest.raises(UsageError, match="carrierpigeon"):
        Folder("carrierpigeon://coop").exists("x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("/a/b/", "/a/b"), ("file:///a/b", "/a/b"), ("s3://b/x/", "s3://b/x"), ("/a/../b", "/b")],
)
def test_one_spelling_for_each_place(text, expected):
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("file:///d/a%20b.mp4", "/d/a b.mp4"),
        ("FILE:///d/a%20b/", "/d/a b"),
        ("file://localhost/d/%C3%BC%23%3F", "/d/ü#?"),
        ("file:///d/100%.mp4", "/d/100%.mp4"),
        ("file:///d/caf%E9", "file:///d/caf%E9"),
        ("/d/caf\udce9 %20", "file:///d/caf%E9%20%2520"),
        ("/d/a%20b.mp4", "/d/a%20b.mp4"),
        ("s3://b/a%20b.mp4", "s3://b/a%20b.mp4"),
    ],
)
def test_percent_signs_mean_bytes_in_a_uri_of_a_file_alone(uri, expected):
    assert normalise(uri) == expected
    assert normalise(expected) == expected


def test_a_file_really_named_with_a_percent_sign_works_on(tmp_path):
    (tmp_path / "a%20b.mp4").touch()
    assert normalise(f"file://{tmp_path}/a%20b.mp4") == f"{tmp_path}/a%20b.mp4"
    (tmp_path / "a b.mp4").touch()
    with pytest.raises(UsageError, match=r"may name .*/a b\.mp4 or .*/a%20b\.mp4, and both exist"):
        normalise(f"file://{tmp_path}/a%20b.mp4")
    assert normalise(f"{tmp_path}/a%20b.mp4") == f"{tmp_path}/a%20b.mp4"
    assert normalise((tmp_path / "a%20b.mp4").as_uri()) == f"{tmp_path}/a%20b.mp4"


@pytest.mark.parametrize("text", ["s3://[x/a", "s3://key:secret@[x/a", "https://a\u2100b/x"])
def test_a_uri_that_names_no_host_is_a_sentence(text):
    with pytest.raises(UsageError, match=r"host or bucket of a .* URI cannot be parsed") as caught:
        normalise(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["s3://", "S3://", "gs:///", "az://", "hf://", "memory://", "s3:////", "file://", "FILE://"]
)
def test_a_scheme_alone_names_no_place(text):
    with pytest.raises(UsageError, match=rf"{text} names no place; add one, like {text.split(':')[0]}://"):
        normalise(text)


def test_the_root_of_the_disk_is_a_place():
    assert normalise("file:///") == "/"


def test_relative_paths_become_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert normalise("videos") == str(tmp_path / "videos")


@pytest.mark.parametrize("is_zombie", [True, False])
def test_leftovers_of_dead_writers_are_swept_and_of_living_ones_kept(tmp_path, is_zombie):
    folder = Folder(str(tmp_path / "d"))
    script = (
        "import os, sys; from bitmill.pipeline.storage import Folder\n"
        "with Folder(sys.argv[1]).publishing('shards/a') as staged:\n"
        "    staged.path.write_bytes(b'half'); os.kill(os.getpid(), 9)"
    )
    with subprocess.Popen([sys.executable, "-c", script, folder.uri]) as writer:
        # Without waiting for it: as long as nobody does, a process that has ended stays as a zombie.
        os.waitid(os.P_PID, writer.pid, os.WEXITED | (os.WNOWAIT if is_zombie else 0))
        staging = Path(folder.uri) / ".staging"
        assert len(list(staging.iterdir())) == 1
        with folder.publishing("shards/b") as staged:
            staged.path.write_bytes(b"whole")
            folder.sweep_staging()
            assert list(staging.iterdir()) == [staged.path]
    folder.sweep_staging()
    assert not staging.exists()
    assert folder.list_names("shards") == ["b"]


@pytest.mark.parametrize("place", ["_BOOT", "_NAMESPACE"])
def test_a_writer_in_another_container_of_the_same_host_name_counts_as_alive(tmp_path, monkeypatch, place):
    other = tmp_path / "other"
    other.write_text("another boot") if place == "_BOOT" else other.symlink_to("pid:[7]")
    folder = Folder(str(tmp_path / "d"))
    with folder.publishing("shards/a") as staged:
        with monkeypatch.context() as there:
            there.setattr(temporary_folders, place, other)
            there.setattr(os, "getpid", lambda: 2**22 + 1)
            with folder.publishing("shards/b") as theirs:
                theirs.path.write_bytes(b"whole")
                there.undo()
                folder.sweep_staging()
        staged.path.write_bytes(b"whole")
    assert folder.list_names("shards") == ["a", "b"]


def test_what_a_killed_writer_to_another_store_left_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    script = (
        "import os, sys; from bitmill.pipeline.storage import Folder\n"
        "with Folder('memory://d').publishing('shards/a') as staged:\n"
        "    staged.path.write_bytes(b'half'); os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], check=False, env=environment)
    assert len(list(tmp_path.glob("*/*"))) == 1
    folder = Folder("memory://e")
    with folder.publishing("shards/b") as staged:
        staged.path.write_bytes(b"whole")
        folder.sweep_staging()
        assert list(tmp_path.glob("*/*")) == [staged.path]
    assert not list(tmp_path.iterdir())
    assert folder.read_bytes("shards/b") == b"whole"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_told_in_a_sentence(tmp_path):
    folder = Folder(str(tmp_path / "d"))

    def write() -> None:
        with folder.publishing("x") as staged:
            staged.path.symlink_to("/dev/full")
            with staged.path.open("wb", buffering=0) as file:
                file.write(b"1")

    with pytest.raises(InfrastructureError, match=r"No space left on the disk of .*/d; free some"):
        write()
    assert not folder.exists("x")


def test_a_path_through_a_file_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="a part of that path does not exist or is not a folder"):
        Folder(str(tmp_path / "file" / "below")).write_bytes("x", b"1")
