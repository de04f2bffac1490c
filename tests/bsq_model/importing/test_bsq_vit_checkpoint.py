"""Published checkpoints: the same model in every intermediate, each fault by its name, nothing executed."""

import argparse
import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.bsq_model.importing.bsq_vit_checkpoint import import_checkpoint
from bitmill.bsq_model.importing.config_files.bsq_vit import config_from_yaml
from bitmill.bsq_model.importing.torch_files import read_checkpoint
from bitmill.bsq_model.layers import vit as vit_module
from bitmill.schemas.errors import BitmillError, FormatError, UsageError
from tests.bsq_model import published_bsq_vit as pub

IMAGE = pub.document(18, pub.vit(16, 2, 2, frames=1))
VIDEO = pub.document(36, pub.vit(16, 2, 2, frames=3), pub.vit(24, 3, 3, frames=3, ratio=2.0))
WIDE_IMAGE = pub.document(36, pub.vit(16, 1, 2, frames=1), pub.vit(24, 2, 3, frames=1))
VIDEO_18 = pub.document(18, pub.vit(16, 2, 2, frames=3))


def _config(document):
    return config_from_yaml(pub.yaml_text(document), origin="config.yaml")


def _save(path: Path, whole, *, as_zip: bool = True) -> Path:
    torch.save(whole, path, _use_new_zipfile_serialization=as_zip)
    return path


def _file(tmp_path: Path, document, *, as_zip: bool = True, **changes) -> Path:
    whole = pub.checkpoint(pub.state_dict(document, 1), pub.state_dict(document, 0), document) | changes
    return _save(tmp_path / "checkpoint.pt", whole, as_zip=as_zip)


@pytest.mark.parametrize("as_zip", [True, False])
@pytest.mark.parametrize("document", [IMAGE, WIDE_IMAGE, VIDEO_18, VIDEO])
def test_every_intermediate_is_the_published_models(tmp_path, monkeypatch, document, as_zip):
    imported = import_checkpoint(_file(tmp_path, document, as_zip=as_zip), _config(document))
    tokenizer = imported.tokenizer
    assert imported.which == "ema"
    frames = tokenizer.config.num_frames
    clip = torch.randint(
        0, 256, (frames, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(7)
    )
    expected = pub.trace(pub.state_dict(document, 0), document, clip)

    outputs = []
    finish = vit_module.Block.finish
    monkeypatch.setattr(
        vit_module.Block, "finish", lambda self, *x: outputs.append(finish(self, *x)) or outputs[-1]
    )
    with torch.no_grad():
        made = tokenizer(clip[None].float() / 127.5 - 1)
    names = [name for name in expected if name[0] in "ed" and name[-1].isdigit()]
    assert len(outputs) == len(names)
    for name, output in zip(names, outputs, strict=True):
        assert torch.allclose(output[0].double(), expected[name], atol=2e-4), name
    assert torch.allclose(made.v_BThwL.flatten(0, 3).double(), expected["v"], atol=2e-4)
    bits = tokenizer.encode([clip])[0].flatten(0, 2)
    sure = expected["v"].abs() > 1e-3
    assert torch.equal(bits[sure], expected["bits"][sure])
    assert sure.float().mean() > 0.99


@pytest.mark.parametrize("document", [IMAGE, VIDEO])
def test_pixels_of_the_same_bits_are_the_published_models(tmp_path, document):
    tokenizer = import_checkpoint(_file(tmp_path, document), _config(document)).tokenizer
    clip = torch.randint(0, 256, (tokenizer.config.num_frames, 16, 16, 3), dtype=torch.uint8)
    expected = pub.trace(pub.state_dict(document, 0), document, clip)
    bits = expected["bits"].unflatten(0, (len(clip), 2, 2))
    pixels = tokenizer.decode_pixels([bits])[0]
    patches = expected["values"].unflatten(0, (len(clip), 4)).transpose(1, 2)
    folded = torch.nn.functional.fold(patches, (16, 16), 8, stride=8).permute(0, 2, 3, 1)
    assert torch.allclose(pixels.double(), folded.clamp(-1, 1), atol=2e-4)


def test_logit_laplace_takes_twice_the_values(tmp_path):
    document = pub.document(18, pub.vit(16, 1, 2, frames=1), logit_laplace=True)
    tokenizer = import_checkpoint(_file(tmp_path, document), _config(document)).tokenizer
    assert tokenizer.config.output == "logit-laplace"
    assert tokenizer.decoder.head[2].weight.shape == (384, 24)


@pytest.mark.parametrize("before", ["module.", "", "_orig_mod.", "module._orig_mod."])
def test_it_does_not_matter_how_the_model_was_wrapped(tmp_path, before):
    raw = pub.state_dict(IMAGE, 1)
    whole = pub.checkpoint(raw, None, IMAGE, before)
    imported = import_checkpoint(_save(tmp_path / "c.pt", whole), _config(IMAGE))
    assert imported.which == "raw"
    assert torch.equal(imported.tokenizer.encoder.head.weight, raw["quant_embed.weight"])


def test_a_bare_state_dict_and_raw_weights_on_request(tmp_path):
    raw = pub.state_dict(IMAGE, 1)
    bare = import_checkpoint(_save(tmp_path / "c.pt", raw), _config(IMAGE))
    asked = import_checkpoint(_file(tmp_path, IMAGE), _config(IMAGE), prefer_ema=False)
    for imported in (bare, asked):
        assert imported.which == "raw"
        assert torch.equal(imported.tokenizer.decoder.embed.bias, raw["post_quant_embed.bias"])


def _changed(tmp_path, change) -> Path:
    weights = pub.state_dict(IMAGE)
    change(weights)
    return _save(tmp_path / "c.pt", weights)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: w.pop("encoder.ln_pre.bias"), r"encoder\.ln_pre\.bias is missing"),
        (lambda w: w.update({"lpips.weight": torch.ones(1)}), r"lpips\.weight is unknown"),
        (
            lambda w: w.update({"quant_embed.bias": torch.ones(9)}),
            r"quant_embed\.bias is \[9\] instead of \[18\]",
        ),
        (
            lambda w: w["decoder.ffn.0.bias"].fill_(float("nan")),
            r"decoder\.ffn\.0\.bias contains values that are not",
        ),
        (lambda w: w.update({"quantize.basis": torch.arange(18)}), r"quantize\.basis is not powers of two"),
        (
            lambda w: w.update({"quant_embed.bias": torch.ones(18).int()}),
            r"quant_embed\.bias contains torch\.int32",
        ),
        (
            lambda w: w.update({"module.quant_embed.bias": torch.ones(18)}),
            r"contains quant_embed\.bias twice",
        ),
    ],
)
def test_every_tensor_is_accounted_for(tmp_path, change, told):
    with pytest.raises(FormatError, match=told):
        import_checkpoint(_changed(tmp_path, change), _config(IMAGE))


def test_another_image_size_than_the_configs_is_a_misshapen_table(tmp_path):
    larger = pub.document(18, pub.vit(16, 2, 2, frames=1, size=24))
    with pytest.raises(FormatError, match=r"positional_embedding is \[4, 16\] instead of \[9, 16\]"):
        import_checkpoint(_file(tmp_path, IMAGE), _config(larger))


def test_an_image_checkpoint_makes_a_video_model_only_when_asked(tmp_path):
    path = _file(tmp_path, IMAGE)
    with pytest.raises(UsageError, match="--image-as-video"):
        import_checkpoint(path, _config(VIDEO_18))
    tokenizer = import_checkpoint(path, _config(VIDEO_18), image_as_video=True).tokenizer
    image = import_checkpoint(path, _config(IMAGE)).tokenizer
    assert tokenizer.config.num_frames == 3
    assert not tokenizer.encoder.temporal_positions.any()
    frame = torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8)
    assert torch.equal(tokenizer.encode([frame])[0], image.encode([frame])[0])


def test_weights_of_half_precision_become_float32(tmp_path):
    half = {n: w.half() if w.is_floating_point() else w for n, w in pub.state_dict(IMAGE).items()}
    tokenizer = import_checkpoint(_save(tmp_path / "c.pt", half), _config(IMAGE)).tokenizer
    assert tokenizer.encoder.head.weight.dtype == torch.float32
    assert torch.equal(tokenizer.encoder.head.weight, half["quant_embed.weight"].float())


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("model", "params", "l2_norm"), False, r"model\.params\.l2_norm is False, not True"),
        (("model", "params", "post_q_l2_norm"), False, "post_q_l2_norm"),
        (("data", "zero_mean"), False, r"data\.zero_mean"),
        (("model", "params", "vitconfig", "ln_pre"), False, r"vitconfig\.ln_pre"),
        (("model", "params", "vitconfig", "use_ffn_output"), False, "use_ffn_output"),
        (("model", "params", "vitconfig", "mask_type"), "causal", "mask_type is causal"),
        (("model", "params", "vitconfig", "mask_block_size"), 7, "mask_block_size is 7"),
        (("model", "params", "vitconfig", "width"), "wide", r"vitconfig\.width"),
        (("model", "params"), None, r"model\.params"),
    ],
)
def test_a_config_of_other_maths_is_refused_by_its_key(path, value, told):
    document = yaml.safe_load(pub.yaml_text(VIDEO_18))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(UsageError, match=told):
        config_from_yaml(yaml.safe_dump(document), origin="config.yaml")


def test_video_without_a_mask_is_full_attention():
    document = pub.document(18, pub.vit(16, 2, 2, frames=3) | {"mask_type": "none"})
    assert _config(document).attention == "full"


class _Evil:
    """Pickles as a call that leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (_leave_mark, (str(self.mark),))


def _leave_mark(path: str) -> str:
    Path(path).write_text("ran")
    return "ran"


class _EvilState(argparse.Namespace):
    def __setstate__(self, state) -> None:
        Path(state["mark"]).write_text("ran")

    def __getstate__(self):
        return {"mark": self.__dict__["mark"]}


@pytest.mark.parametrize("as_zip", [True, False])
@pytest.mark.parametrize(
    "entry", ["iter", "ema_state_dict", "optimizer_generator", "scaler", "config", "args", "best_fid", "new"]
)
def test_a_pickle_that_would_run_code_in_any_entry_runs_nothing(tmp_path, entry, as_zip):
    mark = tmp_path / "mark"
    evil = {"a": [_Evil(mark), {_Evil(mark): 1}], "b": _EvilState(mark=str(mark))}
    path = _file(tmp_path, IMAGE, as_zip=as_zip, **{entry: evil})
    if entry == "ema_state_dict":
        with pytest.raises(FormatError, match="is not a tensor"):
            import_checkpoint(path, _config(IMAGE))
    else:
        import_checkpoint(path, _config(IMAGE))
    assert not mark.exists()
    assert torch.load(path, weights_only=False)["iter"] is not None
    assert mark.exists(), "the file was harmless, so the test proved nothing"


_OPCODE_BOMBS = {
    "os.system": b"cos\nsystem\n(S'touch MARK'\ntR.",
    "exec": b'c__builtin__\nexec\n(S\'open("MARK", "w")\'\ntR.',
    "inst": b"(S'touch MARK'\nios\nsystem\n.",
    "extension": b"\x82\x01.",
    "memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "deep": b"(" * 100000 + b".",
    "empty": b"",
    "key of tuples": b"\x80\x02}K\x01" + b"\x85" * 1_000_000 + b"K\x01s.",
    "key of some tuples": b"\x80\x02}K\x01" + b"\x85" * 9_000 + b"K\x01s.",
    "key of doubled tuples": b"\x80\x02})" + b"2\x86" * 60 + b"K\x01s.",
    "long": b"\x80\x02\x8b\xff\xff\xff\x7f.",
}


@pytest.mark.parametrize("name", _OPCODE_BOMBS)
def test_hostile_opcodes_are_inert_or_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("c.pt", "w") as archive:
        archive.writestr("archive/data.pkl", _OPCODE_BOMBS[name])
    with pytest.raises(FormatError):
        import_checkpoint(Path("c.pt"), _config(IMAGE))
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


def test_many_tuples_beside_each_other_are_no_bomb(tmp_path):
    path = _file(tmp_path, IMAGE, splits=tuple((start, start + 1) for start in range(20_000)))
    import_checkpoint(path, _config(IMAGE))


class _Hostile:
    """A tensor's call with chosen arguments over a storage of four floats."""

    def __init__(self, offset, shape, stride) -> None:
        self.arguments = (offset, shape, stride)

    def __reduce__(self):
        return (torch._utils._rebuild_tensor_v2, (_StorageMark(), *self.arguments, False, {}))


class _StorageMark:
    pass


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return ("storage", torch.FloatStorage, "0", "cpu", 4) if isinstance(obj, _StorageMark) else None


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [
        (0, (5,), (1,)),
        (1, (4,), (1,)),
        (-1, (1,), (1,)),
        (0, (2, 2), (3, 1)),
        (0, (10**9,), (0,)),
        (0, (2,), (2**62,)),
    ],
)
def test_a_tensor_cannot_reach_beyond_its_storage(tmp_path, offset, shape, stride):
    buffer = io.BytesIO()
    _Pickler(buffer, 2).dump({"w": _Hostile(offset, shape, stride)})
    with zipfile.ZipFile(tmp_path / "c.pt", "w") as archive:
        archive.writestr("archive/data.pkl", buffer.getvalue())
        archive.writestr("archive/data/0", b"\0" * 16)
    with pytest.raises(FormatError):
        read_checkpoint(tmp_path / "c.pt")


def test_a_storage_of_another_size_than_told_or_compressed_is_refused(tmp_path):
    buffer = io.BytesIO()
    _Pickler(buffer, 2).dump({"w": _Hostile(0, (4,), (1,))})
    for data, compression in ((b"\0" * 12, zipfile.ZIP_STORED), (b"\0" * 16, zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(tmp_path / "c.pt", "w") as archive:
            archive.writestr("archive/data.pkl", buffer.getvalue())
            archive.writestr("archive/data/0", data, compression)
        with pytest.raises(FormatError, match="data/0"):
            read_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize("record", ["data.pkl", "data/0", "extra"])
def test_an_archive_that_unpacks_to_much_more_is_refused(tmp_path, record):
    with zipfile.ZipFile(tmp_path / "c.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in {"data.pkl", "constants.pkl", record}:
            archive.writestr(f"archive/{name}", b"\0" * (1 << 20 if name == record else 1))
    with pytest.raises(FormatError, match="its records are compressed far more than weights can be"):
        read_checkpoint(tmp_path / "c.pt")


@pytest.mark.slow
@pytest.mark.parametrize("as_zip", [True, False])
@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_told_wherever_it_ends(tmp_path_factory, as_zip, share):
    tmp_path = tmp_path_factory.mktemp("cut")
    path = _save(tmp_path / "c.pt", pub.state_dict(IMAGE), as_zip=as_zip)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(FormatError):
        import_checkpoint(path, _config(IMAGE))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[bool, bytes]:
    """A checkpoint's bytes, as a zip file and as what came before it."""
    return {
        as_zip: _file(tmp_path_factory.mktemp("whole"), IMAGE, as_zip=as_zip).read_bytes()
        for as_zip in (True, False)
    }


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 10**6), value=st.integers(0, 255), as_zip=st.booleans())
def test_a_damaged_byte_is_never_more_than_an_error(tmp_path_factory, whole, place, value, as_zip):
    path = tmp_path_factory.mktemp("damaged") / "checkpoint.pt"
    data = bytearray(whole[as_zip])
    data[place % len(data)] = value
    path.write_bytes(bytes(data))
    try:
        import_checkpoint(path, _config(IMAGE))
    except BitmillError as error:
        assert str(path) in str(error)  # noqa: PT017 - no error is as good


_LOCAL_NAME, _LISTED_FLAGS, _LISTED_METHOD, _LISTED_NAME = 30, 8, 10, 46
"""Places in a zip file's headers, of which one stands before each record and one in the list at the end."""


@pytest.mark.parametrize("records", ["/data.pkl", "/data/"])
@pytest.mark.parametrize(
    ("place", "value"), [(_LOCAL_NAME, 0x80), (_LISTED_FLAGS, 1), (_LISTED_FLAGS, 0x20), (_LISTED_METHOD, 8)]
)
def test_whatever_a_damaged_header_makes_of_a_record_is_told(tmp_path, records, place, value):
    """A name that is no text; one that is encrypted, patched, or compressed."""
    path = _file(tmp_path, IMAGE)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        at = archive.start_dir
        for info in archive.infolist():
            if records in info.filename:
                data[(info.header_offset if place == _LOCAL_NAME else at) + place] = value
            at += _LISTED_NAME + len(info.orig_filename) + len(info.extra) + len(info.comment)
    path.write_bytes(bytes(data))
    with pytest.raises(FormatError, match=r"checkpoint\.pt is damaged"):
        import_checkpoint(path, _config(IMAGE))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello", pickle.dumps({"a": 1})])
def test_what_is_no_checkpoint_says_so(tmp_path, content):
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(FormatError, match="damaged or not a torch checkpoint"):
        read_checkpoint(tmp_path / "c.pt")
    with pytest.raises(UsageError, match=r"The checkpoint .* does not exist"):
        read_checkpoint(tmp_path / "none.pt")
