"""Makes foreign text safe to display, and data safe to embed in a page."""

import json
import math
import re
from typing import Any

_SURROGATES = re.compile("[\ud800-\udfff]")

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Control characters, bidirectional marks, and zero-width characters except the joiners that emoji and some
scripts need. Tabs and line feeds are shown as spaces in a page.
"""

_ESCAPED = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"})


def legible(text: str) -> str:
    """``text`` with characters that nobody sees spelled out (``\\u202e``), and lone surrogates as U+FFFD."""
    return _INVISIBLE.sub(_spelled, _SURROGATES.sub("\ufffd", text))


def script_json(value: Any) -> str:
    """JSON in ASCII for a ``<script type="application/json">``: contains no markup.

    All strings, including keys, are made legible; NaN and infinities become null.
    """
    return json.dumps(_clean(value), ensure_ascii=True, allow_nan=False, separators=(",", ":")).translate(
        _ESCAPED
    )


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return legible(value)
    if isinstance(value, dict):
        return {legible(str(key)): _clean(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
