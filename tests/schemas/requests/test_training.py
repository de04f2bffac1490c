"""The training file: what it refuses, what its example says, what a run may change when it goes on."""

from pathlib import Path

import pytest
import yaml

from bitmill.schemas.errors import UsageError
from bitmill.schemas.requests.training import TrainSpec, fixed_fields, load_train_spec, run_id

_EXAMPLE = Path("schemas/train.example.yaml")
_REQUIRED = {"version", "source", "output", "model", "steps", "global_batch"}
_INF = float("inf")
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
        (
            {"model": {**_CAUSAL_CONV, "architecture": "vidtok"}},
            r"model must be one of 'bsq-vit', 'causal-conv', not 'vidtok'\.$",
        ),
        ({"optimizer.betas": [0.9, 1.0]}, r"optimizer\.betas\.1 must be below 1"),
        ({"optimizer.betas": [-0.1, 0.9]}, r"optimizer\.betas\.0 must be at least 0"),
        ({"optimizer.learning_rate": _INF}, r"optimizer\.learning_rate must be finite"),
        ({"optimizer.muon_scale": _INF}, r"optimizer\.muon_scale must be finite"),
        ({"optimizer.clip_norm": _INF}, r"optimizer\.clip_norm must be finite"),
        ({"loss.gan.learning_rate": _INF}, r"loss\.gan\.learning_rate must be finite"),
        ({"loss.entropy.inv_temperature": _INF}, r"loss\.entropy\.inv_temperature must be finite"),
        ({"model.encoder.mlp_ratio": _INF}, r"model\.encoder\.mlp_ratio must be finite"),
        ({"model.decoder.mlp_ratio": 0.001}, r"mlp_ratio 0\.001 of width 192 leaves the MLP no features"),
        ({"seed": 1 << 64}, "seed must be at most"),
        (
            {"model.image_size_px": 24},
            r"loss\.lpips: lpips-alexnet needs frames of 31 pixels or more, not 24",
        ),
        (
            {"model.image_size_px": 2, "model.patch_size_px": 2, "loss.lpips": 0},
            r"loss\.gan\.weight: .* of 4 ",
        ),
        (
            {"model": _CAUSAL_CONV, "data.sizes": [[64, 8]], "loss.lpips": 0},
            r"loss\.gan\.weight: the discriminator needs frames of 16 pixels or more, not 8; set it to 0",
        ),
        ({"model": "small-1"}, r"model must be keys with values\.$"),
        ({"model": ["small-1"]}, r"model must be keys with values\.$"),
        ({"model": None}, r"model must be keys with values\.$"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes, told):
    with pytest.raises(UsageError, match=told):
        _spec(**changes)


def test_small_frames_are_trained_on_without_the_networks_that_need_larger_ones():
    tiny = {"model.image_size_px": 8, "loss.lpips": 0}
    assert _spec(**tiny).sizes == ((8, 8),)
    assert _spec(**{"model.image_size_px": 24, "loss.lpips_network": "lpips-vgg16"}).sizes == ((24, 24),)
    cells = {"model": _CAUSAL_CONV, "data.sizes": [[8, 8]], "loss.lpips": 0, "loss.gan.weight": 0}
    assert _spec(**cells).sizes == ((8, 8),)


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
