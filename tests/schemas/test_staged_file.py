"""Files are replaced whole, or not at all."""

import pytest

from bitmill.schemas.staged_file import staged, write_staged


def test_what_ends_halfway_leaves_the_file_as_it_was_and_nothing_else(tmp_path):
    path = tmp_path / "report.json"
    write_staged(path, b"first")
    with pytest.raises(FileNotFoundError), staged(path) as beside:
        (beside.write_bytes(b"sec"), (tmp_path / "none").read_bytes())
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
