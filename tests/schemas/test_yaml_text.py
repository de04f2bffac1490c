"""YAML that others wrote: each key once, and whatever is wrong with it is one sentence."""

import pytest

from bitmill.schemas.yaml_text import parse_yaml


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: {b: 1}\nc:\n  b: 1\n  b: 2\n", "the key 'b' in line 4 is there twice"),
        ("a: [{b: 1, b: 1}]", "the key 'b' in line 1 is there twice"),
        ("at: 2024-13-45", "month must be in 1..12"),
        ("n: !!int ''", "index out of range"),
        ("t: !!timestamp noon", "has no attribute"),
        ("a: " + "[" * 10_000, "it is nested too deeply"),
        ("a: [1", "expected ',' or ']'"),
    ],
)
def test_what_is_no_yaml_is_told_in_one_line(text, told):
    with pytest.raises(ValueError, match=told) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


def test_a_mapping_may_have_two_merges():
    parsed = parse_yaml("a: &a {k: 1}\nb: &b {j: 2}\nc:\n  <<: *a\n  <<: *b\n")
    assert parsed["c"] == {"k": 1, "j": 2}


def test_a_key_of_aliases_of_aliases_is_refused_at_once():
    """Written out, it would have 2⁴⁰ entries."""
    levels = "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    with pytest.raises(ValueError, match="unhashable key"):
        parse_yaml(f"a0: &a0 [x, x]\n{levels}? *a39\n: 1\n")


def test_merged_keys_may_be_given_again():
    text = "x: &x {k: 1, j: 1}\na: {y: &y {<<: *x, k: 2}}\nb: {<<: *y, k: 3}\n1: one\n'1': text"
    parsed = parse_yaml(text)
    assert parsed["a"]["y"] == {"k": 2, "j": 1}
    assert parsed["b"] == {"k": 3, "j": 1}
    assert (parsed[1], parsed["1"]) == ("one", "text")
