"""Commands on datasets of tokenizers unlike BSQ-ViT, whose plugin is not installed here."""

import json
import sys
from pathlib import Path

import pytest

from bitmill.jobs.cli import main
from bitmill.pipeline.reading import TokenDataset
from tests.support.coded_datasets import GEOMETRIES, PACKAGE, coded_dataset, mixed_dataset
from tests.support.fakes import make_source


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command here; gives what it said and its exit code."""

    def running(*arguments: object) -> tuple[str, int]:
        monkeypatch.setenv("COLUMNS", "400")
        monkeypatch.setattr(sys, "argv", ["bitmill", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return captured.out + captured.err, int(ended.value.code or 0)

    return running


@pytest.mark.parametrize(
    ("name", "geometry"),
    [
        ("digits", "patches of 8 px and 4 frames, 16 tokens per row, a lead frame, digits of 8×8×5×5 values"),
        ("index", "patches of 8 px and 4 frames, 16 tokens per row, a lead frame, an index of 1,000 codes"),
        ("wide bits", "patches of 8 px and 4 frames, 16 tokens per row, a lead frame"),
        ("bits, least first", "patches of 8 px, 16 tokens per frame"),
        ("pyramid", "patches of 8 px, a pyramid of 3 grids with 21 tokens, an index of 4,096 codes"),
    ],
)
def test_inspect_tells_the_geometry_in_a_line(run, tmp_path: Path, name: str, geometry: str):
    dataset = coded_dataset(tmp_path, GEOMETRIES[name])
    said, code = run("inspect", tmp_path)
    assert f"geometry   32 px frames, {geometry}; pixel rule 2, shard format 2\n" in said
    assert code == 0
    said, code = run("inspect", dataset.shard(0))
    kind = GEOMETRIES[name].code
    assert f"tokens     {kind.bits_per_token} bits{', ' if kind.kind == 'bits' else ' ('}" in said
    assert code == 0


def test_inspect_counts_clips_by_frame_size(run, tmp_path: Path):
    mixed_dataset(tmp_path)
    said, code = run("inspect", tmp_path)
    assert code == 0
    geometry = "patches of 8 px and 4 frames, a lead frame, digits of 8×8×5×5 values"
    assert (
        f"geometry   frames of 32×48, 48×32, 32×32 pixels, {geometry}; pixel rule 2, shard format 2\n" in said
    )
    rows = [line.split() for line in said.splitlines()]
    place = rows.index(["frame", "size", "clips", "token", "rows", "tokens"])
    # Rows of 17, 17, 6 and 5, 17 frames; of 9 and 6, 3; of 1, 1 and 17.
    assert rows[place + 1 : place + 4] == [
        ["32×48", "5", "20", "480"],
        ["32×32", "3", "7", "112"],
        ["48×32", "3", "8", "192"],
    ]


@pytest.mark.parametrize("name", GEOMETRIES)
def test_trace_tells_frames_bytes_and_crop(run, tmp_path: Path, name: str):
    dataset = coded_dataset(tmp_path, GEOMETRIES[name])
    clip_ids, codes = next(dataset.stored(1))
    for clip_id, packed in zip(clip_ids, codes, strict=True):
        said, code = run("trace", tmp_path, "--clip", clip_id, "--json")
        assert code == 0
        clip = json.loads(said)["clip"]
        assert clip["code_bytes"] == len(packed)
        assert clip["num_real_frames"] == len(clip["frame_pts_ns"])
        said, _ = run("trace", tmp_path, "--clip", clip_id)
        assert f"frames     {clip['num_real_frames']} at " in said
        assert "720×1280 in the source, scaled to 32×56 and cropped from row 0, column 12" in said
    said, code = run("trace", tmp_path, "--source", make_source(0).uri)
    assert (code, clip_ids[0] in said) == (0, False)


def test_trace_tells_the_grid_and_crop_of_each_size(run, tmp_path: Path):
    mixed_dataset(tmp_path)
    columns = ("clip_id", "source", "num_frames", "height", "width")
    crops = {
        (4, 6): "32×56 and cropped from row 0, column 4",
        (6, 4): "48×85 and cropped from row 0, column 26",
    }
    crops[4, 4] = "32×56 and cropped from row 0, column 12"
    for sample in TokenDataset(tmp_path, columns=columns):
        said, code = run("trace", tmp_path, "--clip", sample["clip_id"])
        assert code == 0
        assert f"720×1280 in the source, scaled to {crops[sample['height'], sample['width']]}" in said
        assert f"{sample['num_frames']}×{sample['height']}×{sample['width']}" in said
        said, _ = run("trace", tmp_path, "--source", sample["source"])
        assert sample["clip_id"] in said
        assert "…" not in said


def test_preview_says_what_to_install(run, tmp_path: Path):
    coded_dataset(tmp_path / "tokens", GEOMETRIES["digits"])
    said, code = run("preview", tmp_path / "tokens", "--out", tmp_path / "preview.mp4")
    assert code == 2
    assert f"The tokenizer plugin 'kit' is not installed here: install {PACKAGE}" in said
    assert not (tmp_path / "preview.mp4").exists()


@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_audit_goes_on_without_the_plugin(run, tmp_path: Path, name: str):
    coded_dataset(tmp_path / "tokens", GEOMETRIES[name])
    said, code = run("audit", tmp_path / "tokens", "--workers", 1, "--out", tmp_path / "out")
    assert code == 0
    assert f"sound: {tmp_path}/tokens" in said
    assert "sample     Its clips were not decoded and tokenized again, which needs the tokenizer." in said
    assert f"install {PACKAGE}" in said
    words = {
        "digits": "weakest digit",
        "index": "322 codes used; 0 of 17 token rows repeat",
        "wide bits": "of 100 bits per token at order 0; about 39",
        "bits, least first": "weakest bit",
        "pyramid": "104 codes used; 0 of 0 frames repeat",
    }
    assert words[name] in said
    same = ("--compare", tmp_path / "tokens", tmp_path / "out" / "audit.json")
    said, code = run("audit", *same, "--workers", 1, "--sample", 0)
    assert (code, "used codes" in said) == (0, True)
