"""Costs of a dataset's clips under a model: the same clips for all, and only tokens that it knows."""

import json
import math

import numpy as np
import pytest
import torch

from bitmill.bsq_model.token_models.token_model_files import make_token_model, save_token_model
from bitmill.pipeline.reading import ClipFilter, TokenDataset
from bitmill.pipeline.token_training.clip_costs import evaluate_tokens
from bitmill.schemas.errors import TokenizerMismatchError, UsageError
from bitmill.schemas.models.token_model_config import token_model_config
from tests.support.commands import bitmill
from tests.support.datasets import make_dataset

CPU = torch.device("cpu")


@pytest.fixture
def dataset(tmp_path) -> str:
    uri = str(tmp_path / "tokens")
    make_dataset(uri, [[4, 3], [1], [5]])
    return uri


def _prior(dataset: str, **changes: object):
    document = {
        "kind": "prior",
        "width": 32,
        "layers": 1,
        "bits_per_token": 18,
        "tokenizer_fingerprint": TokenDataset(dataset).cards[0].tokenizer_fingerprint,
        **changes,
    }
    return make_token_model(token_model_config(document), seed=0).eval()


@pytest.mark.parametrize("most_frames", [16, 2])
def test_the_models_cost_is_that_of_every_piece_of_every_clip(most_frames, dataset) -> None:
    prior = _prior(dataset)
    costs = evaluate_tokens(prior, dataset, sources=(), most_frames=most_frames, device=CPU)
    assert (costs.clips, costs.frames, costs.tokens) == (4, 13, 52)
    paid = 0.0
    for clip in TokenDataset(dataset):
        for start in range(0, len(clip["tokens"]), most_frames):
            piece = clip["tokens"][start : start + most_frames]
            with torch.inference_mode():
                paid += prior.bits_per_group(piece[None]).sum().item()
    assert costs.model == pytest.approx(paid / 52, rel=1e-5)


def test_only_the_sources_asked_for_are_measured(dataset) -> None:
    costs = evaluate_tokens(_prior(dataset), dataset, sources=("*/0002.mp4",), most_frames=16, device=CPU)
    assert (costs.clips, costs.frames) == (1, 5)
    (clip,) = TokenDataset(dataset, where=ClipFilter(sources=("*/0002.mp4",)))
    ones = clip["tokens"].flatten(0, 2).numpy().mean(0)
    entropies = [-p * math.log2(p) - (1 - p) * math.log2(1 - p) for p in ones if 0 < p < 1]
    assert costs.independent_bits == pytest.approx(np.sum(entropies))


def test_tokens_of_another_tokenizer_are_refused(dataset) -> None:
    stranger = _prior(dataset, tokenizer_fingerprint="f" * 32)
    with pytest.raises(TokenizerMismatchError, match="Use a model that was trained on"):
        evaluate_tokens(stranger, dataset, sources=(), most_frames=16, device=CPU)


def test_a_pattern_without_clips_is_refused(dataset) -> None:
    with pytest.raises(UsageError, match=r"no clip's source matches \*/nowhere"):
        evaluate_tokens(_prior(dataset), dataset, sources=("*/nowhere",), most_frames=16, device=CPU)


def test_the_command_tells_the_table_and_writes_its_numbers(dataset, tmp_path) -> None:
    save_token_model(_prior(dataset), tmp_path / "model")
    report = tmp_path / "reports" / "costs.json"
    done = bitmill("evaluate-tokens", str(tmp_path / "model"), dataset, "--out", str(report))
    assert done.code == 0, done.err
    assert "4 clips, 13 frames, 52 tokens" in done.out
    costs = evaluate_tokens(_prior(dataset), dataset, sources=(), most_frames=16, device=CPU)
    written = json.loads(report.read_text(encoding="utf-8"))
    assert written["model"] == pytest.approx(costs.model, rel=1e-5)
    assert f"{written['model']:.3f}" in done.out
    refused = bitmill("evaluate-tokens", "small-1", dataset)
    assert refused.code == 2
    assert "Traceback" not in refused.err
    assert "Use a model that was trained on" in " ".join(refused.err.split())
