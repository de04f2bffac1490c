"""Parses sidecars into an item's metadata: JSON fields and text. Nothing is ever unpickled."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from bitmill.pipeline.archive.match_sidecars import Sidecar
from bitmill.schemas.ids import canonical_json

MAX_SIDECAR_BYTES = 1 << 20
"""For all sidecars of one item together, because metadata is stored with each of its clips."""

_TEXT = frozenset({"json", "txt", "caption", "cls"})
"""Suffixes whose content must be UTF-8 text; other sidecars that are not text are ignored."""


class BadSidecarError(Exception):
    """A sidecar that cannot be parsed although its suffix requires it; the message is a sentence."""


def item_metadata(
    base: str | None, sidecars: Sequence[Sidecar], read: Callable[[Sidecar], bytes]
) -> tuple[str | None, str | None]:
    """Returns (metadata as JSON or None, the problem with the sidecars or None).

    ``base`` is the source's metadata from the plan. The fields of an object in ``x.json`` become top-level
    fields; text is stored under its name (``x.txt`` as caption). A closer sidecar overrides a shared one, and
    both override ``base``; a text whose name is taken by a JSON field is stored under its whole suffix.
    Sidecars that cannot be parsed are left out, and the first of them is reported.
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
    """Sort key: JSON before text, closer sidecars later, so that they override."""
    return not _is_json(sidecar), sidecar.closeness, sidecar.member.offset


def _is_json(sidecar: Sidecar) -> bool:
    return sidecar.ending.rpartition(".")[2] == "json"


def _value(sidecar: Sidecar, read: Callable[[Sidecar], bytes], left_bytes: int) -> Any:
    """Parsed JSON, or text; None for other content, unless the suffix requires text."""
    must_be_text = sidecar.ending.rpartition(".")[2] in _TEXT
    fault = _unreadable(sidecar, left_bytes)
    text = None if fault else _text(read(sidecar))
    if text is None:
        if must_be_text:
            raise BadSidecarError(fault or "it is not UTF-8 text")
        return None
    if sidecar.is_repeated:
        raise BadSidecarError("another member has the same name, and only the first was used")
    if not _is_json(sidecar):
        return text.strip()
    try:
        # NaN is not valid JSON, though Python writes it.
        value = json.loads(text, parse_constant=lambda _: None)
        canonical_json(value).encode()
    except (ValueError, RecursionError) as error:
        raise BadSidecarError("it is not valid JSON") from error
    return value


def _unreadable(sidecar: Sidecar, left_bytes: int) -> str | None:
    member = sidecar.member
    if member.fault is not None:
        return "its bytes cannot be read"
    if member.is_cut:
        return "the tar ends within it"
    if member.size_bytes > left_bytes:
        return f"the sidecars of one item may have {MAX_SIDECAR_BYTES} bytes in total, and it exceeds that"
    return None


def _text(data: bytes) -> str | None:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _add(fields: dict[str, Any], named: dict[str, str], sidecar: Sidecar, value: Any) -> None:
    """Store a value under its name; ``named`` maps each name in ``fields`` to the ending it came from."""
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
