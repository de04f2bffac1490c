"""Plugins as installed packages offer them: found by name, made with options, and held to their geometry."""

from pathlib import Path

import pytest
import torch

from bitmill.bsq_model.contract import decode_clips, decodes_scales
from bitmill.bsq_model.families import load_files
from bitmill.bsq_model.plugins import PluginTokenizer, installed_plugins, load_plugin
from bitmill.jobs.preparation.models.find_tokenizers import load_tokenizer_spec
from bitmill.schemas.errors import (
    BadJobError,
    BrokenContractError,
    MissingPluginError,
    TokenizerMismatchError,
    UsageError,
)
from bitmill.schemas.requests.job import TokenizerSpec, load_job
from tests.support.counting_tokenizers import PYRAMID, CountingTokenizer
from tests.support.pyramid_tokenizers import TRANSPOSED, ColourPyramid
from tests.support.toys import install_toys


@pytest.fixture(autouse=True)
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy package, installed for this process."""
    folder = install_toys(tmp_path / "toys")
    monkeypatch.syspath_prepend(str(folder))
    return folder


def _picture(size_px: int = 32) -> torch.Tensor:
    return torch.arange(size_px * size_px * 3).remainder(256).to(torch.uint8).view(1, size_px, size_px, 3)


def test_a_plugin_is_loaded_by_its_name_and_options():
    assert installed_plugins()["toy-video"] == "bitmill-toys 1.0"
    tokenizer = load_plugin("toy-video", {"seed": 3})
    assert (tokenizer.config.package, tokenizer.config.options) == ("bitmill-toys 1.0", {"seed": 3})
    assert tokenizer.fingerprint != load_plugin("toy-video", {}).fingerprint
    assert tokenizer.origin is not None
    assert tokenizer.origin.licence == "CC0-1.0"
    assert tokenizer.to(device="cpu", dtype=torch.float32).device == torch.device("cpu")
    (codes,) = tokenizer.encode([_picture()])
    assert tokenizer.decode([codes])[0].shape == (1, 32, 32, 3)


def test_its_files_name_it_and_make_it_again():
    loaded = load_tokenizer_spec(TokenizerSpec(plugin="toy-video", options={"seed": 3}))
    assert sorted(loaded.files) == ["config.json", "origin.json"]
    again = load_files(loaded.files)
    assert isinstance(again, PluginTokenizer)
    assert (again.fingerprint, again.geometry) == (loaded.fingerprint, loaded.geometry)
    with pytest.raises(UsageError, match="needs a tokenizer of bitmill's own family BSQ-ViT"):
        loaded.bsq_vit()


def test_files_of_another_version_of_the_package_are_not_taken_for_this_one():
    loaded = load_tokenizer_spec(TokenizerSpec(plugin="toy-image"))
    other = loaded.files["config.json"].replace(loaded.fingerprint.encode(), b"0" * 32)
    with pytest.raises(
        TokenizerMismatchError, match=r"'toy-image' \(bitmill-toys 1\.0\) makes the tokenizer"
    ):
        load_files({"config.json": other})


def test_what_is_not_installed_is_named_with_its_package(toys, monkeypatch):
    files = load_tokenizer_spec(TokenizerSpec(plugin="toy-image")).files
    monkeypatch.undo()
    with pytest.raises(
        MissingPluginError, match=r"'toy-image' is not installed here: install bitmill-toys 1\.0"
    ):
        load_files(files)
    with pytest.raises(MissingPluginError, match="install the package that offers it, on every machine"):
        load_plugin("toy-image", {})


def test_two_packages_of_one_name_are_refused(tmp_path, monkeypatch):
    info = tmp_path / "more" / "other_toys-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-toys\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[bitmill.tokenizers]\ntoy-video = other:Other\n")
    monkeypatch.syspath_prepend(str(info.parent))
    with pytest.raises(UsageError, match=r"offered by other-toys 2\.0 and bitmill-toys 1\.0; uninstall one"):
        load_plugin("toy-video", {})


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("toy-video", {"sead": 1}, r"made with its options: TypeError: .*unexpected keyword argument 'sead'"),
        (
            "broken-options",
            {"levels": 3},
            "'broken-options' cannot be made .*: ValueError: levels must be 10",
        ),
        ("broken-import", {}, r"\(bitmill-toys 1\.0\) does not load: ModuleNotFoundError"),
        ("broken-geometry", {}, "'broken-geometry' has no geometry: ValueError: size must be 4 at least"),
    ],
)
def test_a_plugin_that_cannot_be_made_is_one_sentence(name, options, sentence):
    with pytest.raises(UsageError, match=sentence) as raised:
        load_plugin(name, options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("broken-shape", r"'broken-shape' breaks its contract: codes are torch\.int64 \[2, 2, 2, 1\], not"),
        ("broken-range", r"'broken-range' breaks its contract: a code lies outside \[0, 1000\)"),
        ("broken-dtype", r"'broken-dtype' breaks its contract: codes are torch\.float32"),
        ("broken-nan", "'broken-nan' breaks its contract: a code lies outside"),
        ("broken-encode", "'broken-encode' failed to encode: RuntimeError: mat1 and mat2 shapes cannot"),
    ],
)
def test_a_fault_of_a_call_names_the_plugin_and_the_cause(name, sentence):
    with pytest.raises(BrokenContractError, match=sentence) as raised:
        load_plugin(name, {}).encode([_picture()])
    assert "\n" not in str(raised.value)


def test_what_a_plugin_itself_refuses_is_told_with_its_name():
    tokenizer = load_plugin("toy-video", {})
    tokenizer.inner.weight.fill_(torch.nan)  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="'toy-video' failed to encode: a latent is not finite"):
        tokenizer.encode([_picture()])
    with pytest.raises(UsageError, match=r"'toy-video' cannot compute on cpu in torch\.bfloat16: toy-video"):
        tokenizer.to(device="cpu", dtype=torch.bfloat16)


@pytest.mark.parametrize("text", ["{since: 2020-01-01}", "{x: [.nan]}", "{x: {2: b}}"])
def test_options_that_no_file_could_hold_are_refused(text):
    with pytest.raises(BadJobError, match=r"tokenizer\.options: options must be JSON"):
        load_job(
            f"version: 1\nsource: {{paths: [a]}}\noutput: b\ntokenizer: {{plugin: p, options: {text}}}\n",
            origin="the job",
        )


class _Otherwise:
    """A toy whose answers are given."""

    def __init__(self, encoded: object = None, decoded: object = None) -> None:
        inner = load_plugin("toy-image", {})
        self.geometry, self.fingerprint = inner.geometry, inner.fingerprint
        self.to = inner.to
        self.encode = lambda clips: encoded
        self.decode = lambda codes: decoded


def test_answers_that_are_no_list_of_as_many_tensors_are_refused():
    for answer in (None, [], [1], torch.zeros(1)):
        tokenizer = PluginTokenizer(_Otherwise(answer, answer), name="odd", options={}, package=None)  # type: ignore[arg-type]
        for call in (tokenizer.encode, tokenizer.decode):
            with pytest.raises(BrokenContractError, match="'odd' did not return a list of 1 tensors"):
                call([_picture()])


def test_a_pyramid_is_decoded_by_its_grid_where_others_have_as_many_tokens():
    tokenizer = PluginTokenizer(ColourPyramid(), name="colours", options={}, package=None)  # type: ignore[arg-type]
    assert decodes_scales(tokenizer)
    clips = [torch.zeros(1, *size, 3, dtype=torch.uint8) for size in ((16, 32), (32, 16))]
    clips[0][:, :, 16:] = 255
    clips[1][:, 16:] = 255
    codes, grids = tokenizer.encode(clips), [(1, 2, 4), (1, 4, 2)]
    assert codes[0].shape == codes[1].shape
    decoded = decode_clips(tokenizer, codes, grids)
    assert torch.equal(decoded[0], decoded[1].transpose(1, 2))
    assert decoded[0][0, :, 0].max() < 100 < 150 < decoded[0][0, :, -1].min()


def test_a_pyramid_plugin_without_grids_decodes_where_the_number_of_tokens_tells_them():
    plain = CountingTokenizer(PYRAMID)
    tokenizer = PluginTokenizer(plain, name="counts", options={}, package=None)
    assert not decodes_scales(tokenizer)
    codes = tokenizer.encode([_picture()])
    assert torch.equal(decode_clips(tokenizer, codes, [(1, 2, 2)])[0], plain.decode(codes)[0])
    with pytest.raises(
        UsageError, match=r"'counts' failed to decode: without decode_pyramids, it decodes pyr"
    ):
        decode_clips(tokenizer, [codes[0][:1]], [(1, 2, 2)])
    plain.geometry = tokenizer.geometry = TRANSPOSED
    with pytest.raises(UsageError, match="the pyramids of 2x4 and 4x2 have 11 tokens each, so that it needs"):
        decode_clips(tokenizer, [torch.zeros(11, 6, dtype=torch.bool)], [(1, 2, 4)])


def test_decoded_pixels_that_cannot_be_the_pyramids_are_refused():
    for pixels, sentence in (
        (torch.zeros(1, 16, 32, 3), r"not torch\.float32 \[1, 32, 32, 3\]"),
        (torch.full((1, 32, 32, 3), torch.nan), r"a decoded pixel lies outside"),
    ):
        inner = ColourPyramid()
        inner.decode_pyramids = lambda *_, pixels=pixels: [pixels]  # type: ignore[method-assign]
        tokenizer = PluginTokenizer(inner, name="odd", options={}, package=None)  # type: ignore[arg-type]
        with pytest.raises(BrokenContractError, match=sentence):
            decode_clips(tokenizer, tokenizer.encode([_picture()]), [(1, 4, 4)])


def test_decoded_frames_of_another_size_are_refused():
    tokenizer = PluginTokenizer(
        _Otherwise(decoded=[torch.zeros(1, 16, 16, 3, dtype=torch.uint8)]),  # type: ignore[arg-type]
        name="odd",
        options={},
        package=None,
    )
    with pytest.raises(BrokenContractError, match=r"not uint8 \[1, 32, 32, 3\]"):
        tokenizer.decode([torch.zeros(1, 2, 2, 1, dtype=torch.int64)])
