"""The names of ``import bitmill``: quick, lazy, and the same as the command line's work."""

import subprocess
import sys
from pathlib import Path

import pytest

import bitmill
from tests.support.media import plain_mp4

MODULES = "import sys, bitmill; print(*sorted({name.split('.')[0] for name in sys.modules}))"


def test_importing_loads_none_of_the_libraries():
    printed = subprocess.run(
        [sys.executable, "-c", MODULES], capture_output=True, text=True, check=True
    ).stdout
    assert not {"torch", "ray", "pyarrow", "av", "numpy", "pydantic"} & set(printed.split())


def test_every_name_is_there_and_no_other():
    assert all(getattr(bitmill, name) is not None for name in bitmill.__all__)
    assert set(bitmill.__all__) <= set(dir(bitmill))
    with pytest.raises(AttributeError, match="no attribute 'tokenise'"):
        bitmill.tokenise  # noqa: B018


def test_errors_of_use_are_one_kind():
    for error in (bitmill.BadJobError, bitmill.WrongArgumentError, bitmill.OutputConflictError):
        assert issubclass(error, bitmill.UsageError)
        assert issubclass(error, bitmill.BitmillError)
    with pytest.raises(bitmill.UsageError, match=r"'bins' is no export .* mean 'bin'.*are webdataset, bin"):
        bitmill.export("nowhere", "out", to="bins")
    with pytest.raises(bitmill.UsageError, match="'gone' is no reason of failure"):
        bitmill.tokenize("media", "tokens", retry_failed=True, reasons=["gone"])
    with pytest.raises(bitmill.BadJobError, match=r"There is no job file nowhere\.yaml"):
        bitmill.plan("nowhere.yaml")


@pytest.mark.parametrize("argument", ["by", "against"])
def test_one_name_is_no_list_of_names(argument):
    with pytest.raises(bitmill.WrongArgumentError, match=rf"{argument}=\['caption'\] for one"):
        bitmill.audit("nowhere", **{argument: "caption"})


def test_arguments_are_checked_before_anything_is_read():
    with pytest.raises(bitmill.WrongArgumentError, match=r"reasons=\['corrupt'\] for one"):
        bitmill.tokenize("media", "tokens", retry_failed=True, reasons="corrupt")
    with pytest.raises(bitmill.WrongArgumentError, match="max_bytes must be at least 1, not 0"):
        bitmill.export("nowhere", "out", to="bin", max_bytes=0)


@pytest.mark.ray
@pytest.mark.usefixtures("forked_children")
def test_a_collection_is_planned_tokenized_audited_read_and_exported(tmp_path: Path, capfd):
    media, tokens = tmp_path / "media", tmp_path / "tokens"
    media.mkdir()
    plain_mp4(media / "a.mp4")
    settings = {"sampling.fps": 4, "sampling.clip_frames": 4, "compute.actors": 1}
    planned = bitmill.plan(media, tokens, tokenizer="tiny", settings=settings)
    assert (planned.sources, planned.shards, planned.committed) == (1, 1, 0)

    counts, notes = [], []
    result = bitmill.tokenize(
        media, tokens, tokenizer="tiny", settings=settings, on_progress=counts.append, notify=notes.append
    )
    assert result.all_ok
    assert result.totals.items == counts[-1].items.done == 1
    assert any("1 of 1 shard to do" in note for note in notes)
    again = bitmill.tokenize(media, tokens, tokenizer="tiny", settings=settings, notify=notes.append)
    assert again.totals == result.totals
    assert notes[-1].startswith("nothing to do: every planned shard is committed.")

    seen = []
    report = bitmill.audit(tokens, workers=1, on_progress=lambda uri, at: seen.append((uri, at.done_shards)))
    assert (report.verdict, report.coverage.total.clips) == ("sound", result.totals.clips)
    assert seen == [(str(tokens), 1)]

    dataset = bitmill.open_dataset(tokens, view="integers")
    assert len(dataset) == result.totals.clips
    exported = bitmill.export(tokens, tmp_path / "bin", to="bin", workers=1)
    assert exported.inventory.contents.clips == len(dataset)
    printed = capfd.readouterr()
    assert printed.out == ""
