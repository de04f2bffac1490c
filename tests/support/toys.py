"""The package of toy tokenizers as an installer leaves it: a folder for PYTHONPATH, beside no venv."""

import tomllib
from pathlib import Path

from tests.support.commands import REPOSITORY

TOYS = REPOSITORY / "tests" / "support" / "toy_plugins"


def install(project: Path, folder: Path) -> Path:
    """Put a project's packages and its metadata (with entry points) into a folder; gives that folder."""
    about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    name, version = about["name"], about["version"]
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "INSTALLER").write_text("tests\n")
    lines: list[str] = []
    for group, points in about["entry-points"].items():
        lines += [f"[{group}]", *(f"{point} = {place}" for point, place in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for package in project.iterdir():
        if (package / "__init__.py").exists() or package.suffix == ".py":
            (folder / package.name).symlink_to(package)
    return folder


def install_toys(folder: Path) -> Path:
    """Install bitmill-toys 1.0."""
    return install(TOYS, folder)
