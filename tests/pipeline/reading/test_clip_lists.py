"""Lists of clip ids: read from where an audit left them, and taken by a filter."""

import pytest

from bitmill.pipeline.reading import ClipFilter, TokenDataset, clip_ids_in
from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import UsageError
from tests.support.token_datasets import store_dataset

IDS = [f"{number:032x}" for number in range(3)]


def test_a_filter_takes_a_list_that_an_audit_left(tmp_path):
    stored = store_dataset(tmp_path / "tokens", [[(2, 2, 2)] * 4, [(1, 2, 2)] * 3])
    duplicates = [stored.clips[place].clip_id for place in (1, 5)]
    path = tmp_path / "duplicates.txt"
    path.write_text("".join(f"{clip_id}\n" for clip_id in duplicates))
    unique = ClipFilter(without_clip_ids=clip_ids_in(path))
    dataset = TokenDataset(stored.folder, columns=["clip_id"], where=unique)
    expected = [clip.clip_id for clip in stored.clips if clip.clip_id not in duplicates]
    assert [sample["clip_id"] for sample in dataset] == expected


@pytest.mark.parametrize(
    "text", ["\n".join(IDS), "\r\n".join(IDS) + "\r\n\r\n", f"  {IDS[0]}\n{IDS[1]}\n\n{IDS[2]}"]
)
def test_lines_may_end_as_editors_end_them(tmp_path, text):
    (tmp_path / "list.txt").write_bytes(text.encode())
    assert clip_ids_in(str(tmp_path / "list.txt")) == IDS


def test_an_empty_list_leaves_nothing_out(tmp_path):
    (tmp_path / "list.txt").touch()
    assert clip_ids_in(tmp_path / "list.txt") == []


def test_a_byte_order_mark_is_no_part_of_an_id(tmp_path):
    (tmp_path / "list.txt").write_text("\r\n".join(IDS), "utf-8-sig")
    assert clip_ids_in(tmp_path / "list.txt") == IDS


def test_a_list_that_is_no_utf8_is_named(tmp_path):
    (tmp_path / "list.txt").write_text("\n".join(IDS), "utf-16")
    with pytest.raises(UsageError, match=r"list\.txt is not UTF-8 text; save it as UTF-8"):
        clip_ids_in(tmp_path / "list.txt")


def test_a_list_may_lie_on_an_object_store(s3):
    Folder(s3).write_bytes("list.txt", "\n".join(IDS).encode())
    assert clip_ids_in(f"{s3}/list.txt") == IDS


@pytest.mark.parametrize("line", ["clip_id", IDS[0].upper() + "X", IDS[0][:-1], "\N{BLACK STAR}", "0 1"])
def test_a_line_that_is_no_id_is_named_not_passed_over(tmp_path, line):
    (tmp_path / "list.txt").write_text(f"{IDS[0]}\n{line}\n", "utf-8")
    with pytest.raises(UsageError, match=r"Line 2 of .*/list\.txt is not a clip id"):
        clip_ids_in(tmp_path / "list.txt")


@pytest.mark.parametrize("name", ["missing.txt", ""])
def test_a_list_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(UsageError, match="There is no list of clips at"):
        clip_ids_in(f"{tmp_path}/{name}")
