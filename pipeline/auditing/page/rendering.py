"""Assembles the page: template, style, charts, script, and the report as data."""

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from bitmill.pipeline.auditing.page.readable_text import legible, script_json
from bitmill.schemas.reports.audit_findings import KIND_TEXT
from bitmill.schemas.reports.audit_report import AuditReport

SCRIPTS = (
    "format",
    "elements",
    "pager",
    "table",
    "chart",
    "overview",
    "findings",
    "coverage",
    "failures",
    "codes",
    "bits",
    "sample",
    "duplicates",
    "closing",
    "comparison",
    "comparison_charts",
    "main",
)
"""Files of ``script/`` in the order in which they are concatenated."""

_PLACE = re.compile(r"\{\{(\w+)\}\}")

_PICTURE_TYPES = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
)


def render_page(report: AuditReport, pictures: Mapping[str, bytes]) -> str:
    """Render ``report`` as one HTML text that needs no network; equal arguments give equal text.

    ``pictures`` are PNG, JPEG or WebP files by the names in ``report.sample``; others are not shown.
    """
    shown = report.sample.clips if report.sample else []
    data = {
        "page": "audit",
        "report": report.model_dump(mode="python"),
        "pictures": [_picture(pictures.get(clip.picture or "")) for clip in shown],
        "kind_text": KIND_TEXT,
    }
    return _fill(f"Audit of {report.dataset}", data, f"The verdict is: {report.verdict}.")


def render_comparison(a: AuditReport, b: AuditReport) -> str:
    """Render two audits side by side, of two datasets or two tokenizers, as one HTML text."""
    data = {
        "page": "comparison",
        "reports": [a.model_dump(mode="python"), b.model_dump(mode="python")],
        "kind_text": KIND_TEXT,
    }
    return _fill(
        f"{a.dataset} and {b.dataset} compared", data, f"The verdicts are: {a.verdict}; {b.verdict}."
    )


def _fill(title: str, data: dict[str, Any], verdict: str) -> str:
    style, library, script = _read("page.css"), _read("vendor/echarts.min.js"), _script()
    policy = (
        f"default-src 'none'; img-src data:; script-src {_hash(library)} {_hash(script)}; "
        # The chart library positions tooltips and drawings by style attributes.
        f"style-src {_hash(style)}; style-src-attr 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "title": html.escape(legible(title)),
        "style": style,
        "verdict": verdict,
        "data": script_json(data),
        "library": library,
        "script": script,
    }
    return _PLACE.sub(lambda place: parts[place[1]], _read("page.html"))


def _picture(data: bytes | None) -> str | None:
    if data is None:
        return None
    for start, media_type in _PICTURE_TYPES:
        if start.match(data):
            return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
    return None


def _hash(text: str) -> str:
    """A Content-Security-Policy hash of one inline element."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _script() -> str:
    body = "\n".join(_read(f"script/{name}.js") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}}})();\n'


@cache
def _read(name: str) -> str:
    text = files("bitmill.pipeline.auditing.page").joinpath(name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")  # A browser hashes the text after normalizing line ends.
