"""README.md of the format ``huggingface``: the hub's dataset card in YAML, and a page for people."""

from typing import Any

import numpy as np
import pyarrow as pa

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

{clips:,} clips, {frames:,} frames, {tokens:,} tokens of {bits} bits, exported by bitmill.
Their tokenizer is `{fingerprint}`.

`tokens` are {dtype} indices in [0, 2^{bits}), {shape}; a token stands for a patch of {patch}×{patch}
pixels of one frame. Code bit 0 is an index's most significant bit. `metadata` is a JSON object or null.

```python
from datasets import load_dataset

clips = load_dataset("FOLDER", split="train").with_format("torch")
tokens = clips[0]["tokens"]  # int64 [T, h, w]{note}
```
"""

_NOTE_64 = "; view it as uint64: the highest bit may be set"


def readme_text(outline: ExportOutline, schema: pa.Schema, dtype: np.dtype[Any]) -> str:
    """The whole README.md. Contains no time, place or sources."""
    contents, dataset = outline.contents, outline.dataset
    shape = contents.shape_THW
    features = "\n".join(_feature(field, shape, dtype) for field in schema)
    card = _CARD.format(features=features, clips=contents.clips, num_bytes=contents.tokens * dtype.itemsize)
    return card + _PAGE.format(
        clips=contents.clips,
        frames=contents.frames,
        tokens=contents.tokens,
        bits=dataset.bits_per_token,
        fingerprint=dataset.tokenizer_fingerprint,
        dtype=dtype.name,
        patch=dataset.patch_size_px,
        shape="[T, h, w] = [" + ", ".join("any" if size is None else str(size) for size in shape) + "]",
        note=_NOTE_64 if dataset.bits_per_token == 64 else "",
    )


def _feature(field: "pa.Field[Any]", shape: tuple[int | None, ...], dtype: np.dtype[Any]) -> str:
    name = f"  - name: {field.name}\n"
    if field.name == "tokens":
        return name + _tokens_feature(shape, dtype.name)
    if pa.types.is_list(field.type):
        return f"{name}    sequence: {_word(field.type.value_type)}"
    return f"{name}    dtype: {_word(field.type)}"


def _tokens_feature(shape: tuple[int | None, ...], dtype: str) -> str:
    # Only the first dimension of an array feature may be variable.
    if None in shape[1:]:
        return f"    sequence:\n      sequence:\n        sequence: {dtype}"
    sides = ", ".join("null" if size is None else str(size) for size in shape)
    return f"    dtype:\n      array3_d:\n        shape: [{sides}]\n        dtype: {dtype}"


def _word(kind: pa.DataType) -> str:
    """A type's name in the hub's dataset cards."""
    return {"double": "float64"}.get(str(kind), str(kind))
