"""``bitmill weights import`` of published families: golden codes from published files, else a sentence."""

import copy
import json
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml
from torch import Tensor

from bitmill import load_tokenizer
from bitmill.bsq_model.importing.config_files.bsq_vit import config_from_yaml
from bitmill.bsq_model.importing.config_files.described_model import DescribedModel
from bitmill.bsq_model.importing.config_files.find_family import described_model
from bitmill.bsq_model.importing.published_models import PUBLISHED_MODELS
from bitmill.bsq_model.importing.weight_names.open_magvit2 import open_magvit2_names
from bitmill.schemas.errors import FormatError, UsageError
from bitmill.schemas.models.cosmos_config import CosmosVideoConfig
from bitmill.schemas.models.emu3_config import Emu3Config
from bitmill.schemas.models.open_magvit2_config import OpenMagvit2Config
from bitmill.schemas.models.vidtok_config import VidTokConfig
from tests.bsq_model.published.golden import CONFIGS, case, golden, indices, items, published_weights
from tests.bsq_model.published.publishing import (
    averaged,
    constants,
    cosmos_document,
    emu3_document,
    emu3_document_in_transformers,
    in_transformers,
    lightning,
    open_magvit2_document,
    publish,
    save_script,
    trained,
    vidtok_document,
)

Run = Callable[..., tuple[int, str, str]]


def _refused(run: Run, words: list[object], out: Path, told: str) -> None:
    """The command ends with one sentence, and nothing is where its output would be."""
    code, _, err = run(*words)
    assert (code, err.count("\n"), err[:7]) == (2, 1, "error: "), err
    assert re.search(told, err), err
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_published_files_give_the_golden_codes(run, tmp_path, name):
    *files, option, config = publish(name, tmp_path / "published")
    code, out, err = run(*files, tmp_path / "t", option, config)
    assert (code, err) == (0, "")
    tokenizer = load_tokenizer(tmp_path / "t")
    assert tokenizer.fingerprint == golden(name).fingerprint
    assert tokenizer.fingerprint in out
    assert "were not compared with the published code's" in out
    for item in items(name, "indices"):
        (codes,) = tokenizer.encode([case(name)[f"{item}.input"]])
        assert torch.equal(indices(codes, CONFIGS[name]), case(name)[f"{item}.indices"])


def test_what_files_have_besides_is_named(run, tmp_path):
    *files, option, config = publish("vidtok-v10", tmp_path)
    _, out, _ = run(*files, tmp_path / "v", option, config)
    assert "left out   2 tensors: training loss" in out
    assert "left out   1 tensor: weight average" in out
    *files, option, config = publish("cosmos-dv4x8x8", tmp_path)
    _, out, _ = run(*reversed(files), tmp_path / "c", option, config)
    assert "left out   16 tensors: convolutions of levels that skip them" in out
    assert "left out   10 tensors: constants" in out


@pytest.mark.parametrize("form", ["legacy", "bare", "half", "safetensors"])
def test_other_forms_of_the_file_are_read(run, tmp_path, form):
    weights = published_weights("vidtok-v10")
    *_, option, config = publish("vidtok-v10", tmp_path)
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.ckpt")
    if form == "safetensors":
        safetensors.torch.save_file(weights, path)
    elif form == "half":
        torch.save(lightning({name: tensor.half() for name, tensor in weights.items()}), path)
    else:
        torch.save(
            lightning(weights) if form == "legacy" else weights, path, _use_new_zipfile_serialization=False
        )
    code, _, err = run(path, tmp_path / "t", option, config)
    assert (code, err) == (0, "")
    same = load_tokenizer(tmp_path / "t").fingerprint == golden("vidtok-v10").fingerprint
    assert same == (form != "half")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["autoencoder", "bare", "training", "averaged", "compiled"])
def test_other_forms_of_cosmos_are_read(run, tmp_path, form):
    name = "cosmos-dv4x8x8"
    weights, (*_, option, config) = published_weights(name), publish(name, tmp_path)
    path = tmp_path / "w.jit"
    if form == "autoencoder":
        save_script(weights | constants("encoder", CONFIGS[name]) | constants("decoder", CONFIGS[name]), path)
    else:
        state = weights if form == "bare" else trained(weights, form)
        torch.save({"model": state, "optimizer": {"state": {0: torch.ones(2)}}, "iteration": 7}, path)
    code, out, err = run(path, tmp_path / "t", option, config)
    assert (code, err) == (0, "")
    assert load_tokenizer(tmp_path / "t").fingerprint == golden(name).fingerprint
    # The 16 convolutions that the network does without are averaged, too.
    raw = f"{len(weights) - 16} tensors: weights whose average is used"
    assert (raw in out) == (form == "averaged")


def test_a_weight_by_two_names_is_refused(run, tmp_path):
    weights = published_weights("cosmos-dv4x8x8")
    encoder, _, option, config = publish("cosmos-dv4x8x8", tmp_path)
    torch.save({"model": trained(weights, "training")}, tmp_path / "w.pt")
    out = tmp_path / "t"
    told = "weight is there twice, by different names"
    _refused(run, [encoder, tmp_path / "w.pt", out, option, config], out, told)
    torch.save({"model": {f"net.{name}": tensor for name, tensor in weights.items()}}, tmp_path / "w.pt")
    _refused(run, [tmp_path / "w.pt", out, option, config], out, r"net\.\S+ is unknown")


def test_the_user_may_say_that_the_tokens_were_compared(run, tmp_path):
    *files, option, config = publish("cosmos-di8x8", tmp_path)
    _, out, _ = run(*files, tmp_path / "t", option, config, "--compared")
    assert "not compared" not in out
    assert json.loads((tmp_path / "t" / "origin.json").read_text()) == {
        "format_version": 1,
        "origin": "imported from encoder.jit and decoder.jit",
        "licence": None,
        "compared": True,
    }


def test_a_name_stands_for_config_and_licence(run, tmp_path, monkeypatch):
    *files, option, config = publish("cosmos-dv4x8x8", tmp_path)
    published = PUBLISHED_MODELS["Cosmos-0.1-Tokenizer-DV4x8x8"]
    small = type(published)(
        config=CONFIGS["cosmos-dv4x8x8"], source=published.source, licence=published.licence
    )
    monkeypatch.setitem(PUBLISHED_MODELS, "Cosmos-0.1-Tokenizer-DV4x8x8", small)
    code, _, err = run(*files, tmp_path / "t", "--name", "nvidia/Cosmos-Tokenizer-DV4x8x8", option, config)
    assert (code, err) == (0, "")
    origin = json.loads((tmp_path / "t" / "origin.json").read_text())
    assert origin["licence"] == "NVIDIA Open Model License"
    assert "nvidia/Cosmos-0.1-Tokenizer-DV4x8x8 on Hugging Face" in origin["origin"]
    out = tmp_path / "none"
    _refused(run, [*files, out, "--name", "Cosmos-9"], out, "Cosmos-9 is no known model; there are vidtok")
    other = ["--name", "Cosmos-0.1-Tokenizer-DV8x8x8", option, config]
    _refused(run, [*files, out, *other], out, "does not describe Cosmos-0.1-Tokenizer-DV8x8x8")
    _refused(run, [*files, out], out, "by --config, or a published model by --name")
    _refused(run, [*files, out, *other[:2]], out, "The config does not fit .*is missing")


@pytest.mark.parametrize("name", [name for name in PUBLISHED_MODELS if name[:3] in {"vid", "Cos"}])
def test_the_table_names_the_geometry_of_each_model(name):
    geometry = PUBLISHED_MODELS[name].config.geometry
    digits = re.search(r"(\d+)x(\d+)x(\d+)|DI(\d+)x(\d+)|causal_(\d)(8|16)(8|16)_(\d+)", name)
    assert digits is not None
    *sizes, codes = (int(text) if text else None for text in digits.groups())
    told = [size for size in sizes if size is not None]
    frames = [] if "-DI" in name else [geometry.frames_per_token]
    assert told == [*frames, *geometry.patch_px]
    assert geometry.code.num_codes == (codes or 64000)


@pytest.mark.parametrize(
    ("name", "side", "num_bits"),
    [
        ("256-resolution", 16, 18),
        ("128-resolution", 8, 18),
        ("262144-Pretrain", 16, 18),
        ("16384-Pretrain", 16, 14),
    ],
)
def test_the_table_names_the_geometry_of_each_open_magvit2(name, side, num_bits):
    model = PUBLISHED_MODELS[f"Open-MAGVIT2-Tokenizer-{name}"]
    assert (model.config.geometry.patch_px, model.config.geometry.max_frames) == ((side, side), 1)
    assert (model.config.geometry.code.bits_per_token, model.averaged) == (num_bits, True)


Edit = Callable[[dict[str, Tensor]], None]


def _weight(tensors: Mapping[str, Tensor]) -> str:
    return next(name for name in tensors if "conv_in" in name and name.endswith("weight"))


def _set(change: Callable[[Tensor], Tensor]) -> Edit:
    def edit(tensors: dict[str, Tensor]) -> None:
        name = _weight(tensors)
        tensors[name] = change(tensors[name].clone())

    return edit


def _one_value(value: float) -> Edit:
    def change(tensor: Tensor) -> Tensor:
        tensor.view(-1)[3] = value
        return tensor

    return _set(change)


def _drop(tensors: dict[str, Tensor]) -> None:
    del tensors[_weight(tensors)]


FAULTS: dict[str, tuple[Edit, str]] = {
    "missing": (_drop, r"conv_in\S*weight is missing"),
    "unknown": (
        lambda tensors: tensors.update({"encoder.other.weight": torch.ones(2)}),
        r"encoder\.?other\.?weight is unknown",
    ),
    "shape": (_set(lambda tensor: tensor[:4]), r"conv_in\S*weight is \[4, .* instead of \["),
    "dtype": (
        _set(lambda tensor: tensor.long()),
        r"conv_in\S*weight contains torch\.int64 instead of floats",
    ),
    "nan": (_one_value(float("nan")), "contains values that are not finite"),
    "infinite": (_one_value(float("inf")), "contains values that are not finite"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        *(("vidtok-v11", fault) for fault in FAULTS),
        # Values are looked at in one place, for whatever file they come from; names are each family's own.
        *(
            (name, fault)
            for name in ("cosmos-dv4x8x8", "emu3", "emu3 in transformers", "open-magvit2")
            for fault in ("missing", "unknown", "shape", "nan")
        ),
    ],
)
def test_a_tensor_that_is_not_right_is_named(run, tmp_path, name, fault):
    name, _, layout = name.partition(" ")
    *files, option, config = publish(name, tmp_path / "published")
    edit, told = FAULTS[fault]
    weights = {key: tensor for key, tensor in published_weights(name).items() if "decoder" not in key}
    if name in {"vidtok-v11", "open-magvit2"}:
        weights = dict(published_weights(name))
        edit(weights)
        torch.save((averaged if name == "open-magvit2" else lightning)(weights), files[0])
    elif name == "emu3":
        weights = in_transformers(name) if layout else dict(published_weights(name))
        edit(weights)
        safetensors.torch.save_file(weights, files[0])
    else:
        weights.pop("post_quant_conv.conv3d.weight")
        weights.pop("post_quant_conv.conv3d.bias")
        edit(weights)
        save_script(weights, Path(files[0]))
    _refused(run, [*files, tmp_path / "t", option, config], tmp_path / "t", told)


class _Runs:
    """Its pickle makes a folder when a pickle module loads it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._folder),)


def _rewritten(path: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Write the archive anew, deflated, with each record as ``change`` gives it."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in records.items():
            changed = change(name, data)
            if changed is not None:
                archive.writestr(name, changed)


@pytest.mark.slow
def test_code_in_files_is_never_run(run, tmp_path):
    marker = tmp_path / "marker"
    *files, option, config = publish("vidtok-v11", tmp_path / "v")
    torch.save(lightning(published_weights("vidtok-v11")) | {"callbacks": _Runs(marker)}, files[0])
    code, _, err = run(*files, tmp_path / "t", option, config)
    assert (code, err, marker.exists()) == (0, "", False)
    encoder, decoder, option, config = publish("cosmos-dv4x8x8", tmp_path / "c")
    _rewritten(Path(encoder), lambda name, data: b"raise SystemExit" if "/code/" in name else data)
    code, _, err = run(encoder, decoder, tmp_path / "u", option, config)
    assert (code, err) == (0, "")
    assert load_tokenizer(tmp_path / "u").fingerprint == golden("cosmos-dv4x8x8").fingerprint
    harmful = pickle.dumps(_Runs(marker), protocol=2)
    _rewritten(Path(decoder), lambda name, data: harmful if name.endswith("/data.pkl") else data)
    out = tmp_path / "w"
    _refused(run, [encoder, decoder, out, option, config], out, r"decoder\.jit contains no state dict")
    assert not marker.exists()


def test_damaged_archives_are_told(run, tmp_path):
    encoder, decoder, option, config = publish("cosmos-dv4x8x8", tmp_path / "c")
    out = tmp_path / "t"
    kept = shutil.copy(encoder, tmp_path / "kept.jit")
    _rewritten(Path(encoder), lambda name, data: None if name.endswith("/data/3") else data)
    _refused(run, [encoder, decoder, out, option, config], out, "no item named .*data/3")
    Path(encoder).write_bytes(Path(kept).read_bytes()[:-500])
    _refused(run, [encoder, decoder, out, option, config], out, "its zip archive is damaged")
    _refused(run, [decoder, decoder, out, option, config], out, "name each file once")
    _refused(run, [decoder, out, option, config], out, r"encoder\.\S+ is missing")
    weights = {**published_weights("cosmos-dv4x8x8"), "quantizer._levels": torch.tensor([8, 8, 5, 6])}
    torch.save(weights, tmp_path / "w.pt")
    _refused(run, [tmp_path / "w.pt", out, option, config], out, r"_levels is \[8, 8, 5, 6\]")
    (tmp_path / "p.safetensors").write_bytes((tmp_path / "w.pt").read_bytes())
    told = "damaged or no safetensors file"
    _refused(run, [tmp_path / "p.safetensors", out, option, config], out, told)
    _refused(run, [tmp_path / "none.safetensors", out, option, config], out, "cannot be read")


def test_an_archive_whose_modules_hold_each_other_ends(run, tmp_path):
    """A pickle may name a module within itself."""
    *_, option, config = publish("cosmos-dv4x8x8", tmp_path / "c")
    loop = b"\x80\x02c__torch__\nModule\nq\x00)\x81q\x01}X\x01\x00\x00\x00ah\x01sb."
    with zipfile.ZipFile(tmp_path / "loop.jit", "w") as archive:
        archive.writestr("loop/data.pkl", loop)
        archive.writestr("loop/constants.pkl", b"")
    out = tmp_path / "t"
    _refused(run, [tmp_path / "loop.jit", out, option, config], out, "its modules hold each other")


VIDTOK_888 = VidTokConfig(version="1.1", levels=(8,) * 5, frames_per_token=8)


@pytest.mark.parametrize("text", ["[" * 100_000, "at: 2024-13-45", "vae_type: 1\nvae_type: 2"])
def test_what_is_no_yaml_is_refused_as_such(text):
    for read in (described_model, config_from_yaml):
        with pytest.raises(UsageError, match=r"^c\.yaml is not valid YAML: "):
            read(text, origin="c.yaml")


@pytest.mark.parametrize("name", ["488", "888"])
def test_a_yaml_of_other_maths_is_refused_by_its_key(name):
    config = VIDTOK_888 if name == "888" else CONFIGS["vidtok-v10"]
    assert isinstance(config, VidTokConfig)
    document = vidtok_document(config)
    assert described_model(yaml.safe_dump(document), origin="c.yaml") == DescribedModel(config=config)

    def refused(told: str, **changes: Any) -> None:
        text = yaml.safe_dump(vidtok_document(config, **changes))
        with pytest.raises(UsageError, match=told):
            described_model(text, origin="c.yaml")

    refused("double_z", double_z=True)
    refused("norm_type", norm_type="batchnorm")
    refused("unknown key .*dropout_3d", dropout_3d=True)
    refused("z_channels is 7", z_channels=7)
    refused("tempo_us is", tempo_us=[0, 1])
    refused("init_pad_mode", init_pad_mode="constant")
    refused("interpolation_mode", interpolation_mode="nearest")
    if name == "888":
        refused("interpolation_mode is None, not trilinear", interpolation_mode=None)
        refused(r"tempo_ds is \[1, 2\], not \[0, 1, 2\]", tempo_ds=None)


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("target", "vidtok.models.other.AutoencodingEngine", "model.target is vidtok.models.other"),
        ("encoder", "vidtok.modules.model_3dnoncausal.EncoderCausal3DPadding", "encoder_config.target"),
        ("regularizer", "vidtok.modules.regularizers.DiagonalGaussianRegularizer", "regularizer_config"),
    ],
)
def test_another_vidtok_is_refused(place, value, told):
    document = vidtok_document(VIDTOK_888)
    model = document["model"]
    (model if place == "target" else model["params"][f"{place}_config"])["target"] = value
    with pytest.raises(UsageError, match=told):
        described_model(yaml.safe_dump(document), origin="c.yaml")


def test_arguments_of_another_cosmos_are_refused():
    config = CosmosVideoConfig(patch_px=16, frames_per_token=8)
    assert described_model(json.dumps(cosmos_document(config)), origin="c.json") == DescribedModel(
        config=config
    )
    for changes, told in (
        ({"legacy_mode": True}, "legacy_mode"),
        ({"num_groups": 32}, "num_groups"),
        ({"name": "CV"}, "name"),
        ({"patch_method": "rearrange"}, "patch_method"),
        ({"embedding_dim": 4}, "embedding_dim is 4, but there are 6 levels"),
        ({"more": 1}, "unknown key 'more'"),
    ):
        with pytest.raises(UsageError, match=told):
            described_model(json.dumps(cosmos_document(config, **changes)), origin="c.json")
    image = json.dumps(cosmos_document(CONFIGS["cosmos-di8x8"], attn_resolutions=[128]))
    with pytest.raises(UsageError, match=r"attn_resolutions \[128\] asks for attention"):
        described_model(image, origin="c.json")


EMU3 = CONFIGS["emu3"]


def test_an_emu3_within_a_model_in_several_files_is_the_same_tokenizer(run, tmp_path):
    assert isinstance(EMU3, Emu3Config)
    weights = in_transformers("emu3", prefix="model.vqmodel.")
    half = [*weights][: len(weights) // 2]
    shards = {
        "1": {name: weights.pop(name) for name in half} | {"lm_head.weight": torch.ones(3, 2)},
        "2": weights | {"model.text_model.norm.weight": torch.ones(2).bfloat16()},
    }
    for name, shard in shards.items():
        safetensors.torch.save_file(shard, tmp_path / f"{name}.safetensors")
    files = [tmp_path / f"{name}.safetensors" for name in shards]
    document = {"model_type": "emu3", "text_config": {}, "vq_config": emu3_document_in_transformers(EMU3)}
    (tmp_path / "config.json").write_text(json.dumps(document))
    config = ["--config", tmp_path / "config.json"]
    code, out, err = run(*files, tmp_path / "t", *config)
    assert (code, err) == (0, "")
    assert golden("emu3").fingerprint in out
    assert "left out   4 tensors: counters of training batches" in out
    assert "left out   2 tensors: other parts of the model" in out
    none = tmp_path / "none"
    _refused(run, [files[0], none, *config], none, r": model\.vqmodel\.\S+ is missing")


def test_an_emu3_by_itself_in_the_layout_of_transformers_is_the_same_tokenizer(run, tmp_path):
    assert isinstance(EMU3, Emu3Config)
    safetensors.torch.save_file(in_transformers("emu3"), tmp_path / "w.safetensors")
    (tmp_path / "c.json").write_text(json.dumps(emu3_document_in_transformers(EMU3)))
    code, out, err = run(tmp_path / "w.safetensors", tmp_path / "t", "--config", tmp_path / "c.json")
    assert (code, err) == (0, "")
    assert golden("emu3").fingerprint in out


def test_a_config_of_another_emu3_is_refused():
    published = PUBLISHED_MODELS["Emu3-VisionTokenizer"].config
    assert isinstance(published, Emu3Config)
    assert published.geometry.patch_px == (8, 8)
    assert (published.geometry.frames_per_token, published.geometry.code.num_codes) == (4, 32768)
    documents = emu3_document(published), emu3_document_in_transformers(published)
    # Transformers leaves out what is as it is by default.
    for document in (*documents, {"model_type": "emu3", "vq_config": {"model_type": "emu3_vqgan"}}):
        assert described_model(json.dumps(document), origin="c.json") == DescribedModel(config=published)
    for document, told in (
        (emu3_document(published, double_z=True), "double_z"),
        (emu3_document(published, temporal_downsample_factor=2), "temporal_downsample_factor"),
        (emu3_document(published, embed_dim=8), "latents have 4 channels, but embed_dim is 8"),
        (emu3_document(published, attn_resolutions=[4]), "go beyond level 3"),
        (emu3_document(published, more=1), "unknown key 'more'"),
        (emu3_document_in_transformers(published, num_attention_heads=2), "num_attention_heads"),
        ({"model_type": "emu3", "text_config": {}}, "without a vision tokenizer: it has no vq_config"),
    ):
        with pytest.raises(UsageError, match=told):
            described_model(json.dumps(document), origin="c.json")


def test_open_magvit2s_weights_are_the_averages_unless_the_raw_ones_are_asked_for(run, tmp_path):
    path, option, config = publish("open-magvit2", tmp_path)
    code, out, err = run(path, tmp_path / "a", option, config)
    assert (code, err) == (0, "")
    assert "averaged (EMA) weights of open-magvit2: a token for 1×2×2 frames and pixels, 18 bits" in out
    assert "left out   59 tensors: raw weights, of which the averages are used" in out
    assert "left out   2 tensors: counters of the weight average" in out
    assert "left out   3 tensors: training loss" in out
    code, out, _ = run(path, tmp_path / "r", option, config, "--no-ema")
    assert (code, "raw weights of open-magvit2" in out) == (0, True)
    assert "left out   59 tensors: weight average" in out
    raw = copy.deepcopy(golden("open-magvit2"))
    with torch.no_grad():
        for weight in raw.network.parameters():
            weight.neg_()
    assert load_tokenizer(tmp_path / "r").fingerprint == raw.fingerprint
    torch.save(lightning(published_weights("open-magvit2")), path)
    told = r"model_ema\.decoderadaptive0betabias, and 58 more, is missing: .* use the raw ones by --no-ema"
    _refused(run, [path, tmp_path / "t", option, config], tmp_path / "t", told)
    *files, option, config = publish("vidtok-v10", tmp_path / "v")
    told = "The vidtok uses no averaged weights"
    _refused(run, [*files, tmp_path / "t", option, config, "--no-ema"], tmp_path / "t", told)


def test_averages_that_may_be_of_two_weights_are_refused():
    with pytest.raises(FormatError, match=r"model_ema\.ab may be the average of a\.b or of ab"):
        open_magvit2_names(["model_ema.ab"], ["a.b", "ab"], "w.ckpt", averaged=True)


@pytest.mark.parametrize("module", ["src.Open_MAGVIT2", "OpenImageTokenizer.Open_MAGVIT2"])
def test_a_yaml_of_another_open_magvit2_is_refused_by_its_key(module):
    config = OpenMagvit2Config(bits_per_token=14)

    def described(class_name: str = "lfqgan_pretrain.VQModel", **changes: Any) -> DescribedModel | None:
        document = open_magvit2_document(config, **changes)
        document["model"]["class_path"] = f"{module}.models.{class_name}"
        return described_model(yaml.safe_dump(document), origin="c.yaml")

    assert described(use_shared_epoch=True) == DescribedModel(config=config, averaged=True)
    assert described(use_ema=False) == DescribedModel(config=config)
    for class_name, changes, told in (
        ("video_lfqgan.VQModel", {}, r"its class_path is \S+video_lfqgan\.VQModel; of this project"),
        ("lfqgan.VQModel", {"n_embed": 16383}, "n_embed is 16383, embed_dim 14 and z_channels 14"),
        ("lfqgan.VQModel", {"stage": "transformer"}, "unknown key .*stage"),
        ("lfqgan.VQModel", {"use_ema": "maybe"}, "use_ema"),
    ):
        with pytest.raises(UsageError, match=told):
            described(class_name, **changes)
