"""The ways out of docs/export.md lead out: its blocks run, in order, and give the dataset's tokens."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command

from bitmill.jobs.cli import app
from bitmill.pipeline.exporting import export_dataset
from bitmill.pipeline.exporting.formats.bin import index_schema
from bitmill.pipeline.reading import TokenDataset
from bitmill.schemas.reports.export_inventory import BinMetadata, ExportFormat
from tests.docs.test_docs import runnable
from tests.support.commands import REPOSITORY, finish
from tests.support.datasets import make_dataset
from tests.support.exports import LENGTHS, expected_tokens

PAGE = (REPOSITORY / "docs" / "export.md").read_text()
BLOCKS = runnable("docs/export.md")
FOLDERS = {ExportFormat.WEBDATASET: "wds", ExportFormat.BIN: "bin", ExportFormat.HUGGINGFACE: "hub"}


@pytest.fixture
def exports(tmp_path, monkeypatch) -> Path:
    """A folder with a dataset and its exports, under the page's names."""
    monkeypatch.chdir(tmp_path)
    make_dataset("tokens", LENGTHS)
    for export_format, name in FOLDERS.items():
        bound = 10240 if export_format == ExportFormat.WEBDATASET else 200
        export_dataset("tokens", name, export_format=export_format, max_bytes=bound)
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("exports", "hub_cache")
def test_the_blocks_run_and_give_the_tokens():
    expected = expected_tokens(LENGTHS, bits_per_token=18)
    names: dict = {}
    blocks = [block for block in BLOCKS if "import ray" not in block]
    assert len(blocks) == 8
    for number, block in enumerate(blocks):
        exec(compile(block, f"export.md, block {number}", "exec"), names)
        tokens = names["tokens"]
        if number == 0:
            assert np.array_equal(tokens, expected[-1])
        elif number in (1, 2):
            assert np.array_equal(tokens, expected[3])
        elif number == 3:
            assert np.array_equal(tokens.numpy(), expected[0])
        elif number == 4:
            assert names["times"] == [[time] for time in names["index"][3]["frame_pts_ns"]]
        else:
            assert all(np.array_equal(one, other) for one, other in zip(tokens, expected[4:6], strict=True))
    frames = np.concatenate(expected)
    starts = [n for clip in range(10) for n in _windows(expected, clip, names["window"])]
    assert names["starts"].tolist() == starts
    assert np.array_equal(names["frames_NHW"], frames)
    ((height, width, count, cropped),) = names["grids"]
    assert (height, width, count) == (2, 2, 10)
    # The centre of a picture of 16:9.
    assert cropped == pytest.approx(1 - 16 * 16 / (16 * 28))
    assert len(names["upright"]) == 0
    assert len(names["codes"]) in {len(clip.reshape(-1)) * 18 // 8 for clip in expected}


def _windows(clips, number: int, window: int) -> range:
    first = sum(len(clip) for clip in clips[:number])
    return range(first, first + len(clips[number]) - window + 1)


_LOCAL_RAY = """
import ray
from bitmill.jobs.cluster.connection.local_ray import no_unused_processes

with no_unused_processes():
    ray.init(address="local", num_cpus=2, include_dashboard=False)
"""

_PRINTED = "print('tokens', sorted((row['clip_id'], row['tokens'].tolist()) for row in rows))\n"


@pytest.mark.ray
def test_ray_data_reads_the_shards_as_they_lie(exports):
    (block,) = (block for block in BLOCKS if "import ray" in block)
    (exports / "block.py").write_text(_LOCAL_RAY + block + _PRINTED)
    done = finish([sys.executable, str(exports / "block.py")])
    assert done.code == 0, done.err
    said = next(line for line in done.out.splitlines() if line.startswith("tokens "))
    ids = [sample["clip_id"] for sample in TokenDataset("tokens", columns=("clip_id",))]
    expected = [clip.tolist() for clip in expected_tokens(LENGTHS, bits_per_token=18)]
    assert said == f"tokens {sorted(zip(ids, expected, strict=True))}"


def test_the_page_names_what_files_hold():
    for name in [*BinMetadata.model_fields, "file", "first_token"]:
        assert f"`{name}`" in PAGE, name
    webdataset_part = PAGE.partition("## webdataset")[2].partition("## bin")[0]
    for field in index_schema(2):
        assert field.name in ("file", "first_token", "num_tokens") or f"`{field.name}`" in webdataset_part, (
            field.name
        )
    for export_format in ExportFormat:
        assert f"| `{export_format}` |" in PAGE


def test_the_page_names_every_option():
    command = get_command(app).commands["export"]  # type: ignore[attr-defined]
    options = [name for option in command.params for name in option.opts if name.startswith("--")]
    assert {"--to", "--workers"} <= set(options)
    for name in options:
        assert name == "--help" or re.search(rf"{name}\b", PAGE), name
