"""The training file: what it refuses, what its example says, what a run may change when it goes on."""

from pathlib import Path

import pytest
import yaml

from bitmill.schemas.errors import UsageError
from bitmill.schemas.requests.training import TrainSpec, fixed_fields, load_train_spec, run_id

_EXAMPLE = Path("schemas/train.example.yaml")
_REQUIRED = {"version", "source", "output", "model", "steps", "global_batch"}
_LEVELS = {"widths": [8, 8], "blocks": [1, 1]}
_CAUSAL_CONV = {
    "architecture": "causal-conv",
    "bits_per_token": 18,
    "encoder": _LEVELS,
    "decoder": _LEVELS,
}


def _document() -> dict:
    return yaml.safe_load(_EXAMPLE.read_text())


def _spec(**changes) -> TrainSpec:
    return load_train_spec(_EXAMPLE.read_text(), origin="train.example.yaml", overrides=changes)


def test_the_example_shows_every_key_with_its_default():
    document = _document()
    least = TrainSpec.model_validate({key: document[key] for key in _REQUIRED})
    assert TrainSpec.model_validate(document) == least
    shown = {key: document[key].keys() for key in ("data", "loss", "optimizer", "compute")}
    assert document.keys() == TrainSpec.model_fields.keys()
    for key, keys in shown.items():
        assert keys == type(getattr(least, key)).model_fields.keys(), key


def test_a_key_that_the_model_lacks_is_named_as_the_file_has_it():
    document = _document()
    del document["model"]["num_frames"]
    with pytest.raises(UsageError, match=r"^t\.yaml: key 'model\.num_frames' is missing\.$"):
        load_train_spec(yaml.safe_dump(document), origin="t.yaml")


def test_a_wrong_key_is_named_with_its_file():
    with pytest.raises(UsageError, match=r"mine\.yaml: unknown key 'loss\.lpisp'"):
        load_train_spec(_EXAMPLE.read_text(), origin="mine.yaml", overrides={"loss.lpisp": 1})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"global_batch": 15, "compute.processes": 2}, r"global_batch 15 is not divisible by"),
        ({"loss.entropy.group_bits": 4}, r"does not divide model\.bits_per_token 18"),
        ({"version": 2}, "Upgrade bitmill"),
        ({"optimizer.ema": 1.0}, r"optimizer\.ema"),
        ({"loss.l1": float("nan")}, r"loss\.l1"),
        ({"model.positions": "interpolate"}, r"model\.positions interpolate is for trained tokenizers"),
        ({"data.clip_frames": 5}, r"data\.clip_frames are for causal-conv"),
        ({"data.image_batch": 3, "compute.processes": 2}, r"data\.image_batch 3 is not divisible by"),
        ({"freeze_encoder": True}, "freeze_encoder needs start_from"),
        ({"model": _CAUSAL_CONV, "data.clip_frames": 6}, r"data\.clip_frames 6 is not 1 \+ k·4"),
        ({"model": _CAUSAL_CONV, "data.sizes": [[64, 60]]}, r"data\.sizes: 64×60 is no multiple of 8×8"),
        ({"model": {**_CAUSAL_CONV, "architecture": "vidtok"}}, "does not match any of the expected tags"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes, told):
    with pytest.raises(UsageError, match=told):
        _spec(**changes)


def test_a_run_may_change_what_it_runs_on_and_nothing_that_it_learns_from():
    run = run_id(_spec())
    for free in ({"compute.processes": 2}, {"log_every": 1}, {"data.workers": 0}, {"output": "elsewhere"}):
        assert run_id(_spec(**free)) == run, free
    for fixed in (
        {"seed": 1},
        {"steps": 11},
        {"global_batch": 32},
        {"data.crop_scale": [1, 1]},
        {"loss.lpips": 0},
        {"compute.precision": "bfloat16"},
    ):
        assert run_id(_spec(**fixed)) != run, fixed
    assert "workers" not in fixed_fields(_spec())["data"]


def test_the_papers_learning_rate_grows_with_the_batch():
    assert _spec(global_batch=512).peak_learning_rate == pytest.approx(4e-7 * 512)


def test_a_runs_id_is_that_of_releases_before_causal_conv():
    assert run_id(_spec()) == "aae38f608e28c1c3eaa701c02a13d3d5"


def test_a_model_of_any_size_takes_its_shapes_from_the_data():
    usual = _spec(model=_CAUSAL_CONV)
    assert (usual.sizes, usual.clip_frames, usual.least_frames) == (((128, 128),), 17, 1)
    own = _spec(**{"model": _CAUSAL_CONV, "data.sizes": [[64, 96], [96, 64]], "data.clip_frames": 5})
    assert (own.sizes, own.clip_frames) == (((64, 96), (96, 64)), 5)
    vit = _spec()
    assert (vit.sizes, vit.clip_frames, vit.least_frames) == (((128, 128),), 1, 1)
