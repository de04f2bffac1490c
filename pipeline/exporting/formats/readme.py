"""README.md of the format ``huggingface``: the hub's dataset card in YAML, and a page for people."""

from typing import Any

import pyarrow as pa

from bitmill.pipeline.exporting.formats.exported_clip import TokenLayout
from bitmill.schemas.reports.export_inventory import ExportOutline

_CARD = """\
---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
dataset_info:
  features:
{features}
  splits:
  - name: train
    num_examples: {clips}
    num_bytes: {num_bytes}
---
"""

_PAGE = """\
# Video tokens

{clips:,} clips, {rows:,} {of_rows}, {tokens:,} tokens of {bits} bits, exported by bitmill.
Their tokenizer is `{fingerprint}`.

`tokens` are {values}, {shape}; a token stands for a patch of {height}×{width}
pixels of {frames}. {code}{grids}{rows_of_frames}`metadata` is a JSON object or null.

```python
from datasets import load_dataset

clips = load_dataset("FOLDER", split="train").with_format("torch")
tokens = clips[0]["tokens"]  # int64 {axes}{note}
```
{scales}"""

_GRIDS = """Clips have several grids: `num_frames`, `height` and `width`
are a clip's T, h and w. """

_ROWS = """Token row r covers the frames from
max(0, l + (r - l) * {frames}) to before those of row r + 1, with l the clip's `lead_frames`;
`frame_pts_ns` are their times, and frames without one repeat the last. """

_SCALES = """
`tokens` are a pyramid: the grids of a clip's scales, coarse to fine, one after the other, each row by row.
`export.json` lists them by the clip's `height` and `width`, as [t, h, w]:

```python
import json

schedules = json.load(open("FOLDER/export.json"))["dataset"]["geometry"]["schedules"]
scales, first = [], 0
for t, h, w in schedules["{{height}}x{{width}}".format(**clips[0])]:
    scales.append(tokens[first : first + t * h * w].reshape(t, h, w, *tokens.shape[1:]))
    first += t * h * w
```
"""

_NOTE_64 = "; view it as uint64: the highest bit may be set"


def readme_text(outline: ExportOutline, schema: pa.Schema, layout: TokenLayout) -> str:
    """The whole README.md. Contains no time, place or sources."""
    contents, dataset, geometry = outline.contents, outline.dataset, layout.geometry
    axes, sizes = _axes(outline, layout)
    features = "\n".join(_feature(field, sizes, layout.dtype.name) for field in schema)
    num_bytes = contents.tokens * layout.token_bytes
    card = _CARD.format(features=features, clips=contents.clips, num_bytes=num_bytes)
    shape = ", ".join("any" if size is None else str(size) for size in sizes)
    is_frame = geometry.frames_per_token == 1
    return card + _PAGE.format(
        clips=contents.clips,
        rows=contents.frames,
        of_rows="frames" if is_frame else "token rows",
        tokens=contents.tokens,
        bits=layout.code.bits_per_token,
        fingerprint=dataset.tokenizer_fingerprint,
        values=_values(layout),
        height=geometry.patch_px[0],
        width=geometry.patch_px[1],
        frames="one frame" if is_frame else f"{geometry.frames_per_token} frames",
        code=_code(layout),
        grids=_GRIDS if None in outline.contents.shape_THW[1:] else "",
        rows_of_frames="" if is_frame else _ROWS.format(frames=geometry.frames_per_token),
        axes=axes,
        shape=f"{axes} = [{shape}]",
        note=_NOTE_64 if layout.code.bits_per_token == 64 else "",
        scales=_SCALES.format() if geometry.layout == "pyramid" else "",
    )


def _axes(outline: ExportOutline, layout: TokenLayout) -> tuple[str, tuple[int | None, ...]]:
    """The names of a clip's dimensions, and their sizes; None where clips differ."""
    values = layout.values_per_token
    names, sizes = ("T, h, w", outline.contents.shape_THW)
    if layout.geometry.layout == "pyramid":
        grids = None if None in sizes else layout.geometry.num_tokens(sizes)  # pyright: ignore[reportArgumentType]
        names, sizes = "N", (grids,)
    return (f"[{names}]", sizes) if values == 1 else (f"[{names}, {values}]", (*sizes, values))


def _values(layout: TokenLayout) -> str:
    code, num_bytes = layout.code, layout.values_per_token
    limit = f"2^{code.bits_per_token}" if code.kind == "bits" else str(code.num_codes)
    indices = f"indices in [0, {limit})"
    if num_bytes == 1:
        return f"{layout.dtype.name} {indices}"
    return f"the {num_bytes} bytes ({layout.dtype.name}, the lowest first) of {indices}"


def _code(layout: TokenLayout) -> str:
    code = layout.code
    if code.kind == "bits":
        return f"Code bit 0 is an index's {code.first} significant bit. "
    if code.kind == "digits":
        levels = ", ".join(map(str, code.bases))
        return f"An index is digits of the bases {levels}, of which digit 0 is the {code.first} significant. "
    return ""


def _feature(field: "pa.Field[Any]", sizes: tuple[int | None, ...], dtype: str) -> str:
    name = f"  - name: {field.name}\n"
    if field.name == "tokens":
        return name + _tokens_feature(sizes, dtype)
    if pa.types.is_list(field.type):
        return f"{name}    sequence: {_word(field.type.value_type)}"
    return f"{name}    dtype: {_word(field.type)}"


def _tokens_feature(sizes: tuple[int | None, ...], dtype: str) -> str:
    # Only the first dimension of an array feature may be variable, and an array has more than one.
    if None in sizes[1:] or len(sizes) == 1:
        return "\n".join(["  " * depth + "    sequence:" for depth in range(len(sizes))]) + f" {dtype}"
    sides = ", ".join("null" if size is None else str(size) for size in sizes)
    return f"    dtype:\n      array{len(sizes)}_d:\n        shape: [{sides}]\n        dtype: {dtype}"


def _word(kind: pa.DataType) -> str:
    """A type's name in the hub's dataset cards."""
    return {"double": "float64"}.get(str(kind), str(kind))
