"""The tensors of Emu3's vision tokenizer: by itself, or in the layout of transformers, also within a model.

Our network has the names of the tokenizer published by itself.
"""

import re
from collections.abc import Collection

from bitmill.bsq_model.importing.weight_names.sorted_names import SortedNames

_PREFIXES = ("model.vqmodel.", "vqmodel.")
"""Of the tokenizer within a model of language and vision."""

_IN_TRANSFORMERS = re.compile(r"(en|de)coder\.(down|middle|up)_block\.")
_COUNTER = re.compile(r"(en|de)coder\.time_res_stack\.\d+\.norm[12]\.num_batches_tracked")
_LINEAR = re.compile(r".*\.(q|k|v|out)_proj\.weight")


def emu3_names(names: Collection[str], needed: Collection[str]) -> SortedNames:
    """Sort the names of the files' tensors; ``needed`` are the network's."""
    prefix = next((one for one in _PREFIXES if any(name.startswith(one) for name in names)), "")
    is_transformers = any(_IN_TRANSFORMERS.match(name.removeprefix(prefix)) for name in names)
    used = {prefix + (_in_transformers(name) if is_transformers else name): name for name in needed}
    kinds = {name: _unused(name, prefix) for name in names}
    return SortedNames(
        used=used,
        unused={name: kind for name, kind in kinds.items() if kind is not None},
        linear=frozenset(filter(_LINEAR.fullmatch, used)),
    )


def _in_transformers(name: str) -> str:
    """Return ``encoder.down_block.down.3.attn.0.q_proj.bias`` of ``encoder.down.3.attn.0.q.bias``."""
    name = re.sub(r"\.(down|up)\.", r".\1_block.\1.", name)
    name = name.replace(".mid.attn_1.norm.", ".mid.attn_norm.").replace(".mid.", ".middle_block.")
    name = re.sub(r"\.attn\.(\d+)\.norm\.", r".attn_norms.\1.", name)
    name = re.sub(r"\.([qkv])\.(weight|bias)$", r".\1_proj.\2", name)
    return name.replace(".proj_out.", ".out_proj.")


def _unused(name: str, prefix: str) -> str | None:
    if not name.startswith(prefix):
        return "other parts of the model"
    return "counters of training batches" if _COUNTER.fullmatch(name.removeprefix(prefix)) else None
