"""The Hugging Face Hub is a source: listed, copied, checked for changes; and never an output."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants as hub_constants
import pytest

from bitmill.pipeline.sources.listing import find_sources
from bitmill.pipeline.storage import Folder, list_objects, stage, stat
from bitmill.schemas.errors import BadItemError, BadJobError, UsageError
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.job import SourceSpec
from tests.support.hub import REPOSITORY, hub

_TOKEN = "hf_secretthatnofilemaycontain"


@pytest.fixture
def files(monkeypatch) -> Iterator[dict[str, bytes]]:
    """What the hub holds; to be changed in place."""
    held = {f"train/{number}.mp4": b"clip %d" % number for number in range(5)}
    held |= {"README.md": b"about", "train/deep/a b+ü.mp4": b"odd", "train-old/9.mp4": b"no"}
    with hub(held, token=_TOKEN) as endpoint:
        # As HF_ENDPOINT sets them, which is read when the package is imported.
        monkeypatch.setattr(hub_constants, "ENDPOINT", endpoint)
        address = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(hub_constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", _TOKEN)
        _forget()
        yield held
    _forget()


def _forget() -> None:
    import fsspec

    fsspec.get_filesystem_class("hf").clear_instance_cache()


def test_a_folder_of_several_pages_is_listed_and_read(files):
    listing = list_objects(f"{REPOSITORY}/train")
    names = sorted(name for name in files if name.startswith("train/"))
    assert [info.uri for info in listing.objects] == [f"{REPOSITORY}/{name}" for name in names]
    for name, info in zip(names, listing.objects, strict=True):
        assert stat(info.uri) == info
        with stage(info) as staged:
            assert Path(staged.path).read_bytes() == files[name]
    assert len(list_objects(f"{REPOSITORY}/train/*.mp4").objects) == 5
    assert find_sources(SourceSpec(paths=[REPOSITORY])).ignored_files == 1


def test_a_commit_that_changes_a_file_is_noticed(files):
    planned = {info.uri: info for info in list_objects(REPOSITORY).objects}
    files["train/1.mp4"] = b"CLIP 1"
    del files["train/2.mp4"]
    with pytest.raises(BadItemError, match="version has changed") as caught:
        stage(planned[f"{REPOSITORY}/train/1.mp4"]).__enter__()
    assert caught.value.reason is Reason.SOURCE_CHANGED
    with pytest.raises(BadItemError, match="no object with this name"):
        stage(planned[f"{REPOSITORY}/train/2.mp4"]).__enter__()
    assert len(list_objects(REPOSITORY).objects) == len(planned) - 1


def test_a_repository_that_may_not_be_seen_is_told_in_a_sentence(files, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    _forget()
    with pytest.raises(BadJobError, match=r"does not exist, or may not be seen; check .* HF_TOKEN") as caught:
        find_sources(SourceSpec(paths=[f"{REPOSITORY}/train"]))
    assert "hf_another" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "why"),
    [(f"{REPOSITORY}/tokens", "a commit of its own"), ("sftp://host/tokens", "only once it is whole")],
)
def test_a_store_that_does_not_publish_whole_files_is_no_output(uri, why):
    with pytest.raises(UsageError, match=f"{uri} cannot be an output: .*{why}"):
        Folder(uri).write_bytes("dataset.json", b"{}")
    with pytest.raises(UsageError, match="cannot be an output"):
        Folder(uri).remove("dataset.json")
