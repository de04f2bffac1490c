"""Training over tokens: the same weights however often it was stopped, on clips that are not held out."""

import io
import math
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from bitmill.bsq_model.token_models.prior.prior_model import Prior
from bitmill.bsq_model.token_models.token_model_files import load_token_model
from bitmill.jobs.commands.models.train_token_model import new_model, train_token_job
from bitmill.jobs.console import Console
from bitmill.pipeline.reading import ClipFilter, TokenDataset
from bitmill.pipeline.token_training.clip_costs import evaluate_tokens
from bitmill.pipeline.token_training.run_token_training import train_token_model
from bitmill.pipeline.token_training.token_batches import TokenTrainingData
from bitmill.pipeline.training.extend_run import keep_earlier
from bitmill.pipeline.training.metrics_log import read_metrics
from bitmill.schemas.errors import FormatError, OutputConflictError, TokenizerMismatchError, UsageError
from bitmill.schemas.requests.token_training import TokenTrainSpec
from tests.support.coded_datasets import GEOMETRIES as CODED
from tests.support.coded_datasets import coded_dataset
from tests.support.datasets import make_dataset
from tests.support.other_tokens import GEOMETRIES, write_other_dataset
from tests.support.token_datasets import store_dataset

_LABELS = ("clip 1", "clip 3")
MODELS = {
    "prior": {"kind": "prior", "width": 32, "layers": 1, "window_frames": 2},
    "masked-lm": {"kind": "masked-lm", "width": 32, "layers": 1, "labels": _LABELS},
}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def dataset(tmp_path) -> str:
    uri = str(tmp_path / "tokens")
    make_dataset(uri, [[4, 4]] * 6 + [[1]] * 6)
    return uri


def _spec(dataset: str, output: Path, kind: str = "prior", **changes: object) -> TokenTrainSpec:
    document = {
        "version": 1,
        "model": MODELS[kind],
        "data": [
            {"dataset": dataset, "frames": 3, "batch": 2},
            {"dataset": dataset, "frames": 1, "batch": 4, "share": 2},
        ],
        "held_out": ["*/0005.mp4", "*/0011.mp4"],
        "output": str(output),
        "steps": 9,
        "validate_every": 3,
        "checkpoint_every": 4,
        **changes,
    }
    return TokenTrainSpec.model_validate(document)


def _train(spec: TokenTrainSpec, *, until: int | None = None) -> list[dict[str, float]]:
    """Measurements of the steps that this run took; ``until`` stops it after so many steps in all."""
    data = TokenTrainingData(spec)
    seen: list[dict[str, float]] = []
    done = 0

    def on_progress(progress) -> None:
        nonlocal done
        done = progress.steps_done
        if progress.values is not None:
            seen.append(progress.values)

    model = new_model(spec, data.card)
    ended = train_token_model(
        spec,
        model,
        data,
        torch.device("cpu"),
        on_progress=on_progress,
        stop=lambda: until is not None and done >= until,
    )
    assert ended == (until is None)
    return seen


def _weights(output: Path) -> bytes:
    return (output / "model" / "model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("stops", [[1], [4, 5, 8]])
def test_a_run_that_was_stopped_gives_the_same_bytes(kind, stops, dataset, tmp_path) -> None:
    _train(_spec(dataset, tmp_path / "whole", kind))
    spec = _spec(dataset, tmp_path / "stopped", kind)
    for step in stops:
        _train(spec, until=step)
    _train(spec)
    assert _weights(tmp_path / "stopped") == _weights(tmp_path / "whole")
    stopped, whole = (read_metrics(tmp_path / run / "metrics.jsonl") for run in ("stopped", "whole"))
    measured = [name for name in whole[0] if name != "steps_per_s"]
    assert [[row[name] for name in measured] for row in stopped] == [
        [row[name] for name in measured] for row in whole
    ]


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoints(dataset, tmp_path, monkeypatch) -> None:
    spec = _spec(dataset, tmp_path / "run")
    _train(spec, until=4)
    before = {path: path.read_bytes() for path in (tmp_path / "run" / "checkpoints").iterdir()}
    monkeypatch.setattr(Prior, "training_loss", _infinite_loss)
    with pytest.raises(UsageError, match=r"no longer finite at step 4 \(loss inf"):
        _train(spec)
    assert {path: path.read_bytes() for path in (tmp_path / "run" / "checkpoints").iterdir()} == before


def _infinite_loss(model: Prior, *_: object) -> torch.Tensor:
    return sum(parameter.sum() for parameter in model.parameters()) + math.inf


@pytest.mark.slow
def test_another_seed_gives_other_weights(dataset, tmp_path) -> None:
    for seed in (0, 1):
        _train(_spec(dataset, tmp_path / str(seed), seed=seed))
    assert _weights(tmp_path / "0") != _weights(tmp_path / "1")


def test_held_out_sources_are_never_trained_on(dataset, tmp_path) -> None:
    spec = _spec(dataset, tmp_path / "run")
    where = ClipFilter(sources=spec.held_out)
    held_out = {bytes(clip["tokens"].numpy()) for clip in TokenDataset(dataset, where=where)}
    assert len(held_out) == 3
    data = TokenTrainingData(spec)
    frames_held_out = {
        bytes(frame.numpy()) for clip in TokenDataset(dataset, where=where) for frame in clip["tokens"]
    }
    met = {bytes(frame.numpy()) for step in range(40) for clip in data.batch(step)[0] for frame in clip}
    # Eleven clips of four frames and five pictures are left.
    assert len(met) == 5 * 2 * 4 + 5
    assert not met & frames_held_out


def test_steps_are_shared_among_the_kinds_of_clips(dataset, tmp_path) -> None:
    data = TokenTrainingData(_spec(dataset, tmp_path / "run"))
    shapes = [tuple(data.batch(step)[0].shape[:2]) for step in range(30)]
    assert shapes.count((2, 3)) == pytest.approx(10, abs=1)
    assert shapes.count((4, 1)) == pytest.approx(20, abs=1)


def test_labels_are_those_of_the_metadata(tmp_path) -> None:
    uri = str(tmp_path / "tokens")
    make_dataset(uri, [[1]] * 8)
    data = TokenTrainingData(
        _spec(
            uri,
            tmp_path / "run",
            "masked-lm",
            model={**MODELS["masked-lm"], "labels": ["clip 3"]},
            data=[{"dataset": uri, "frames": 1, "batch": 7}],
            held_out=["*/0007.mp4"],
        )
    )
    labels = data.batch(0).labels_B
    # The fakes write captions, not labels: none is known.
    assert labels is not None
    assert labels.tolist() == [0] * 7


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"held_out": ["*/nothing"]}, "no clip of 3 frames is held out"),
        ({"held_out": ["*"]}, "no clip of 3 frames is to train on"),
    ],
)
def test_a_side_without_clips_is_refused(changes, said, dataset, tmp_path) -> None:
    with pytest.raises(UsageError, match=said):
        TokenTrainingData(_spec(dataset, tmp_path / "run", **changes))


def test_tokens_of_two_tokenizers_are_refused(dataset, tmp_path) -> None:
    other = str(tmp_path / "other")
    make_dataset(other, [[4]] * 6, bits_per_token=36)
    kinds = [{"dataset": uri, "frames": 3, "batch": 2} for uri in (dataset, other)]
    with pytest.raises(TokenizerMismatchError, match="contains tokens of tokenizer"):
        TokenTrainingData(_spec(dataset, tmp_path / "run", data=kinds))


@pytest.mark.parametrize(("name", "said"), [("index", "of kind index"), ("pyramid", "pyramids")])
def test_tokens_that_are_no_bits_are_refused(name, said, tmp_path) -> None:
    write_other_dataset(str(tmp_path / "other"), GEOMETRIES[name])
    spec = _spec(str(tmp_path / "other"), tmp_path / "run")
    with pytest.raises(UsageError, match=f"predicts bits or digits on a grid, and these tokens are {said}"):
        TokenTrainingData(spec)


def test_frames_of_several_sizes_are_refused(tmp_path) -> None:
    store_dataset(tmp_path / "tokens", [[(4, 2, 3), (4, 3, 2)]] * 12)
    spec = _spec(str(tmp_path / "tokens"), tmp_path / "run", held_out=["*0005*"])
    with pytest.raises(UsageError, match=r"frames of 2 sizes in tokens \(2×3, 3×2\); a token model trains"):
        TokenTrainingData(spec)


def test_groups_that_do_not_divide_a_token_are_refused(dataset, tmp_path) -> None:
    spec = _spec(dataset, tmp_path / "run", model={**MODELS["prior"], "group_bits": 7})
    with pytest.raises(UsageError, match="bits_per_token 18 is not a multiple of 7"):
        new_model(spec, TokenTrainingData(spec).card)


def test_a_checkpoint_of_another_run_is_refused(dataset, tmp_path) -> None:
    spec = _spec(dataset, tmp_path / "run")
    _train(spec, until=4)
    with pytest.raises(FormatError, match="belongs to another run"):
        _train(_spec(dataset, tmp_path / "run", steps=10))


def test_training_gives_the_averaged_weights(dataset, tmp_path) -> None:
    spec = _spec(dataset, tmp_path / "run", optimizer={"ema": 0.5})
    _train(spec)
    model = load_token_model(tmp_path / "run" / "model")
    assert not any(parameter.requires_grad for parameter in model.parameters())


def _command(spec: TokenTrainSpec) -> str:
    console = Console(file=io.StringIO(), width=400)
    train_token_job(spec, console=console)
    return console.file.getvalue()


CONSTANT = {"warmup_steps": 2, "final_share": 1.0}


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [None, 3])
def test_steps_may_be_raised_and_at_a_constant_rate_the_end_is_the_longer_runs(
    stopped, dataset, tmp_path
) -> None:
    _train(_spec(dataset, tmp_path / "whole", optimizer=CONSTANT))
    short = _spec(dataset, tmp_path / "raised", steps=5, optimizer=CONSTANT)
    _command(short) if stopped is None else _train(short, until=stopped)
    (tmp_path / "raised" / "train.yaml").write_text(yaml.safe_dump(short.model_dump(mode="json")))
    long = _spec(dataset, tmp_path / "raised", optimizer=CONSTANT)
    said = _command(long)
    assert "steps raised from 5 to 9" in said
    assert _weights(tmp_path / "raised") == _weights(tmp_path / "whole")
    assert (tmp_path / "raised" / "model-00000005" / "config.json").exists() == (stopped is None)
    assert "nothing to do" in _command(long)
    with pytest.raises(OutputConflictError, match="steps is 9 there and 5 here"):
        _command(short)


@pytest.mark.slow
def test_a_raised_run_that_is_killed_ends_in_the_same_bytes(dataset, tmp_path) -> None:
    runs = []
    for name, until in (("whole", None), ("killed", 7)):
        _command(_spec(dataset, tmp_path / name, steps=5))
        raised = _spec(dataset, tmp_path / name)
        if until is None:
            _command(raised)
        else:
            keep_earlier(tmp_path / name, 5, ("model",))
            _train(raised, until=until)
            _command(raised)
        runs.append(_weights(tmp_path / name))
    assert runs[0] == runs[1]


def test_a_complete_run_without_checkpoints_does_not_begin_anew(dataset, tmp_path) -> None:
    _command(_spec(dataset, tmp_path / "run", steps=3))
    before = _weights(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(UsageError, match="complete at 3 steps and has no checkpoint to resume from"):
        _command(_spec(dataset, tmp_path / "run"))
    assert _weights(tmp_path / "run") == before


def test_a_batch_that_no_epoch_fills_is_told_in_the_files_words(dataset, tmp_path) -> None:
    data = [{"dataset": dataset, "frames": 1, "batch": 1000}]
    with pytest.raises(UsageError, match="fewer windows of 1 frames to train on than a batch of 1000; lower"):
        TokenTrainingData(_spec(dataset, tmp_path / "run", data=data))


@pytest.mark.parametrize("kind", ["prior", "masked-lm"])
def test_digits_are_learned_and_measured_next_to_coders_without_a_model(kind, tmp_path) -> None:
    dataset = str(tmp_path / "digits")
    coded_dataset(tmp_path / "digits", CODED["digits"])
    data = [{"dataset": dataset, "frames": 1, "batch": 2}]
    spec = _spec(dataset, tmp_path / "run", kind, data=data, held_out=["*0001*"])
    train_token_job(spec, console=Console(file=io.StringIO()))
    model = load_token_model(tmp_path / "run" / "model")
    assert model.config.levels == CODED["digits"].code.levels
    costs = evaluate_tokens(model, dataset, sources=(), most_frames=2, device=torch.device("cpu"))
    assert costs.bits_per_token == 11
    assert costs.independent_bits == costs.static_groups <= 4 + 2 * math.log2(5) + 2
    assert 8 < costs.model < 14
    with pytest.raises(UsageError, match="group_bits is for bits, and these tokens are digits"):
        new_model(
            _spec(dataset, tmp_path / "other", data=data, model={**MODELS[kind], "group_bits": 9}),
            TokenTrainingData(spec).card,
        )
