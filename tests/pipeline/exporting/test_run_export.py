"""What holds for any export: exact again, resumed, whole or not there, refused where in doubt."""

import shutil
import sys
from pathlib import Path

import pytest

from bitmill.pipeline.exporting import export_dataset
from bitmill.pipeline.exporting.formats.bin import BinFormat
from bitmill.pipeline.exporting.formats.exported_clip import open_clips
from bitmill.pipeline.exporting.make_files import FileMaker
from bitmill.pipeline.exporting.workers import make_files
from bitmill.pipeline.reading import TokenDataset
from bitmill.pipeline.storage import Folder
from bitmill.pipeline.storage.temporary_folders import owner_name
from bitmill.schemas.dataset.card import shard_file
from bitmill.schemas.errors import FormatError, InfrastructureError, OutputConflictError, UsageError
from bitmill.schemas.reports.export_inventory import (
    INVENTORY_FILE,
    OUTLINE_FILE,
    ExportFormat,
    OutlinedFile,
    read_inventory,
    read_outline,
)
from tests.support.commands import finish
from tests.support.datasets import make_dataset
from tests.support.deadly import Deadly
from tests.support.exports import GEOMETRY, LENGTHS, export, files_in

pytestmark = pytest.mark.usefixtures("forked_children")

FORMATS = list(ExportFormat)
SMALL = {ExportFormat.WEBDATASET: 10240, ExportFormat.BIN: 200, ExportFormat.HUGGINGFACE: 200}
"""Bounds that cut ten clips into three files."""


def _export(folder: Path, to: ExportFormat, out: str, **options):
    options = {"max_bytes": SMALL[to], **options}
    return export_dataset(str(folder / "tokens"), str(folder / out), export_format=to, **options)


@pytest.mark.parametrize(("to", "workers"), list(zip(FORMATS, (1, 2, 1), strict=True)))
def test_the_same_dataset_gives_the_same_bytes_and_every_clip_is_told_of(tmp_path, to, workers):
    for name in ("a", "b"):
        make_dataset(str(tmp_path / name / "tokens"), LENGTHS)
        told = []
        _export(tmp_path / name, to, "out", on_progress=told.append, workers=1 if name == "a" else workers)
        written = [one for one in told if one.clips][-1]
        assert (written.done_clips, written.clips, written.done_bytes) == (10, 10, 136 * 4)
    first, second = files_in(tmp_path / "a" / "out"), files_in(tmp_path / "b" / "out")
    assert first == second
    # Three files of clips; nothing is left of the staging.
    assert sum("0000" in name for name in first) == 3
    assert all(b"/tmp" not in data and str(tmp_path).encode() not in data for data in first.values())


@pytest.mark.parametrize("to", FORMATS)
def test_outline_and_inventory_say_what_is_there(tmp_path, to):
    result = export(tmp_path, to, max_bytes=SMALL[to])
    files = files_in(tmp_path / "out")
    outline = read_outline(files.pop(OUTLINE_FILE), origin="x")
    inventory = read_inventory(files.pop(INVENTORY_FILE), origin="x")
    assert inventory == result.inventory
    assert {file.name: file.size_bytes for file in inventory.files} == {
        name: len(data) for name, data in files.items()
    }
    assert (inventory.contents.clips, inventory.contents.frames, inventory.contents.tokens) == (10, 34, 136)
    assert inventory.contents.shape_THW == (None, 2, 2)
    assert inventory.dataset.num_shards == inventory.dataset.planned_shards == 3
    assert [file.name for file in outline.files] == [file.name for file in inventory.files if file.num_clips]
    assert (outline.dataset, outline.contents) == (inventory.dataset, inventory.contents)


@pytest.mark.slow
@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("keep", range(1, 7))
def test_whatever_was_published_is_kept_and_the_rest_made(tmp_path, to, keep):
    """As a kill leaves it: the first files in the order of their publishing."""
    export(tmp_path, to, max_bytes=SMALL[to])
    out = tmp_path / "out"
    whole = files_in(out)
    published = [OUTLINE_FILE, *(name for name in whole if "0000" in name)]
    published += [name for name in whole if name not in published and name != INVENTORY_FILE]
    for name in [*published[keep:], INVENTORY_FILE]:
        (out / name).unlink()
    times = {name: (out / name).stat().st_mtime_ns for name in published[:keep]}
    result = export(tmp_path, to, max_bytes=SMALL[to])
    assert files_in(out) == whole
    assert {name: (out / name).stat().st_mtime_ns for name in times} == times
    assert result.kept_files == len(times) - 1
    assert result.made_files == len(whole) - 2 - result.kept_files


def test_a_complete_export_is_left_alone(tmp_path):
    export(tmp_path, ExportFormat.BIN)
    # Without shards nothing could be made anew.
    shutil.rmtree(tmp_path / "out" / "tokens-00000.bin", ignore_errors=True)
    for path in (tmp_path / "tokens" / "shards").iterdir():
        path.write_bytes(b"")
    assert export(tmp_path, ExportFormat.BIN).made_files == 0


def test_leftovers_of_the_dead_are_swept(tmp_path):
    staging = tmp_path / "out" / ".staging"
    staging.mkdir(parents=True)
    machine = owner_name().rpartition("-")[0]
    (staging / f"{machine}-999999999-abcd").write_bytes(b"half")
    export(tmp_path, ExportFormat.BIN)
    assert not staging.exists()


def test_an_incomplete_dataset_is_refused_unless_asked_for(tmp_path):
    make_dataset(str(tmp_path / "tokens"), LENGTHS, leave_out=1)
    with pytest.raises(UsageError, match=r"has 2 of 3 shards; run its job again.*--allow-incomplete"):
        export(tmp_path, ExportFormat.BIN)
    assert not (tmp_path / "out").exists()
    inventory = export(tmp_path, ExportFormat.BIN, allow_incomplete=True).inventory
    assert (inventory.contents.clips, inventory.dataset.num_shards) == (6, 2)
    make_dataset(str(tmp_path / "tokens"), LENGTHS)
    with pytest.raises(OutputConflictError, match="or to this one with other shards"):
        export(tmp_path, ExportFormat.BIN, allow_incomplete=True)


def test_a_folder_of_something_else_is_refused(tmp_path):
    make_dataset(str(tmp_path / "tokens"), LENGTHS)
    _export(tmp_path, ExportFormat.BIN, "out")
    with pytest.raises(OutputConflictError, match="its format is bin, not webdataset"):
        _export(tmp_path, ExportFormat.WEBDATASET, "out")
    with pytest.raises(OutputConflictError, match="its files were cut at 200 bytes, not 100"):
        _export(tmp_path, ExportFormat.BIN, "out", max_bytes=100)
    with pytest.raises(OutputConflictError, match="tokens is not empty and contains no export"):
        _export(tmp_path, ExportFormat.BIN, "tokens")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OutputConflictError, match="file is a file; name a folder"):
        _export(tmp_path, ExportFormat.BIN, "file")
    make_dataset(str(tmp_path / "other" / "tokens"), LENGTHS, bits_per_token=36)
    with pytest.raises(OutputConflictError, match="belongs to a dataset of another tokenizer"):
        _export(tmp_path / "other", ExportFormat.BIN, "../out")
    with pytest.raises(UsageError, match="is not a bitmill dataset"):
        export_dataset(
            str(tmp_path / "out"), str(tmp_path / "x"), export_format=ExportFormat.BIN, max_bytes=1
        )


def test_a_dataset_without_clips_is_refused(tmp_path):
    with pytest.raises(UsageError, match="contains no clips, so there is nothing to export"):
        export(tmp_path, ExportFormat.BIN, lengths=[[], []])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("to", "workers"),
    [*((to, 1) for to in FORMATS), (ExportFormat.HUGGINGFACE, 2)],
)
def test_damage_is_named_and_nothing_half_appears(tmp_path, to, workers):
    shards = make_dataset(str(tmp_path / "tokens"), LENGTHS)
    last = tmp_path / "tokens" / shard_file(shards[-1].shard_id)
    codes = TokenDataset(tmp_path / "tokens", view="packed")[9]["tokens"].numpy().tobytes()
    data = bytearray(last.read_bytes())
    data[bytes(data).index(codes) + 1] ^= 0x04
    last.write_bytes(bytes(data))
    with pytest.raises(FormatError, match=f"{shards[-1].shard_id}.parquet is damaged"):
        _export(tmp_path, to, "out", workers=workers)
    left = files_in(tmp_path / "out")
    assert OUTLINE_FILE in left
    assert INVENTORY_FILE not in left
    data[bytes(data).index(bytes([codes[0], codes[1] ^ 0x04])) + 1] ^= 0x04
    last.write_bytes(bytes(data))
    _export(tmp_path, to, "out")
    _export(tmp_path, to, "undisturbed")
    assert files_in(tmp_path / "out") == files_in(tmp_path / "undisturbed")


def test_a_dataset_that_grows_meanwhile_is_noticed(tmp_path, monkeypatch):
    make_dataset(str(tmp_path / "tokens"), LENGTHS, leave_out=1)

    def grow(progress):
        if not progress.clips:
            make_dataset(str(tmp_path / "tokens"), LENGTHS)

    with pytest.raises(UsageError, match=r"now has 10 clips, its export in .*out 6"):
        export(tmp_path, ExportFormat.BIN, allow_incomplete=True, on_progress=grow)


def test_progress_counts_what_is_missing(tmp_path):
    told = []
    export(tmp_path, ExportFormat.BIN, max_bytes=200, on_progress=told.append)
    listed = [one for one in told if not one.clips]
    # Once to cut files, and once each for index and segment ids.
    assert [(one.listed_shards, one.shards) for one in listed] == 3 * [(1, 3), (2, 3), (3, 3)]
    told = [one for one in told if one.clips]
    assert [one.done_clips for one in told] == list(range(1, 11))
    assert (told[-1].clips, told[-1].done_bytes) == (10, 136 * 4)
    for name in (INVENTORY_FILE, "tokens-00001.bin"):
        (tmp_path / "out" / name).unlink()
    export(tmp_path, ExportFormat.BIN, max_bytes=200, on_progress=told.append, workers=2)
    assert (told[-1].done_clips, told[-1].clips) == (3, 3)


def test_a_dead_process_is_told_and_its_file_is_not_there(tmp_path):
    make_dataset(str(tmp_path / "tokens"), LENGTHS)
    maker = FileMaker(
        clips=open_clips(Folder(str(tmp_path / "tokens")), allow_incomplete=False),
        layout=Deadly(),
        out=Folder(str(tmp_path / "out")),
    )
    files = [
        OutlinedFile(name=f"{n}.bin", first_clip=n, num_clips=1, num_frames=4, num_tokens=16) for n in (0, 1)
    ]
    with pytest.raises(InfrastructureError, match=r"died \(exit code 7\); if memory ran out, use fewer"):
        make_files(maker, files, workers=2, on_progress=lambda _: None)
    assert not list((tmp_path / "out").glob("*.bin"))


def test_a_file_of_other_tokens_than_outlined_is_not_published(tmp_path):
    make_dataset(str(tmp_path / "tokens"), LENGTHS)
    maker = FileMaker(
        clips=open_clips(Folder(str(tmp_path / "tokens")), allow_incomplete=False),
        layout=BinFormat(GEOMETRY, 2),
        out=Folder(str(tmp_path / "out")),
    )
    file = OutlinedFile(name="0.bin", first_clip=0, num_clips=1, num_frames=4, num_tokens=99)
    with pytest.raises(FormatError, match=r"0\.bin would contain 16 tokens, not 99"):
        maker.make(file, lambda _: None)
    assert not (tmp_path / "out" / "0.bin").exists()


_WHOLE = """
import sys
from bitmill.pipeline.exporting import export_dataset

for name in ("webdataset", "bin", "huggingface"):
    export_dataset(sys.argv[1], f"{sys.argv[2]}/{name}", export_format=name, max_bytes=1 << 20)
sys.exit("torch" in sys.modules)
"""


@pytest.mark.slow
def test_its_processes_need_no_torch(tmp_path):
    """Which takes longer to import than all the rest."""
    make_dataset(str(tmp_path / "tokens"), LENGTHS)
    done = finish([sys.executable, "-c", _WHOLE, str(tmp_path / "tokens"), str(tmp_path / "out")])
    assert done.code == 0, done.err
    assert len(list((tmp_path / "out").iterdir())) == 3


@pytest.mark.s3
@pytest.mark.parametrize(("to", "workers"), list(zip(FORMATS, (2, 1, 1), strict=True)))
def test_from_a_store_to_a_store_as_on_a_disk(s3, tmp_path, to, workers):
    make_dataset(f"{s3}/tokens", LENGTHS)
    make_dataset(str(tmp_path / "tokens"), LENGTHS)
    _export(tmp_path, to, "out")
    near = files_in(tmp_path / "out")
    out = Folder(f"{s3}/out")
    # As if killed behind these.
    for name in [OUTLINE_FILE, next(name for name in near if "0000" in name)]:
        out.write_bytes(name, near[name])
    options = {"export_format": to, "max_bytes": SMALL[to]}
    result = export_dataset(f"{s3}/tokens", out.uri, **options, workers=workers)
    assert result.kept_files == 1
    assert {name: out.read_bytes(name) for name in near} == near
    assert export_dataset(f"{s3}/tokens", out.uri, **options).made_files == 0
    with pytest.raises(OutputConflictError, match="is not empty and contains no export"):
        export_dataset(f"{s3}/tokens", f"{s3}/tokens", **options)
