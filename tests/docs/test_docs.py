"""Docs that can be run are run, and lists in them are the code's."""

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from bitmill.jobs.cli import main
from bitmill.pipeline.reading import TokenDataset
from bitmill.schemas.dataset.ledger_schema import LEDGER_SCHEMA
from bitmill.schemas.dataset.reading_index import CLIP_INDEX_SCHEMA, INDEX_COLUMNS
from bitmill.schemas.dataset.removal import Removal, RemovedShard, RemovedSource
from bitmill.schemas.dataset.token_shard import TOKEN_COLUMNS
from bitmill.schemas.outcomes import REASON_TEXT, Reason
from bitmill.schemas.reports.status_file import DriverState, JobStatus
from tests.support.commands import REPOSITORY
from tests.support.datasets import make_dataset
from tests.support.media import jpeg_photo, plain_mp4
from tests.support.token_datasets import store_dataset
from tests.support.tokenized import tokenize_here

RUNNABLE = re.compile(r"<!-- run -->\n```(python|yaml|console)\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)\)")
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])


def runnable(page: str, language: str = "python") -> list[str]:
    """The blocks of a page that are run."""
    return [text for of, text in RUNNABLE.findall((REPOSITORY / page).read_text()) if of == language]


def _block(page: str, language: str = "python") -> str:
    (block,) = runnable(page, language)
    return block


def test_the_training_loop_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_dataset("demo-output/tokens", [[16, 3], [16]])
    names: dict[str, object] = {}
    exec(compile(_block("README.md"), "README.md", "exec"), names)
    assert capsys.readouterr().out == "3 clips; torch.Size([16, 2, 2, 2])\n"
    assert list(names["tokens"].shape) == [2, 16, 2, 2, 2]  # type: ignore[attr-defined]


def test_the_tutorial_of_training_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_dataset("demo-output/tokens", [[16, 3], [16]])
    names: dict = {}
    for block in runnable("docs/tutorials/training.md"):
        exec(compile(block, "tutorials/training.md", "exec"), names)
    assert names["tokens"].dtype == torch.int64
    assert list(names["tokens"].shape) == [2, 4, 2, 2]
    assert names["state"] == names["loader"].state_dict()


def test_the_training_loop_of_the_reading_page_runs_and_resumes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_dataset("tokens", [[4, 4, 2], [8, 4]])
    names: dict = {}
    exec(compile(runnable("docs/reading.md")[0], "reading.md", "exec"), names)
    assert list(names["tokens"].shape) == [2, 4, 2, 2, 2]
    assert (names["resumed"].epoch, names["state"]["batch"]) == (2, 2)
    assert list(names["resumed"]) == []


def test_columns_are_joined_as_the_reading_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # In shards whose names have another order.
    make_dataset("tokens", [[4, 4, 2], [8, 4], [4], [3, 3]], max_sources=1)
    names: dict = {"TokenDataset": TokenDataset}
    for block in runnable("docs/reading.md")[-2:]:
        exec(compile(block, "reading.md", "exec"), names)
    scores = {row["clip_id"]: row["score"] for row in names["rows"]}
    assert [clip["score"] for clip in names["good"]] == [score for score in scores.values() if score > 0.4]
    stored = pq.read_table("sorted.parquet")
    assert stored.column("clip_id").to_pylist() == list(scores)
    assert stored.column("score").to_pylist() == list(scores.values())


def test_the_loop_over_several_sizes_of_the_reading_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store_dataset(Path("tokens"), [[(4, 2, 3), (2, 3, 2), (3, 2, 3)] * 3])
    names: dict = {}
    exec(compile(runnable("docs/reading.md")[1], "reading.md", "exec"), names)
    assert len(names["batches"]) == 2
    assert names["share"] == 1
    assert tuple(names["tokens"].shape) in {(6, 4, 2, 3), (3, 2, 3, 2)}


@pytest.mark.slow
def test_the_commands_of_the_prior_page_run(tmp_path, monkeypatch, capsys):
    media = tmp_path / "media"
    (media / "held-out").mkdir(parents=True)
    for name in ("a.mp4", "held-out/b.mp4"):
        plain_mp4(media / name)
    jpeg_photo(tmp_path / "photo.jpg")
    tokenize_here(media, tmp_path / "tokens", bundled="small-1", clip_frames=8, fps=20.0)
    monkeypatch.chdir(tmp_path)
    Path("prior.yaml").write_text(_block("docs/prior.md", "yaml"))
    lines = _block("docs/prior.md", "console").splitlines()
    # As they stand, but for how long the first one takes.
    lines[0] += " --set steps=1 --set validation_batches=1"
    for line in lines:
        monkeypatch.setattr(sys, "argv", shlex.split(line))
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, capsys.readouterr().err
    assert Path("photo.bmz").stat().st_size > 0


def test_the_format_page_names_every_column_of_the_indexes():
    page = (REPOSITORY / "docs" / "format.md").read_text().partition("## The reader's indexes")[2]
    for field in [*INDEX_COLUMNS, *CLIP_INDEX_SCHEMA]:
        assert f"`{field.name}`" in page, field.name


def _by_the_format_page(tmp_path: Path, monkeypatch, shard: Path, blocks: Sequence[int]) -> dict:
    """What blocks of the page compute of a shard's first clip."""
    shutil.copy(shard, tmp_path / "shard.parquet")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    found = runnable("docs/format.md")
    for block in (found[number] for number in blocks):
        assert len([line for line in block.splitlines() if line.strip()]) <= 11
        assert "bitmill" not in block.replace('b"bitmill"', "")
        exec(compile(block, "format.md", "exec"), names)
    return names


@pytest.mark.parametrize("version", ["v1", "v5"])
def test_ten_lines_of_numpy_read_a_shard_without_bitmill(tmp_path, monkeypatch, version):
    golden = REPOSITORY / "tests" / "golden" / version
    names = _by_the_format_page(tmp_path, monkeypatch, golden / "shard.parquet", (0, 2))
    clip = json.loads((golden / "expected.json").read_text())["clips"][0]
    strings = ["".join(map(str, bits)) for bits in names["bits"].reshape(-1, 18).tolist()]
    assert strings == clip["bits"]
    assert names["index"].reshape(-1).tolist() == [int(bits, 2) for bits in clip["bits"]]
    assert names["times"] == [[time] for time in clip["frame_pts_ns"]]


def test_three_more_lines_read_digits_and_the_times_of_their_rows(tmp_path, monkeypatch):
    golden = REPOSITORY / "tests" / "golden" / "v5"
    names = _by_the_format_page(tmp_path, monkeypatch, golden / "digits.parquet", (0, 1, 2))
    clip = json.loads((golden / "expected.json").read_text())["digits"][0]
    assert names["digits"].reshape(-1, 4).tolist() == clip["digits"]
    assert names["fsq_values"].min() >= -1
    first, *rest = clip["frame_pts_ns"]
    # Two frames more were given to the tokenizer, which have no time.
    assert names["times"] == [[first], rest]


def test_the_format_page_names_every_column_and_reason():
    page = (REPOSITORY / "docs" / "format.md").read_text()
    for field in [*TOKEN_COLUMNS, *LEDGER_SCHEMA]:
        assert f"`{field.name}`" in page, field.name
    for reason in Reason:
        assert f"| `{reason}` | {REASON_TEXT[reason]} |" in page


def test_the_format_page_names_every_key_and_state_of_the_status_file():
    page = (REPOSITORY / "docs" / "format.md").read_text().partition("## The status file")[2]
    for name in [*JobStatus.model_fields, *DriverState]:
        assert f"`{name}`" in page, name


def test_the_format_page_names_every_key_of_a_removal():
    page = (REPOSITORY / "docs" / "format.md").read_text()
    section = page.partition("## The removals")[2].partition("\n## ")[0]
    for name in [*Removal.model_fields, *RemovedSource.model_fields, *RemovedShard.model_fields]:
        assert f"`{name}`" in section, name


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target
    for name in re.findall(r"\btest_\w+\.py\b", page.read_text()):
        assert any(REPOSITORY.glob(f"tests/**/{name}")), name


@pytest.mark.parametrize(
    "module", ["bitmill", "bitmill.bsq_model", "bitmill.pipeline.reading", "bitmill.testing"]
)
def test_what_a_module_gives_to_users_is_in_the_docs_or_an_example(module):
    examples = [*REPOSITORY.glob("examples/**/*.py")]
    told = "\n".join(page.read_text() for page in [*PAGES, *examples])
    for name in import_module(module).__all__:
        assert re.search(rf"\b{name}\b", told), name


def test_the_readme_tells_of_commands_that_exist():
    from typer.main import get_command

    from bitmill.jobs.cli import app

    def names(command: Any) -> Iterator[str]:
        for name, one in command.commands.items():
            yield from [f"{name} {below}" for below in getattr(one, "commands", {})] or [name]

    known = set(names(get_command(app)))
    blocks = [
        block for page in PAGES for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
    ]
    told = set(re.findall(r"^bitmill ((?:weights |config |sample )?[\w-]+)", "\n".join(blocks), re.MULTILINE))
    assert told <= known
    assert {"tokenize", "inspect", "preview", "train", "evaluate", "weights import"} <= told


@pytest.mark.slow
def test_the_repository_holds_no_path_of_a_machine():
    own = str(Path.home())
    for path in [*PAGES, *REPOSITORY.glob("*/**/*.py")]:
        if ".venv" in path.parts or ".cache" in path.parts:
            continue
        text = path.read_text()
        assert own == "/" or f"{own}/" not in text, path
        assert os.fspath(REPOSITORY) + "/" not in text, path
