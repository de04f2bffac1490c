"""Reads what users write in YAML: parses it, overrides keys, validates, and says what is wrong with it."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bitmill.schemas.errors import UsageError
from bitmill.schemas.requests.keys import keys_of
from bitmill.schemas.requests.validation_text import describe_validation
from bitmill.schemas.yaml_text import parse_yaml

Spec = TypeVar("Spec", bound=BaseModel)


def yaml_mapping(
    text: str, *, origin: str, expected: str, error_type: type[UsageError] = UsageError
) -> dict[str, Any]:
    """Parse YAML text. Raises ``error_type``, naming ``origin`` and what is ``expected``, if it is none."""
    try:
        document: Any = parse_yaml(text)
    except ValueError as error:
        raise error_type(f"{origin} is not valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise error_type(f"{origin} must be a YAML mapping {expected}.")
    return {**document}


def make_spec(
    model: type[Spec],
    document: dict[str, Any],
    *,
    origin: str,
    overrides: dict[str, Any] | None,
    newest: int,
    error_type: type[UsageError] = UsageError,
) -> Spec:
    """Validate nested mappings after ``overrides``, dotted keys with their new values, have replaced theirs.

    Raises ``error_type`` naming every wrong key, or if the document is of a version above ``newest``.
    """
    for dotted, value in (overrides or {}).items():
        _set_dotted(document, dotted, value)
    version = document.get("version")
    if isinstance(version, int) and version > newest:
        raise error_type(
            f"{origin} has version {version}; this bitmill knows up to {newest}. Upgrade bitmill."
        )
    try:
        return model.model_validate(document)
    except ValidationError as error:
        known = [key.name for key in keys_of(model)]
        raise error_type(f"{origin}: {describe_validation(error, known)}") from error


def _set_dotted(document: dict[str, Any], dotted: str, value: Any) -> None:
    """Set one key of nested mappings by its dotted name, in place; creates missing parents."""
    *parents, last = dotted.split(".")
    place = document
    for parent in parents:
        below = place.get(parent)
        place[parent] = dict(below) if isinstance(below, dict) else {}
        place = place[parent]
    place[last] = value
