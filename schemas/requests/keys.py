"""The keys of a job or training file: type, default and meaning, read from the models that validate it."""

import ast
import inspect
import re
import textwrap
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    type(None): "null",
    Any: "anything",
}
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "multiple_of": "multiple of"}


class Key(NamedTuple):
    """One key of a file."""

    name: str
    """Dotted: ``sampling.fps``."""
    kind: str
    """What it takes, in words."""
    default: str | None
    """As YAML; None if the key is required."""
    meaning: str


def keys_of(model: type[BaseModel]) -> list[Key]:
    """Return the keys of a file that ``model`` validates, in the order of the fields."""
    # Kinds of models share keys.
    return list(dict.fromkeys(_keys(model, "")))


def _keys(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    meanings = _meanings(model)
    for name, field in model.model_fields.items():
        dotted = f"{prefix}{name}"
        annotation = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        default = None if field.is_required() else _as_yaml(field.get_default(call_default_factory=True))
        below = list(_models(annotation))
        is_optional = type(None) in get_args(field.annotation)
        if not below or is_optional or name in meanings:
            default = default if not below or default == "null" else None
            yield Key(dotted, _kind(annotation), default, meanings.get(name, ""))
        for one in below:
            yield from _keys(one, f"{dotted}.")


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring below each field, of the class itself or the next base that has one."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel) or base is BaseModel:
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for field, below in zip(definition.body, definition.body[1:], strict=False):
            text = below.value.value if _is_text(below) else None  # pyright: ignore
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and text:
                found[field.target.id] = _in_words_of_yaml(str(text))
    return found


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _in_words_of_yaml(text: str) -> str:
    return re.sub(r"\bNone\b", "null", " ".join(text.split())).replace("``", "`")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models whose keys stand below this one; those of a list's entries, too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for part in get_args(annotation):
            yield from _models(part)


def _kind(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return ", ".join([_kind(parts[0]), *_bounds(parts[1:])])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_kind(part) for part in parts))
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (list, tuple):
        is_list = origin is list or parts[-1] is Ellipsis
        return f"list of {_kind(parts[0])}" if is_list else f"[{', '.join(map(_kind, parts))}]"
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "keys with values"
    return _NAMES.get(annotation, str(annotation))


def _bounds(metadata: tuple[Any, ...]) -> Iterator[str]:
    for one in metadata:
        limits = getattr(one, "metadata", [one])
        for limit in limits:
            for name, sign in _BOUNDS.items():
                if getattr(limit, name, None) is not None:
                    yield f"{sign} {getattr(limit, name):,}"


def _as_yaml(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_as_yaml, value))}]"
    return str(value)
