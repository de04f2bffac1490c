"""Counts in sentences, with their nouns in the singular or the plural."""


def counted(number: int | str, noun: str) -> str:
    """Returns "1 clip", "2 clips", "12,345 clips": a number, or its text, and what it counts."""
    text = number if isinstance(number, str) else f"{number:,}"
    return f"{text} {noun}" if text == "1" else f"{text} {noun}s"
