"""A law of the stored index: it is what was stored, or it is refused; no damage gives another index."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.pipeline.reading.index.index import ReadingIndex
from bitmill.pipeline.reading.index.index_file import index_bytes, index_of, parse_index, rows_table
from bitmill.schemas.errors import FormatError

RUNS = st.lists(st.tuples(*[st.integers(1, 2**31 - 1)] * 4), min_size=1, max_size=4)


@st.composite
def index_rows(draw: st.DrawFn) -> list[dict[str, object]]:
    rows = []
    for shard in range(draw(st.integers(0, 4))):
        size = draw(st.integers(1, 2**50))
        for group in range(draw(st.integers(1, 3))):
            runs = draw(RUNS)
            rows.append(
                {
                    "shard_id": f"{shard:032x}",
                    "shard_bytes": size,
                    "row_group": group,
                    "num_rows": draw(st.integers(1, 2**31 - 1)),
                    "codes_offset": draw(st.integers(0, 2**50)),
                    "codes_bytes": draw(st.integers(0, 2**50)),
                    "compressed": draw(st.booleans()),
                    **{
                        f"run_{name}": [run[place] for run in runs]
                        for place, name in enumerate(("rows", "frames", "height", "width"))
                    },
                }
            )
    return rows


def rows_of(index: ReadingIndex) -> list[dict[str, object]]:
    found = []
    for number in range(index.num_groups):
        group, runs = index.group(number), index.runs_of(number)
        found.append(
            {
                "shard_id": group.shard_id,
                "shard_bytes": group.shard_bytes,
                "row_group": group.number,
                "num_rows": group.num_rows,
                "codes_offset": group.codes_offset,
                "codes_bytes": group.codes_bytes,
                "compressed": group.compressed,
                "run_rows": runs[:, 0].tolist(),
                "run_frames": runs[:, 1].tolist(),
                "run_height": runs[:, 2].tolist(),
                "run_width": runs[:, 3].tolist(),
            }
        )
    return found


@pytest.mark.slow
@given(index_rows(), st.text(), st.text())
def test_an_index_comes_back_as_it_was_stored(rows, plan, tokenizer):
    data = index_bytes(rows_table(rows), plan=plan, tokenizer_fingerprint=tokenizer)
    table, stored_plan, stored_tokenizer = parse_index(data)
    assert (stored_plan, stored_tokenizer) == (plan, tokenizer)
    assert rows_of(index_of(table)) == rows
    assert index_bytes(rows_table(rows), plan=plan, tokenizer_fingerprint=tokenizer) == data


@cache
def stored() -> tuple[bytes, list[dict[str, object]]]:
    rows = [
        {
            "shard_id": f"{shard:032x}",
            "shard_bytes": 10_000 + shard,
            "row_group": group,
            "num_rows": 30 + group,
            "codes_offset": 4 + 1000 * group,
            "codes_bytes": 900,
            "compressed": False,
            "run_rows": [20, 10 + group],
            "run_frames": [4, 1 + group],
            "run_height": [2, 2],
            "run_width": [2, 3],
        }
        for shard in range(3)
        for group in range(3)
    ]
    return index_bytes(rows_table(rows), plan="p" * 32, tokenizer_fingerprint="t" * 32), rows


@pytest.mark.slow
@settings(max_examples=400)
@given(st.data(), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_changes_nothing(data, change):
    damaged, rows = bytearray(stored()[0]), stored()[1]
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= change
    try:
        table = parse_index(bytes(damaged))[0]
    except FormatError:
        return
    assert rows_of(index_of(table)) == rows


@given(st.binary(max_size=200), st.data())
def test_other_bytes_are_refused(text, data):
    cut = stored()[0][: data.draw(st.integers(0, len(stored()[0]) - 1))]
    for damaged in (text, b"PAR1" + text + b"PAR1", cut, cut + text):
        if damaged != stored()[0]:
            try:
                table = parse_index(damaged)[0]
            except FormatError:
                continue
            assert np.array_equal(rows_of(index_of(table)), stored()[1])
