"""The two language models: what a prediction may see, and whole runs as a reader of the docs starts them."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open

from bitmill.pipeline.inspection.make_preview import stored_tokenizer
from bitmill.pipeline.reading import TokenDataset
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.packing import pack_bits, unpack_groups
from bitmill.schemas.errors import UsageError
from examples import gpt, masked_lm
from examples.token_training import open_clips
from examples.token_transformer import group_bits_of_indices
from tests.support.commands import REPOSITORY, Finished, ended, script
from tests.support.datasets import make_dataset

_HELD_OUT = "*0003.mp4"
_GRID = (2, 2, 3)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four sources of 8 frames of 2×2 tokens; three are learned from, in 9 windows: 4 batches an epoch."""
    uri = str(tmp_path_factory.mktemp("models") / "tokens")
    make_dataset(uri, [[8], [8], [8], [8]])
    return uri


def _run(example: str, dataset: str, out: Path, *arguments: str) -> Finished:
    words = ("--dataset", dataset, "--held-out", _HELD_OUT, "--out", str(out), *arguments)
    return ended(script(REPOSITORY / "examples" / f"{example}.py", *words))


def _numbers(pattern: str, out: str) -> list[float]:
    return [float(number) for number in re.findall(pattern, out)]


def _clip(seed: int) -> torch.Tensor:
    """Groups [1, 2, 2, 3, 2]."""
    return torch.randint(512, (1, *_GRID, 2), generator=torch.Generator().manual_seed(seed))


@settings(max_examples=20)
@given(st.integers(0, 11), st.integers(0, 1))
def test_the_gpt_sees_nothing_of_what_it_predicts_or_of_later_groups(token, group):
    torch.manual_seed(0)
    model = gpt.GPT(2).eval()
    clip, changed = _clip(1), _clip(1)
    changed.view(-1)[token * 2 + group :] = _clip(2).view(-1)[token * 2 + group :]
    assert not torch.equal(clip, changed)
    was, becomes = model(clip).flatten(0, -2), model(changed).flatten(0, -2)
    seen = token * 2 + group + 1
    torch.testing.assert_close(was[:seen], becomes[:seen])
    if seen < len(was):
        assert not torch.allclose(was[seen:], becomes[seen:])


def test_the_masked_model_sees_nothing_of_hidden_groups_and_all_others():
    torch.manual_seed(0)
    model = masked_lm.MaskedLM(18).eval()
    bits = torch.rand(1, *_GRID, 18) < 0.5
    hidden = torch.rand(1, *_GRID, 2) < 0.5
    where = hidden.repeat_interleave(9, dim=-1)
    torch.testing.assert_close(model(bits, hidden), model(bits ^ where, hidden))
    assert not torch.allclose(model(bits, hidden), model(bits ^ ~where, hidden))


def test_filling_changes_hidden_groups_alone_and_takes_the_likeliest_where_one_is_hidden():
    torch.manual_seed(0)
    model = masked_lm.MaskedLM(18).eval()
    bits = torch.rand(1, *_GRID, 18) < 0.5
    hidden = torch.zeros(1, *_GRID, 2, dtype=torch.bool)
    hidden[0, 1, 1, 2, 0] = True
    filled = masked_lm.fill(model, bits, hidden)
    likeliest = model(bits, hidden)[hidden].argmax(-1)
    assert torch.equal(filled[0, 1, 1, 2, :9], group_bits_of_indices(9)[likeliest[0]] > 0)
    half = torch.rand(1, *_GRID, 2) < 0.5
    filled = masked_lm.fill(model, bits, half)
    visible = ~half.repeat_interleave(9, dim=-1)
    assert torch.equal(filled[visible], bits[visible])


def test_bits_of_an_index_are_those_that_the_view_groups_reads():
    bits = np.random.default_rng(0).random((50, 18)) < 0.5
    groups = unpack_groups(pack_bits(bits), 50, 18, 9)
    assert torch.equal(
        group_bits_of_indices(9)[torch.from_numpy(groups)].flatten(1) > 0, torch.from_numpy(bits)
    )


def test_a_histogram_costs_its_entropy_and_a_copy_as_often_as_it_was_seen():
    first, second = torch.tensor([0, 0, 1, 2]), torch.tensor([5, 5, 5, 5])
    tokens = torch.stack([first, second], dim=-1).view(1, 1, 2, 2, 2)
    assert gpt.histogram_bits(tokens, tokens, added=0) == pytest.approx(1.5)
    still = tokens.expand(1, 4, 2, 2, 2)
    # Every frame is the one before it: only the first one costs anything.
    assert gpt.histogram_bits(still, still, added=0, copying=True) == pytest.approx(1.5 / 4)


def test_whole_sources_are_held_out(dataset):
    everything = TokenDataset(dataset, view="integers", columns=("source",))
    tokens: dict[bool, set[int]] = {True: set(), False: set()}
    for clip in everything:
        tokens[clip["source"].endswith("0003.mp4")] |= set(clip["tokens"].flatten().tolist())
    clips = open_clips(dataset, held_out=_HELD_OUT, view="integers", num_frames=4, batch_size=1, seed=0)
    for batches, wanted in ((clips.held_out, tokens[True]), (clips.training, tokens[False])):
        assert {token for batch in batches for token in batch["tokens"].flatten().tolist()} == wanted


@pytest.mark.parametrize("held_out", ["*", "*none*"])
def test_a_side_without_clips_is_refused(dataset, held_out):
    with pytest.raises(UsageError, match="There are no clips to read"):
        open_clips(dataset, held_out=held_out, view="bits", num_frames=4, batch_size=4, seed=0)


@pytest.mark.training
def test_the_gpt_learns_and_a_resumed_run_ends_as_an_undisturbed_one(dataset, tmp_path):
    whole = _run("gpt", dataset, tmp_path / "whole", "--steps", "23")
    assert whole.code == 0, whole.err
    losses = _numbers(r"training +([\d.]+)", whole.out)
    held_out = _numbers(r"held out +([\d.]+) \(", whole.out)
    assert len(losses) == len(held_out) == 2
    assert all(math.isfinite(number) for number in losses + held_out)
    assert losses[1] < losses[0] < 18.5
    assert "18.00  as stored" in whole.out

    assert _run("gpt", dataset, tmp_path / "parts", "--steps", "9").code == 0
    resumed = _run("gpt", dataset, tmp_path / "parts", "--steps", "23", "--resume")
    assert resumed.code == 0, resumed.err
    # 4 batches an epoch: step 9 was the first of the third.
    assert "resumed behind step 9, in epoch 2" in resumed.out
    assert _numbers(r"held out +([\d.]+) \(", resumed.out) == held_out
    one, other = (tmp_path / part / "checkpoint.safetensors" for part in ("whole", "parts"))
    assert one.read_bytes() == other.read_bytes()
    with safe_open(one, framework="pt") as file:
        assert json.loads(file.metadata()["state"])["step"] == 23


@pytest.mark.training
def test_a_checkpoint_resumes_its_own_batches_alone(dataset, tmp_path):
    def train(seed: int, *, resume: bool) -> None:
        clips = open_clips(
            dataset, held_out=_HELD_OUT, view="groups", group_bits=9, num_frames=4, batch_size=2, seed=seed
        )
        gpt.train(gpt.GPT(2), clips, checkpoint=tmp_path / "c.safetensors", steps=1, resume=resume)

    with pytest.raises(UsageError, match="run without --resume first"):
        train(0, resume=True)
    train(0, resume=False)
    train(0, resume=True)
    with pytest.raises(UsageError, match="The state belongs to other batches"):
        train(1, resume=True)


@pytest.mark.training
def test_the_masked_model_learns(dataset, capsys):
    torch.manual_seed(0)
    clips = open_clips(dataset, held_out=_HELD_OUT, view="bits", num_frames=4, batch_size=2, seed=0)
    masked_lm.train(masked_lm.MaskedLM(18), clips, steps=50, seed=0)
    out = capsys.readouterr().out
    losses = _numbers(r"training +([\d.]+)", out)
    held_out = _numbers(r"held out +([\d.]+) bits/token", out)
    assert len(losses) == len(held_out) == 3
    assert all(math.isfinite(number) for number in losses + held_out)
    assert losses[2] < losses[0]


@pytest.mark.training
def test_a_run_of_the_masked_model_shows_a_frame(tmp_path):
    dataset = str(tmp_path / "tokens")
    make_dataset(dataset, [[8], [8], [8], [8]], grid_size=16)
    done = _run("masked_lm", dataset, tmp_path / "out", "--steps", "3")
    assert done.code == 0, done.err
    assert len(_numbers(r"held out +([\d.]+) bits/token", done.out)) == 1

    picture = np.asarray(Image.open(tmp_path / "out" / "filled.png"))[::2, ::2]
    assert picture.shape == (128, 3 * 128 + 2 * 4, 3)
    stored, masked, filled = picture[:, :128], picture[:, 132:260], picture[:, 264:]
    bits = TokenDataset(dataset, view="bits")
    (decoded,) = stored_tokenizer(Folder(dataset), bits.card).decode([bits[3]["tokens"][4:8]])
    assert np.array_equal(stored, decoded[-1].numpy())
    grey = (masked == 128).all(-1)
    assert 0.3 < grey.mean() < 0.7
    assert np.array_equal(stored[~grey], masked[~grey])
    assert not np.array_equal(stored[grey], filled[grey])
