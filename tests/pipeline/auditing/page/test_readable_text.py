"""Foreign text in a page: everything is seen, nothing is markup, nothing is lost that could be shown."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.auditing.page.readable_text import legible, script_json

TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
ANY_TEXT = st.text(st.characters(exclude_categories=()))
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda part: st.lists(part, max_size=4) | st.dictionaries(ANY_TEXT, part, max_size=4),
    max_leaves=12,
)


@given(ANY_TEXT)
def test_no_control_and_no_mark_of_direction_is_left(text):
    shown = legible(text)
    assert not [mark for mark in shown if unicodedata.category(mark) in {"Cc", "Cs"} and mark not in "\t\n"]
    assert not {unicodedata.bidirectional(mark) for mark in shown} & TURNING


@given(ANY_JSON)
def test_data_comes_back_and_no_markup_can_begin_in_it(value):
    text = script_json(value)
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert script_json(json.loads(text)) == text


@pytest.mark.parametrize("text", ["plain", "عربى עברית", "👩\u200d🚀 é 日本", "a<b>&amp;", "two\nlines"])
def test_ordinary_text_stays_as_it_is(text):
    assert legible(text) == text
    assert json.loads(script_json({text: [text]})) == {text: [text]}


def test_what_nobody_sees_is_spelled_out():
    assert legible("a\u202eb\x1b[0m\u200b\U000e0041\ud800") == "a\\u202eb\\u001b[0m\\u200b\\U000e0041\ufffd"


def test_numbers_that_json_lacks_become_null():
    assert script_json([float("nan"), float("inf"), -float("inf"), 1.5]) == "[null,null,null,1.5]"
