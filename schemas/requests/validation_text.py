"""Says in plain words what is wrong with a document that a model refuses."""

import difflib
from collections.abc import Collection
from typing import Any

from pydantic import ValidationError

from bitmill.schemas.nearest_name import did_you_mean

# By pydantic's names of errors, which speak of Python's types. {…} are the error's own values.
_TEXTS = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be finite",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be keys with values",
    "model_type": "must be keys with values",
    "model_attributes_type": "must be keys with values",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "must be one of {expected_tags}, not {tag!r}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
}

_KINDS = frozenset({"bsq-vit", "causal-conv", "prior", "masked-lm"})
"""Of what stands under ``model``, or is a config by itself."""


def describe_validation(error: ValidationError, known: Collection[str] = ()) -> str:
    """Describe every wrong key by its dotted name, without echoing long input values.

    Of an unknown key the nearest of ``known``, the names of all keys, is told.
    """
    parts = [_describe(item, known) for item in error.errors(include_url=False)]
    return "; ".join(parts) + "."


def _describe(item: Any, known: Collection[str]) -> str:
    where = _key(item["loc"]) or "the document"
    if item["type"] == "extra_forbidden":
        return f"unknown key {where!r}{_nearest(where, known)}"
    if item["type"] == "missing":
        return f"key {where!r} is missing"
    if item["type"] in _TEXTS:
        return f"{where} {_TEXTS[item['type']].format_map(item.get('ctx', {}))}"
    return f"{where}: {item['msg'].removeprefix('Value error, ')}"


def _key(loc: tuple[str | int, ...]) -> str:
    """Return the dotted name, without the kind of model by which pydantic chose what to hold it to."""
    pairs = zip(("", *loc), loc, strict=False)
    return ".".join(str(part) for before, part in pairs if not (before in ("", "model") and part in _KINDS))


def _nearest(name: str, known: Collection[str]) -> str:
    """Suggest a key; by its last part if only that is near: ``fps`` for ``sampling.fps``."""
    by_last = {one.rpartition(".")[2]: one for one in known}
    last = difflib.get_close_matches(name.rpartition(".")[2], by_last, n=1)
    return did_you_mean(name, known) or (f" (did you mean {by_last[last[0]]!r}?)" if last else "")
