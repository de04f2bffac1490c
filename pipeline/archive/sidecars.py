"""From sidecars' bytes to an item's metadata: JSON fields and text. Nothing is ever unpickled."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from bitmill.pipeline.archive.tar_items import Sidecar
from bitmill.schemas.ids import canonical_json

MAX_SIDECAR_BYTES = 1 << 20
"""Of all sidecars of one item together: metadata travels with each of its clips."""

_TEXT = frozenset({"json", "txt", "caption", "cls"})
"""Suffixes that promise UTF-8 text; what else is not text is left out."""


class BadSidecarError(Exception):
    """A sidecar that should say something and cannot be understood; the message is a sentence."""


def item_metadata(
    base: str | None, sidecars: Sequence[Sidecar], read: Callable[[Sidecar], bytes]
) -> tuple[str | None, str | None]:
    """(metadata as JSON or null, what is wrong with the sidecars or null).

    ``base`` is what the plan carries for the source. The fields of an object in ``x.json`` stand at the top,
    text stands under its name (``x.txt`` as caption). A closer sidecar wins over a shared one, and either
    over ``base``; a text whose name a JSON field has taken stands under its whole suffix. Sidecars that
    cannot be understood are left out, and the first of them is told.
    """
    fields: dict[str, Any] = json.loads(base) if base is not None else {}
    named: dict[str, str] = {}
    wrong: list[str] = []
    left_bytes = MAX_SIDECAR_BYTES
    for sidecar in sorted(sidecars, key=_order):
        try:
            value = _value(sidecar, read, left_bytes)
        except BadSidecarError as error:
            wrong.append(f"Sidecar {sidecar.member.name}: {error}.")
            continue
        if value is not None:
            left_bytes -= sidecar.member.size_bytes
            _add(fields, named, sidecar, value)
    return (canonical_json(fields) if fields else None), (wrong[0] if wrong else None)


def _order(sidecar: Sidecar) -> tuple[bool, int, int]:
    """JSON before text, the closer ones later, so that they win."""
    return not _is_json(sidecar), sidecar.closeness, sidecar.member.offset


def _is_json(sidecar: Sidecar) -> bool:
    return sidecar.ending.rpartition(".")[2] == "json"


def _value(sidecar: Sidecar, read: Callable[[Sidecar], bytes], left_bytes: int) -> Any:
    """Parsed JSON, or text; null for what is no text and does not promise to be."""
    must_be_text = sidecar.ending.rpartition(".")[2] in _TEXT
    fault = _unreadable(sidecar, left_bytes)
    text = None if fault else _text(read(sidecar))
    if text is None:
        if must_be_text:
            raise BadSidecarError(fault or "its bytes are no UTF-8 text")
        return None
    if sidecar.is_repeated:
        raise BadSidecarError("another member has the very same name, and only the first was taken")
    if not _is_json(sidecar):
        return text.strip()
    try:
        # NaN is no JSON, though Python writes it.
        value = json.loads(text, parse_constant=lambda _: None)
        canonical_json(value).encode()
    except (ValueError, RecursionError) as error:
        raise BadSidecarError("it is no valid JSON") from error
    return value


def _unreadable(sidecar: Sidecar, left_bytes: int) -> str | None:
    member = sidecar.member
    if member.fault is not None:
        return "its bytes cannot be read"
    if member.is_cut:
        return "the tar ends within it"
    if member.size_bytes > left_bytes:
        return f"the sidecars of one item may have {MAX_SIDECAR_BYTES} bytes together, and it goes beyond"
    return None


def _text(data: bytes) -> str | None:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _add(fields: dict[str, Any], named: dict[str, str], sidecar: Sidecar, value: Any) -> None:
    """Put a value under its name; ``named`` tells which ending gave each name of ``fields``."""
    ending = sidecar.ending
    if ending == "json" and isinstance(value, dict):
        fields.update(value)
        named.update(dict.fromkeys(value, "a field"))
        return
    stem, _, suffix = ending.rpartition(".")
    name = "caption" if ending == "txt" else stem if stem and suffix in ("json", "txt") else ending
    place = next((one for one in (name, ending, f".{ending}") if named.get(one, ending) == ending), ending)
    fields[place] = value
    named[place] = ending
