"""``bitmill weights import`` of Infinity: the golden bits from the published file, else a sentence."""

import json
from typing import Any

import pytest
import torch

from bitmill import load_tokenizer
from bitmill.bsq_model.importing.config_files.find_family import described_model
from bitmill.bsq_model.importing.published_models import PUBLISHED_MODELS, published_model
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.infinity.config import InfinityConfig
from bitmill.schemas.models.infinity.schedules import published_schedules
from tests.bsq_model.published.golden import INFINITY, bits_of, case, golden, published_weights
from tests.bsq_model.published.publishing import infinity_checkpoint, infinity_document, publish
from tests.jobs.commands.weights.test_import_published import FAULTS, _refused, _Runs


def test_the_published_file_gives_the_golden_bits(run, tmp_path):
    *files, option, config = publish("infinity", tmp_path)
    code, out, err = run(*files, tmp_path / "t", option, config)
    assert (code, err) == (0, "")
    assert "a token for 1×16×16 frames and pixels, 16 bits" in out
    assert "left out   2 tensors: constants" in out
    assert "were not compared with the published code's" in out
    tokenizer = load_tokenizer(tmp_path / "t")
    assert tokenizer.fingerprint == golden("infinity").fingerprint
    for item in ("short", "wide"):
        assert torch.equal(tokenizer.encode([case("infinity")[f"{item}.input"]])[0], bits_of(item))


@pytest.mark.parametrize("form", ["legacy", "bare"])
def test_other_forms_of_the_file_are_read(run, tmp_path, form):
    *files, option, config = publish("infinity", tmp_path)
    checkpoint = infinity_checkpoint(published_weights("infinity"))
    whole = checkpoint if form == "legacy" else checkpoint["vae"]
    torch.save(whole, files[0], _use_new_zipfile_serialization=form != "legacy")
    assert run(*files, tmp_path / "t", option, config)[0] == 0
    assert load_tokenizer(tmp_path / "t").fingerprint == golden("infinity").fingerprint


@pytest.mark.parametrize("fault", [*FAULTS, "projection"])
def test_a_tensor_that_is_not_right_is_named_as_in_the_file(run, tmp_path, fault):
    (path, option, config), out = publish("infinity", tmp_path), tmp_path / "t"
    weights = dict(published_weights("infinity"))
    if fault == "projection":
        told = r"quantizer\.project_in\.weight is unknown"
        weights["quantizer.project_in.weight"] = torch.ones(16, 16)
    else:
        edit, told = FAULTS[fault]
        edit(weights)
    torch.save(infinity_checkpoint(weights), path)
    _refused(run, [path, out, option, config], out, told.replace(r"\S+weight", r"\.conv\.weight"))


def test_a_name_stands_for_config_and_licence(run, tmp_path, monkeypatch):
    path, *_ = publish("infinity", tmp_path)
    published = PUBLISHED_MODELS["infinity_vae_d32reg"]
    small = type(published)(config=INFINITY, source=published.source, licence=published.licence)
    monkeypatch.setitem(PUBLISHED_MODELS, "infinity_vae_d32reg", small)
    assert run(path, tmp_path / "t", "--name", "infinity_vae_d32_reg")[0] == 0
    origin = json.loads((tmp_path / "t" / "origin.json").read_text())
    assert origin["licence"] == "MIT"
    assert "infinity_vae_d32reg.pth of FoundationVision/Infinity" in origin["origin"]
    told = r"The config does not fit .*decoder\.up\.0\.block\.0\.nin_shortcut\.conv\.bias is missing"
    _refused(run, [path, tmp_path / "u", "--name", "infinity_vae_d16"], tmp_path / "u", told)


@pytest.mark.parametrize("name", [name for name in PUBLISHED_MODELS if name.startswith("infinity")])
def test_published_arguments_are_those_of_the_name(name):
    config = published_model(name).config
    assert isinstance(config, InfinityConfig)
    assert _described(infinity_document(config)) == config
    is_patchified = name.endswith("_14_patchify")
    assert config.bits_per_token == (14 if is_patchified else int(name.removeprefix("infinity_vae_d")[:2]))
    assert config.geometry.patch_px == ((8, 8) if is_patchified else (16, 16))
    squares = "32x32" if is_patchified else "16x16"
    assert len((config.geometry.schedules or {})[squares]) == 7


def test_schedules_of_a_config_are_added_to_the_published_ones_or_replace_them():
    given = {"2x3": [[1, 1, 1], [1, 2, 3]], "16x16": [[1, 1, 1], [1, 16, 16]]}
    config = _described(infinity_document(INFINITY, scale_schedules=given))
    assert config.schedules == ("1x1 16x16", *published_schedules()[1:], "1x1 2x3")


def test_arguments_of_another_model_are_refused():
    for changes, told in (
        ({"vae_type": 32}, "codebook_dim is 16, not 32"),
        ({"codebook_size": 2**15}, "codebook_size is 32768, not 65536"),
        ({"decoder_ch_mult": [1, 1, 1, 1, 2]}, "decoder_ch_mult is"),
        ({"patch_size": 8}, "patch_size is 8, not 16"),
        ({"apply_spatial_patchify": 1}, "apply_spatial_patchify is 1, not 0"),
        ({"schedule_mode": "original"}, "schedule_mode"),
        ({"base_ch": 20}, "a multiple of 32 or of 24 channels, not 20"),
        ({"codebook_dim": 10**15}, "codebook_dim"),
        ({"more": 1}, "unknown key 'more'"),
        ({"scale_schedules": {"2x2": [[1, 1, 1], [1, 2, 3]]}}, "scale_schedules.2x2 is not of that size"),
        ({"scale_schedules": {"2x2": [[2, 2, 2]]}}, "scale_schedules"),
        ({"scale_schedules": {"2x2": []}}, "scale_schedules"),
    ):
        with pytest.raises(UsageError, match=told):
            _described(infinity_document(INFINITY, **changes))


def test_code_in_the_file_is_never_run(run, tmp_path):
    (path, option, config), marker = publish("infinity", tmp_path), tmp_path / "marker"
    checkpoint = infinity_checkpoint(published_weights("infinity"))
    torch.save(checkpoint | {"args": _Runs(marker)}, path)
    assert run(path, tmp_path / "t", option, config)[0] == 0
    assert not marker.exists()


def _described(document: dict[str, Any]) -> InfinityConfig:
    described = described_model(json.dumps(document), origin="c.json")
    assert described is not None
    assert isinstance(described.config, InfinityConfig)
    return described.config
