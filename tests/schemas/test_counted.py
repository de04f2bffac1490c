"""Counts with their nouns."""

from bitmill.schemas.counted import counted


def test_one_is_singular_and_thousands_are_separated():
    assert [counted(number, "clip") for number in (0, 1, 2, 12345)] == [
        "0 clips",
        "1 clip",
        "2 clips",
        "12,345 clips",
    ]
    assert [counted(text, "clip") for text in ("1", "1.2k")] == ["1 clip", "1.2k clips"]
