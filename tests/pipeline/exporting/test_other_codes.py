"""Tokens that are no bits, or wider than any integer, or pyramids: every format gives all of them."""

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset

from bitmill.pipeline.exporting import export_dataset
from bitmill.pipeline.exporting.formats.exported_clip import TokenLayout
from bitmill.schemas.dataset.packing import pack_codes, unpack_unsigned
from bitmill.schemas.reports.export_inventory import INVENTORY_FILE, ExportFormat, read_inventory
from tests.support.other_tokens import GEOMETRIES, SHAPES, write_other_dataset
from tests.support.random_datasets import write_dataset


def _export(tmp_path, geometry, export_format):
    codes = write_other_dataset(str(tmp_path / "tokens"), geometry)
    export_dataset(
        str(tmp_path / "tokens"), str(tmp_path / "out"), export_format=export_format, max_bytes=1 << 20
    )
    return tmp_path / "out", codes


def _as_codes(tokens, geometry):
    """The codes [N, D] of an exported array, by docs/export.md alone."""
    code = geometry.code
    if code.bits_per_token > 64:
        assert tokens.dtype == np.uint8
        bits = np.unpackbits(tokens, axis=-1, bitorder="little")[..., : code.bits_per_token]
        return (bits if code.first == "least" else bits[..., ::-1]).reshape(-1, code.bits_per_token)
    digits, number = [], tokens.astype(np.int64)
    for base in code.bases:
        digits.append(number % base)
        number = number // base
    return np.stack(digits, -1).reshape(-1, len(digits))


def _shape(geometry, shape):
    tokens = shape if geometry.layout == "grid" else (geometry.num_tokens(shape),)
    return tokens if geometry.code.bits_per_token <= 64 else (*tokens, 16)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_webdataset_gives_every_token(tmp_path, name):
    geometry = GEOMETRIES[name]
    out, codes = _export(tmp_path, geometry, ExportFormat.WEBDATASET)
    tars = [str(path) for path in out.glob("*.tar")]
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode())
    for sample, expected, shape in zip(samples, codes, SHAPES, strict=True):
        assert sample["npy"].shape == _shape(geometry, shape)
        assert np.array_equal(_as_codes(sample["npy"], geometry), expected)
        assert sample["json"]["num_real_frames"] == shape[0] + 1
        assert sample["json"]["context_start_ns"] is None


@pytest.mark.parametrize("name", GEOMETRIES)
def test_flat_files_give_every_token(tmp_path, name):
    geometry = GEOMETRIES[name]
    out, codes = _export(tmp_path, geometry, ExportFormat.BIN)
    metadata = json.loads((out / "metadata.json").read_text())
    code = geometry.code
    assert metadata["geometry"]["code"]["kind"] == code.kind
    assert metadata["vocab_size"] == (code.num_codes if code.num_codes <= 2**64 else None)
    values = metadata["values_per_token"]
    flat = np.fromfile(out / "tokens-00000.bin", metadata["token_dtype"]).reshape(-1, values)
    for row, expected, shape in zip(
        pq.read_table(out / "index.parquet").to_pylist(), codes, SHAPES, strict=True
    ):
        tokens = flat[row["first_token"] :][: row["num_tokens"]].reshape(_shape(geometry, shape))
        assert np.array_equal(_as_codes(tokens, geometry), expected)
    segments = np.fromfile(out / "segment_ids.bin", np.int32)
    assert segments.tolist() == [0, 0, 0, 1, 2, 2]


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.usefixtures("hub_cache")
def test_load_dataset_gives_every_token(tmp_path, name):
    import datasets

    geometry = GEOMETRIES[name]
    out, codes = _export(tmp_path, geometry, ExportFormat.HUGGINGFACE)
    loaded = datasets.load_dataset(str(out), split="train")
    for row, expected, shape in zip(loaded, codes, SHAPES, strict=True):
        bits = geometry.code.bits_per_token
        dtype = np.uint8 if bits > 64 else np.uint64 if bits == 64 else np.int64
        tokens = np.array(row["tokens"], dtype)
        assert tokens.shape == _shape(geometry, shape)
        assert np.array_equal(_as_codes(tokens, geometry), expected)
    text = (out / "README.md").read_text()
    told = {
        "digits": "indices in [0, 64000), [T, h, w] = [any, any, any]; a token stands for a patch of 8×16\n"
        "pixels of 4 frames. An index is digits of the bases 8, 8, 8, 5, 5, 5, of which digit 0 is the least",
        "index": "uint16 indices in [0, 16384)",
        "wide": "the 16 bytes (uint8, the lowest first) of indices in [0, 2^128), [T, h, w, 16] = [any, ",
        "pyramid": "uint16 indices in [0, 4096), [N] = [any]",
        "wide pyramid": "uint64 indices in [0, 2^64), [N] = [any]",
    }
    assert told[name] in text
    assert ("schedules" in text) == (geometry.layout == "pyramid")


@pytest.mark.parametrize("name", ["pyramid", "wide pyramid"])
@pytest.mark.usefixtures("hub_cache")
def test_the_readme_cuts_a_pyramid_into_its_scales(tmp_path, name):
    geometry = GEOMETRIES[name]
    out, codes = _export(tmp_path, geometry, ExportFormat.HUGGINGFACE)
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL):
        exec(block.replace("FOLDER", str(out)), names)
    assert [tuple(scale.shape) for scale in names["scales"]] == list(geometry.scales(SHAPES[0]))
    joined = np.concatenate([scale.numpy().reshape(-1) for scale in names["scales"]])
    assert np.array_equal(_as_codes(joined, geometry), codes[0])


@pytest.mark.usefixtures("hub_cache")
def test_clips_of_one_shape_are_arrays_of_four_dimensions(tmp_path):
    import datasets

    geometry = GEOMETRIES["wide"]
    codes = write_other_dataset(str(tmp_path / "tokens"), geometry, shapes=[(2, 2, 3), (1, 2, 3)])
    export_dataset(
        str(tmp_path / "tokens"),
        str(tmp_path / "out"),
        export_format=ExportFormat.HUGGINGFACE,
        max_bytes=1 << 20,
    )
    loaded = datasets.load_dataset(str(tmp_path / "out"), split="train")
    assert loaded.features["tokens"] == datasets.Array4D(shape=(None, 2, 3, 16), dtype="uint8")
    for row, expected in zip(loaded, codes, strict=True):
        assert np.array_equal(_as_codes(np.array(row["tokens"], np.uint8), geometry), expected)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_inventory_tells_what_tokens_are(tmp_path, name):
    geometry = GEOMETRIES[name]
    out, _ = _export(tmp_path, geometry, ExportFormat.BIN)
    inventory = read_inventory((out / INVENTORY_FILE).read_bytes(), origin="x")
    assert (inventory.format_version, inventory.dataset.geometry) == (2, geometry)
    assert inventory.contents.tokens == sum(map(geometry.num_tokens, SHAPES))


@pytest.mark.parametrize("export_format", ExportFormat)
def test_a_dataset_of_version_1_has_the_columns_and_keys_of_version_1(tmp_path, export_format):
    write_dataset(str(tmp_path / "tokens"), [[(2, 2, 2)], [(1, 2, 2)]])
    export_dataset(
        str(tmp_path / "tokens"), str(tmp_path / "out"), export_format=export_format, max_bytes=1 << 20
    )
    document = json.loads((tmp_path / "out" / INVENTORY_FILE).read_text())
    assert document["format_version"] == 1
    assert (document["dataset"]["bits_per_token"], document["dataset"]["patch_size_px"]) == (18, 8)
    assert all(b"num_real_frames" not in path.read_bytes() for path in (tmp_path / "out").rglob("*.*"))


def test_an_index_that_no_token_has_is_damage(tmp_path):
    layout = TokenLayout.of(GEOMETRIES["digits"], 2)
    sound = pack_codes(np.array([[7, 7, 7, 4, 4, 4]]), layout.code)
    assert layout.unpack(np.frombuffer(sound, np.uint8), (1, 1, 1)).tolist() == [[[63999]]]
    assert unpack_unsigned(b"\x00\xfa", 1, 16)[0] == 64000
    with pytest.raises(ValueError, match="a token is not below 64000"):
        layout.unpack(np.frombuffer(b"\x00\xfa", np.uint8), (1, 1, 1))
