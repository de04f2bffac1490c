"""Outline and inventory tile the clips, and what is damaged or too new is said to be."""

import json

import pytest

from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.reports.export_inventory import (
    ExportContents,
    ExportedDataset,
    ExportedFile,
    ExportFormat,
    ExportInventory,
    ExportOutline,
    OutlinedFile,
    read_inventory,
    read_outline,
)

DATASET = ExportedDataset(
    content_id="c",
    tokenizer_fingerprint="t",
    bits_per_token=18,
    geometry=Geometry(patch_px=(8, 8), code=Code.of_bits(18)),
    num_shards=1,
    planned_shards=1,
)
DATASET_1 = DATASET.model_copy(update={"geometry": None, "patch_size_px": 8})
CONTENTS = ExportContents(clips=3, frames=6, tokens=24, shape_THW=(None, 2, 2), fps=8.0)


def _outlined(*counts: int) -> list[OutlinedFile]:
    firsts = [sum(counts[:place]) for place in range(len(counts))]
    return [
        OutlinedFile(name=f"{first}", first_clip=first, num_clips=n, num_frames=2 * n, num_tokens=8 * n)
        for first, n in zip(firsts, counts, strict=True)
    ]


def _outline(files: list[OutlinedFile], dataset: ExportedDataset = DATASET) -> ExportOutline:
    return ExportOutline(
        format_version=dataset.format_version,
        form=ExportFormat.BIN,
        max_bytes=99,
        dataset=dataset,
        contents=CONTENTS,
        files=files,
    )


def _inventory(files: list[ExportedFile], dataset: ExportedDataset = DATASET) -> ExportInventory:
    return ExportInventory(
        format_version=dataset.format_version,
        form=ExportFormat.BIN,
        token_dtype="uint32",
        dataset=dataset,
        contents=CONTENTS,
        files=files,
    )


@pytest.mark.parametrize("dataset", [DATASET, DATASET_1])
def test_what_is_written_is_read(dataset):
    outline = _outline(_outlined(2, 1), dataset)
    assert read_outline(outline.to_json(), origin="x") == outline
    files = [
        ExportedFile(name="0", size_bytes=64, first_clip=0, num_clips=2),
        ExportedFile(name="2", size_bytes=32, first_clip=2, num_clips=1),
        ExportedFile(name="metadata.json", size_bytes=4),
    ]
    inventory = _inventory(files, dataset)
    assert read_inventory(inventory.to_json(), origin="x") == inventory
    assert inventory.size_bytes == 100


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (_outlined(2), "the files hold 2 clips, the contents 3"),
        (_outlined(2, 2), "the files hold 4 clips, the contents 3"),
        (_outlined(2, 1)[::-1], "a file begins with clip 2, not 0"),
        (
            [_outlined(3)[0].model_copy(update={"num_tokens": 23})],
            "frames and tokens do not add up to those of the contents",
        ),
    ],
)
def test_files_must_tile_the_clips(files, message):
    with pytest.raises(ValueError, match=message):
        _outline(files)


def test_an_inventory_must_hold_all_clips():
    with pytest.raises(ValueError, match="the files hold 0 clips, the contents 3"):
        _inventory([ExportedFile(name="metadata.json", size_bytes=4)])


def test_damage_and_newer_versions_name_the_file():
    data = json.loads(_outline(_outlined(3)).to_json())
    with pytest.raises(FormatError, match=r"x has export format 3; this bitmill reads up to 2\. Upgrade"):
        read_outline(json.dumps(data | {"format_version": 3, "news": 1}).encode(), origin="x")
    with pytest.raises(FormatError, match=r"x is damaged: unknown key 'news'\. Export into another folder"):
        read_outline(json.dumps(data | {"news": 1}).encode(), origin="x")
    with pytest.raises(FormatError, match="x is damaged"):
        read_inventory(_outline(_outlined(3)).to_json()[:-9], origin="x")
    with pytest.raises(FormatError, match="x is damaged: format must be 'bitmill-export'"):
        read_inventory(json.dumps(data).encode(), origin="x")


def test_either_version_has_its_own_fields():
    first = json.loads(_outline(_outlined(3), DATASET_1).to_json())
    assert (first["format_version"], first["dataset"]["patch_size_px"]) == (1, 8)
    assert "geometry" not in first["dataset"]
    second = json.loads(_outline(_outlined(3)).to_json())
    assert (second["format_version"], second["dataset"]["geometry"]["code"]["kind"]) == (2, "bits")
    assert "patch_size_px" not in second["dataset"]
    assert DATASET_1.tokens == DATASET.tokens
    with pytest.raises(FormatError, match="described as in version 2, not 1"):
        read_outline(json.dumps(second | {"format_version": 1}).encode(), origin="x")
    with pytest.raises(ValueError, match="either patch_size_px or geometry"):
        ExportedDataset.model_validate(DATASET.model_dump() | {"patch_size_px": 8})
