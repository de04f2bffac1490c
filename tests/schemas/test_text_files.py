"""Text from outside: read with or without a byte-order mark, shown without a control character."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.schemas.errors import UsageError
from bitmill.schemas.text_files import lines_of, printable, printable_json, read_text


@given(
    text=st.text().filter(lambda text: not text.startswith("\ufeff")),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_a_text_is_what_was_written_without_its_mark(text, mark):
    assert read_text(mark + text.encode(), what="it") == text


@pytest.mark.parametrize("data", [b"caf\xe9", "uri\n".encode("utf-16"), b"x" * 100_000 + b"\xff"])
def test_what_is_no_utf8_is_named(data):
    with pytest.raises(UsageError, match=r"^The list is not UTF-8 text; save it as UTF-8"):
        read_text(data, what="The list")


def test_lines_end_as_two_systems_end_them_and_names_may_hold_other_ends():
    assert lines_of(b"\xef\xbb\xbfa\r\nb\nc\x0bd\xe2\x80\xa8e\rf\n", what="it") == [
        "a",
        "b",
        "c\x0bd\u2028e\rf",
        "",
    ]


@given(st.text(st.characters()))
def test_what_is_shown_has_no_control_character_and_loses_none(text):
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()
    value = {text: [text]}
    document = printable_json(json.dumps(value, indent=2, ensure_ascii=False))
    assert document.replace("\n", "").isprintable()
    assert json.loads(document) == value


def test_what_moves_a_cursor_is_spelled_out():
    assert printable("a\x1b[2Jü\x9b1m\r\n\u202e\udcff.mp4") == r"a\x1b[2Jü\x9b1m\r\n\u202e\udcff.mp4"
