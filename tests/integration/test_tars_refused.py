"""Commands that read plain files only say so of a tar, before any work."""

from pathlib import Path

import pytest
import yaml

from bitmill.pipeline.training.validation import validation_clips
from bitmill.schemas.errors import UsageError
from bitmill.schemas.requests.training import TrainSpec
from tests.integration.test_bad_jobs import _run
from tests.integration.test_training import _SPEC
from tests.support.media import jpeg_photo
from tests.support.tars import write_tar


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    jpeg_photo(folder / "a.jpg")
    write_tar(folder / "x.tar", [("a.jpg", (folder / "a.jpg").read_bytes())])
    return folder


def test_evaluation_refuses_a_tar(capsys, monkeypatch, tmp_path, media):
    code, err = _run(capsys, monkeypatch, "evaluate", "tiny", str(media), "--out", str(tmp_path / "out"))
    assert code == 2
    assert f"{media}/x.tar is a tar, and evaluation reads only plain files; unpack it" in err
    assert not (tmp_path / "out").exists()


def test_training_and_validation_refuse_a_tar(capsys, monkeypatch, tmp_path, media):
    document = {**_SPEC, "source": {"paths": [str(media)]}, "output": str(tmp_path / "run")}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(document))
    code, err = _run(capsys, monkeypatch, "train", str(tmp_path / "train.yaml"))
    assert code == 2
    assert f"{media}/x.tar is a tar, and training reads only plain files" in err
    assert not (tmp_path / "run").exists()
    document["validation"] = {"source": {"paths": [str(media)]}}
    with pytest.raises(UsageError, match="validation reads only plain files"):
        validation_clips(TrainSpec.model_validate(document))
