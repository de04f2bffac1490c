"""A folder of everything that goes wrong: the job ends, and each file has its right outcome."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bitmill.pipeline.dataset.dataset_folder import load_ledger, load_plan, require_card
from bitmill.pipeline.reading import TokenDataset
from bitmill.pipeline.storage import Folder
from bitmill.schemas.outcomes import Outcome
from tests.support.commands import bitmill, stored_files
from tests.support.media import ODD_FILES
from tests.support.tokenized import tokenize_here

pytestmark = pytest.mark.ray


@pytest.fixture
def rows(odd_run):
    folder = Folder(str(odd_run[0]))
    (shard,) = load_plan(folder, require_card(folder))
    return {Path(row["source"]).name: row for row in load_ledger(folder, shard.shard_id)}


def test_the_job_ends_and_says_that_not_all_is_ok(odd_run):
    _, done = odd_run
    assert done.code == 3, done.err
    assert "Traceback" not in done.err
    assert done.err == ""


@pytest.mark.parametrize("name", ODD_FILES)
def test_each_file_has_its_outcome_and_reason(rows, name):
    row, odd = rows[name], ODD_FILES[name]
    assert (row["outcome"], row["reason"]) == (odd.outcome, odd.reason), row["detail"]
    if odd.outcome is not Outcome.OK:
        assert row["detail"][0].isupper()
        assert str(Path(row["source"]).parent) not in row["detail"]
    else:
        assert row["detail"] is None
    assert (row["num_clips"] > 0) == (odd.outcome is not Outcome.FAILED)


def test_planned_equals_ok_and_partial_and_failed(odd_run, rows):
    card = require_card(Folder(str(odd_run[0])))
    assert card.totals is not None
    outcomes = [row["outcome"] for row in rows.values()]
    assert card.num_sources == len(ODD_FILES) == len(rows)
    assert card.totals.ok == outcomes.count("ok")
    assert card.totals.partial == outcomes.count("partial")
    assert card.totals.failed == outcomes.count("failed")
    assert card.totals.items == card.num_sources


def test_tokens_add_up_with_the_ledger(odd_run, rows):
    dataset = TokenDataset(str(odd_run[0]), columns=("source",))
    frames = dict.fromkeys(rows, 0)
    for sample in dataset:
        frames[Path(sample["source"]).name] += len(sample["tokens"])
    assert frames == {name: row["num_frames"] for name, row in rows.items()}


def test_a_second_run_does_nothing(odd_folder, odd_run):
    output, _ = odd_run
    # Empty where a reader has staged its index; a run sweeps it away.
    shutil.rmtree(output / ".staging", ignore_errors=True)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    done = bitmill(
        "tokenize", f"{odd_folder}/*", str(output), "--fps", "8", "--clip-frames", "8", "--tokenizer", "tiny"
    )
    assert done.code == 3
    assert "nothing to do" in done.out
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before


JOB = """
version: 1
source: {{paths: ["{media}/*"]}}
output: {output}
tokenizer: {{preset: tiny}}
sampling: {{fps: 8, clip_frames: 8}}
compute: {{actors: 1, decoders: 3}}
"""


def test_a_job_file_and_another_spread_of_work_give_the_same_bytes(tokenize, odd_folder, odd_run, tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text(JOB.format(media=odd_folder, output=tmp_path / "again"))
    done = tokenize(str(job))
    assert done.code == 3, done.err
    assert stored_files(tmp_path / "again") == stored_files(odd_run[0])


def test_inspect_tells_what_is_not_ok(odd_run):
    done = bitmill("inspect", str(odd_run[0]))
    assert done.code == 0, done.err
    assert "1 of 1 committed (complete)" in done.out
    for name, odd in ODD_FILES.items():
        line = next((line for line in done.out.splitlines() if f"/{name}: " in line), "")
        assert (odd.reason or "") in line
        assert line.startswith(odd.outcome) or not line
        assert bool(line) == (odd.outcome is not Outcome.OK), name


def test_inspect_shows_a_shard(odd_run, rows):
    (shard,) = (odd_run[0] / "shards").iterdir()
    done = bitmill("inspect", str(shard), "--clips", "3")
    assert done.code == 0, done.err
    assert f"clips      {sum(row['num_clips'] for row in rows.values())} in 1 row group\n" in done.out
    assert "tokens     18 bits, patches of 8 px" in done.out
    assert "large_binary" in done.out
    assert len([line for line in done.out.splitlines() if "×16×16" in line]) == 3


def test_preview_shows_pictures_beside_their_tokens(odd_run, odd_folder, tmp_path):
    picture = tmp_path / "photo.png"
    done = bitmill("preview", str(odd_run[0]), "--source", f"{odd_folder}/photo.jpg", "--out", str(picture))
    assert done.code == 0, done.err
    with Image.open(picture) as sheet, Image.open(odd_folder / "photo.jpg") as photo:
        side = 128
        original = np.asarray(sheet.convert("RGB"), dtype=float)[16 : 16 + side, :side]
        scale = side / min(photo.size)
        wide = photo.convert("RGB").resize((round(photo.width * scale), round(photo.height * scale)))
        left, top = (wide.width - side) // 2, (wide.height - side) // 2
        expected = np.asarray(wide.crop((left, top, left + side, top + side)), dtype=float)
    assert np.abs(original - expected).mean() < 6


def test_codes_cost_their_bits_and_hardly_more(odd_run):
    (shard,) = (odd_run[0] / "shards").iterdir()
    file = pq.ParquetFile(shard)
    tokens = sum(row["num_frames"] * row["height"] * row["width"] for row in file.read().to_pylist())
    place = next(
        number
        for number in range(file.metadata.num_columns)
        if file.metadata.row_group(0).column(number).path_in_schema == "codes"
    )
    groups = range(file.metadata.num_row_groups)
    stored = sum(file.metadata.row_group(group).column(place).total_compressed_size for group in groups)
    assert stored <= 1.01 * tokens * 18 / 8


def test_decord_where_it_is_safe_gives_the_same_tokens(tokenize, odd_folder, odd_run, tmp_path):
    options = ["--fps", "8", "--clip-frames", "8", "--tokenizer", "tiny", "--set", "compute.decoder=decord"]
    done = tokenize(f"{odd_folder}/*", str(tmp_path / "tokens"), *options)
    assert done.code == 3, done.err
    (own,) = (odd_run[0] / "shards").iterdir()
    (other,) = (tmp_path / "tokens" / "shards").iterdir()
    # Its pixels are rule 1's, so its codes are compared with PyAV's by that rule, of all that decord read.
    assert pq.read_table(other).drop(["codes"]).equals(pq.read_table(own).drop(["codes"]))
    (ledger,) = (tmp_path / "tokens" / "ledger").iterdir()
    rows = pq.read_table(ledger).to_pylist()
    assert {row["decoder"] for row in rows} == {"decord", "pyav", "pillow", None}
    assert {row["outcome"] for row in rows if row["decoder"] == "decord"} <= {"ok", "partial"}
    (tmp_path / "safe").mkdir()
    for row in rows:
        if row["decoder"] == "decord":
            shutil.copy(row["source"], tmp_path / "safe")
    tokenize_here(tmp_path / "safe", tmp_path / "pyav", clip_frames=8, fps=8.0, pixel_rule=1)
    by_pyav = _codes((tmp_path / "pyav" / "shards").iterdir())
    assert by_pyav
    assert by_pyav.items() <= _codes([other]).items()


def _codes(shards):
    """Codes by file name and time."""
    rows = [row for shard in shards for row in pq.read_table(shard).to_pylist()]
    return {(Path(row["source"]).name, row["start_ns"]): row["codes"] for row in rows}
