"""Laws that every store must keep which bitmill writes to."""

import asyncio
import json
import logging
import sys
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.asyn import sync

from bitmill.pipeline.reading import TokenDataset
from bitmill.pipeline.storage import Folder, ObjectInfo, list_objects, list_pages, stage, stat
from bitmill.pipeline.storage.filesystem import filesystem
from bitmill.schemas.errors import BadItemError, TransientError, UsageError
from bitmill.schemas.outcomes import Reason
from tests.support.answers import DENIALS, answering
from tests.support.faulty_store import FAULTS, faulty_store
from tests.support.stores import EMULATED, SECRET, environment_of, forget_clients
from tests.support.whole_job import put_pictures, whole_job

_ODD_NAMES = ("a b+c#d?e%20f&ü[1].mp4", "b.mp4", "b/é=~'!,@$.mp4", "b/1.mp4", "b0.mp4")


def _below(folder: Folder) -> list[str]:
    return [info.uri.removeprefix(f"{folder.uri}/") for info in list_objects(folder.uri).objects]


def test_a_listing_is_whole_and_in_order_whatever_the_names_and_the_size_of_a_page(store, monkeypatch):
    folder = Folder(f"{store}/media")
    for name in _ODD_NAMES:
        folder.write_bytes(name, name.encode())
    Folder(store).write_bytes("media-other/no.mp4", b"no")
    whole = list_objects(folder.uri)
    assert _below(folder) == sorted(_ODD_NAMES)
    assert whole.objects == tuple(stat(info.uri) for info in whole.objects)
    for info in whole.objects:
        with stage(info) as staged:
            assert Path(staged.path).read_bytes() == info.uri.removeprefix(f"{folder.uri}/").encode()
    monkeypatch.setattr(list_pages, "PAGE", 2)
    assert list_objects(folder.uri) == whole
    assert set(list_objects(f"{folder.uri}/b*.mp4").objects) == set(whole.objects[1:]) - set(
        whole.objects[2:4]
    )


@pytest.mark.parametrize("name", EMULATED)
def test_an_object_and_a_folder_may_have_one_name(store_named, name):
    """Not in JuiceFS, which keeps objects as files."""
    store = store_named(name)
    folder = Folder(store)
    folder.write_bytes("videos", b"an object")
    folder.write_bytes("videos/a.mp4", b"a file")
    assert list_objects(f"{store}/videos").kind == "file"
    listing = list_objects(f"{store}/videos", prefer_folder=True)
    assert (listing.kind, [info.uri for info in listing.objects]) == ("folder", [f"{store}/videos/a.mp4"])
    folder.remove("videos/a.mp4")
    assert list_objects(f"{store}/videos", prefer_folder=True).kind == "file"


def test_a_change_of_equal_size_is_noticed(store):
    Folder(store).write_bytes("v.mp4", b"content")
    planned = stat(f"{store}/v.mp4")
    Folder(store).write_bytes("v.mp4", b"contenX")
    with pytest.raises(BadItemError, match="version has changed since planning") as caught, stage(planned):
        pass
    assert caught.value.reason is Reason.SOURCE_CHANGED


def test_a_reader_sees_one_writers_file_and_never_a_mixture(store):
    """Of two writers of one name, whose files are larger than a client sends with one request."""
    folder, name = Folder(store), "shards/one.parquet"
    # Of one length: JuiceFS' gateway asks for the length before it opens the file, which may be the next one.
    contents = [bytes([letter]) * (5 * 2**20 + 1) for letter in b"ab"]
    wrong: list[str] = []

    def write(content: bytes) -> None:
        if store.startswith("az://"):
            # Only from 64 MiB on would this client send a file in parts.
            fs, _ = filesystem(store)
            fs.service_client._config.max_single_put_size = fs.service_client._config.max_block_size = 2**20
        for _ in range(2):
            Folder(store).write_bytes(name, content)

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        try:
            if folder.read_bytes(name) not in contents:
                wrong.append("a mixture")
        except FileNotFoundError:
            pass
    for writer in writers:
        writer.join()
    assert not wrong
    assert folder.read_bytes(name) in contents
    assert folder.list_names("shards") == ["one.parquet"]


def test_what_a_writer_left_that_was_cut_off_is_not_there(store):
    folder = Folder(store)
    folder.write_bytes("shards/old", b"whole")
    for name in ("old", "new"):
        _begin_upload(f"{store}/shards/{name}")
    assert folder.list_names("shards") == ["old"]
    assert not folder.exists("shards/new")
    assert _below(folder) == ["shards/old"]
    assert folder.read_bytes("shards/old") == b"whole"


def _begin_upload(uri: str) -> None:
    """Send a first part in the client's own way, and never the end."""
    fs, path = filesystem(uri)
    bucket, key, _ = fs.split_path(path)
    part = b"x" * 2**18
    if uri.startswith("s3://"):
        begun = fs.call_s3("create_multipart_upload", Bucket=bucket, Key=key)
        fs.call_s3("upload_part", Bucket=bucket, Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=part)
    elif uri.startswith("gs://"):
        from gcsfs.core import initiate_upload, upload_chunk

        place = sync(fs.loop, initiate_upload, fs, bucket, key)
        sync(fs.loop, upload_chunk, fs, place, part, 0, 2 * len(part), "application/octet-stream")
    else:
        blob = fs.service_client.get_blob_client(bucket, key)
        sync(fs.loop, blob.stage_block, block_id="0", data=part)


@pytest.mark.parametrize("name", EMULATED)
def test_a_call_that_fails_is_made_again(store_named, name, emulators, monkeypatch):
    """Of JuiceFS, ``test_faulty_store`` shows more."""
    store, running = store_named(name), emulators(name)
    pause = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _: pause(0))
    content = b"x" * 2**18
    with faulty_store(running.endpoint) as proxy:
        for key, value in environment_of(running.scheme, proxy.endpoint).items():
            monkeypatch.setenv(key, value)
        forget_clients()
        for fault in FAULTS:
            proxy.begin(lambda call, fault=fault: fault if call == 0 else None)
            Folder(store).write_bytes(fault, content)
            assert proxy.injected == [fault]
            proxy.begin(lambda call, fault=fault: fault if call == 0 else None)
            assert Folder(store).read_bytes(fault) == content
            assert proxy.injected == [fault]
    forget_clients()


def test_a_bucket_that_is_not_there_is_told_in_a_sentence(store):
    scheme = store.split("://", 1)[0]
    uri = f"{scheme}://bitmill-nowhere/media"
    with pytest.raises(UsageError, match=f"Cannot write to {uri}: there is no such bucket; create it"):
        Folder(uri).write_bytes("x", b"1")
    with pytest.raises(FileNotFoundError):
        list_objects(uri)
    assert Folder(uri).top_names() == set()


@pytest.fixture
def denying(request, monkeypatch) -> Iterator[str]:
    """A store that answers everything as the real one answers wrong credentials."""
    name, answer = request.param
    scheme = name.split("-")[0]
    pytest.importorskip({"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}[scheme])
    with answering(answer) as endpoint:
        for key, value in environment_of(scheme, endpoint).items():
            monkeypatch.setenv(key, value)
        forget_clients()
        yield f"{scheme}://bucket/place"
    forget_clients()


@pytest.mark.parametrize("denying", DENIALS.items(), ids=DENIALS.keys(), indirect=True)
def test_wrong_credentials_are_a_permission_matter_and_are_not_repeated(denying, caplog, capfd):
    said = []
    for ask in (
        lambda: Folder(denying).write_bytes("x", b"1"),
        lambda: Folder(denying).top_names(),
        lambda: Folder(denying).read_bytes("x"),
        lambda: Folder(denying).exists("x"),
        lambda: Folder(denying).remove("x"),
    ):
        with pytest.raises(UsageError, match=f"No permission for {denying}.*; check your access") as caught:
            ask()
        said.append(str(caught.value))
    for listed in (denying, denying.rsplit("/", 1)[0]):
        with pytest.raises(PermissionError):
            list_objects(listed)
    with pytest.raises(BadItemError, match="denied access") as refused:
        stage(ObjectInfo(uri=f"{denying}/v.mp4", size_bytes=1, version="v")).__enter__()
    assert refused.value.reason is Reason.ACCESS_DENIED
    out, err = capfd.readouterr()
    assert SECRET not in "".join([*said, str(refused.value), caplog.text, out, err])
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("scheme", "package", "most_s"), [("s3", "s3fs", 61), ("gs", "gcsfs", 150), ("az", "adlfs", 70)]
)
def test_a_server_that_is_not_there_is_told_in_a_sentence_and_soon(
    scheme, package, most_s, monkeypatch, capfd
):
    pytest.importorskip(package)
    pause, pauses_s = asyncio.sleep, list[float]()

    def sleep(seconds: float) -> Coroutine[Any, Any, None]:
        pauses_s.append(seconds)
        return pause(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    for key, value in environment_of(scheme, "http://127.0.0.1:1").items():
        monkeypatch.setenv(key, value)
    forget_clients()
    with pytest.raises(TransientError, match=f"The store failed at {scheme}://bucket/x: ") as caught:
        Folder(f"{scheme}://bucket").read_bytes("x")
    assert 0 < sum(pauses_s) < most_s
    assert SECRET not in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err
    forget_clients()


def test_a_store_without_settings_or_its_package_is_told_in_a_sentence(monkeypatch):
    pytest.importorskip("adlfs")
    for name in ("CONNECTION_STRING", "ACCOUNT_NAME", "ACCOUNT_KEY", "SAS_TOKEN", "CLIENT_ID"):
        monkeypatch.delenv(f"AZURE_STORAGE_{name}", raising=False)
    monkeypatch.setenv("AZURE_STORAGE_ANON", "true")
    forget_clients()
    with pytest.raises(UsageError, match=r"store of az:// URIs is not configured .* account_name"):
        Folder("az://container").exists("x")
    monkeypatch.setitem(sys.modules, "gcsfs.core", None)
    with pytest.raises(UsageError, match=r"reads gs:// URIs; install bitmill with its extra 'gcs'"):
        Folder("gs://bucket").exists("x")


def test_a_whole_job_gives_the_bytes_of_a_local_one_also_in_two_runs(store, tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "bitmill")
    for base in (str(tmp_path), store):
        put_pictures(f"{base}/media", 4)
    near = whole_job(str(tmp_path), "tokens")
    first = whole_job(store, "tokens", shards=1)
    far = whole_job(store, "tokens")
    assert sum(name.startswith("shards/") for name in first) == 1
    # The plan holds each source's own name and version, by which shards are named.
    assert sorted(map(len, near)) == sorted(map(len, far))
    read = [
        [sample["tokens"] for sample in TokenDataset(f"{base}/tokens")] for base in (str(tmp_path), store)
    ]
    assert len(read[0]) == 4
    assert all(one.equal(other) for one, other in zip(*read, strict=True))
    again = whole_job(store, "tokens")
    assert again == far
    stored = {**far, "dataset.json": Folder(f"{store}/tokens").read_bytes("dataset.json")}
    for name, data in stored.items():
        assert SECRET.encode() not in data
        if name.endswith(".parquet"):
            assert SECRET not in str(pq.read_table(pa.BufferReader(data)).to_pylist())
    assert SECRET not in caplog.text + json.dumps(sorted(far))
