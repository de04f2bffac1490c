"""``bitmill weights import`` as a user types it."""

import sys

import pytest
import torch

from bitmill.bsq_model import load_tokenizer
from bitmill.jobs.cli import main
from tests.bsq_model import published_bsq_vit as pub

DOCUMENT = pub.document(18, pub.vit(16, 2, 2, frames=1))


@pytest.fixture
def files(tmp_path):
    whole = pub.checkpoint(pub.state_dict(DOCUMENT, 1), pub.state_dict(DOCUMENT, 0), DOCUMENT)
    torch.save(whole, tmp_path / "c.pt")
    (tmp_path / "c.yaml").write_text(pub.yaml_text(DOCUMENT))
    return tmp_path


def _run(capsys, monkeypatch, *words) -> tuple[int, str, str]:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(sys, "argv", ["bitmill", "weights", "import", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        main()
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.out, captured.err


def test_a_checkpoint_becomes_a_tokenizer_and_says_which_weights(capsys, monkeypatch, files):
    words = [files / "c.pt", files / "averaged", "--config", files / "c.yaml"]
    code, out, err = _run(capsys, monkeypatch, *words)
    assert (code, err) == (0, "")
    assert load_tokenizer(files / "averaged").fingerprint in out
    assert "averaged (EMA) weights: frames of 16², 18 bits per token" in out
    code, out, _ = _run(
        capsys, monkeypatch, files / "c.pt", files / "raw", "--config", files / "c.yaml", "--no-ema"
    )
    assert code == 0
    assert "raw weights" in out
    assert load_tokenizer(files / "raw").fingerprint != load_tokenizer(files / "averaged").fingerprint


@pytest.mark.parametrize("fault", ["cut", "no checkpoint", "no config", "in use", "url"])
def test_a_fault_is_one_sentence_and_leaves_nothing(capsys, monkeypatch, files, fault):
    checkpoint, out, config = files / "c.pt", files / "out", files / "c.yaml"
    if fault == "cut":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-500])
    elif fault == "no checkpoint":
        checkpoint = files / "none.pt"
    elif fault == "no config":
        config = files / "none.yaml"
    elif fault == "in use":
        out = files
    else:
        out = "s3://bucket/tokenizer"
    before = sorted(files.iterdir())
    code, _, err = _run(capsys, monkeypatch, checkpoint, out, "--config", config)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sorted(files.iterdir()) == before
