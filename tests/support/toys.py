"""The package of toy tokenizers as an installer leaves it: a folder for PYTHONPATH, beside no venv."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import REPOSITORY, Finished, command, ended, environment
from tests.support.foreign import foreign_folder
from tests.support.forked import ForkedCommand
from tests.support.media import jpeg_photo, real_pictures, write_video

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


def with_toys(toys: Path, *words: str, extra: Mapping[str, str] | None = None) -> ForkedCommand:
    """Start ``bitmill`` where the package is installed. The forked process finds it, since nothing in that
    folder is read as a Python starts."""
    variables = environment({**(extra or {}), "PYTHONPATH": str(toys)})
    return ForkedCommand(command(*words), variables, foreign_folder())


def bitmill_with_toys(toys: Path, *words: str, extra: Mapping[str, str] | None = None) -> Finished:
    """The same to its end."""
    return ended(with_toys(toys, *words, extra=extra))


VIDEO_FRAMES = {"a": 35, "b": 20, "c": 1, "d": 17}
"""Frames of each video of ``make_media``."""


def make_media(folder: Path) -> Path:
    """Short videos and a photograph."""
    folder.mkdir(exist_ok=True)
    for name, length in VIDEO_FRAMES.items():
        write_video(folder / f"{name}.mp4", real_pictures(length, 80, 60), fps=10)
    jpeg_photo(folder / "photo.jpg")
    return folder


def toy_job(
    folder: Path, media: Path, plugin: str, options: dict[str, Any] | None = None, **keys: Any
) -> Path:
    """Write a job, a shard a source, whose output is ``tokens`` beside it; gives its file."""
    folder.mkdir(exist_ok=True)
    document = {
        "version": 1,
        "source": {"paths": [str(media)]},
        "output": str(folder / "tokens"),
        "tokenizer": {"plugin": plugin, **({"options": options} if options else {})},
        "frames": {"size_px": 48},
        "sharding": {"max_sources": 1},
        **keys,
    }
    path = folder / "job.yaml"
    path.write_text(json.dumps(document))
    return path


def tokenize_here(job: Path, toys: Path | None = None) -> None:
    """Complete a job in this process, without Ray, with the toys of that folder."""
    from bitmill.bsq_model.families import load_files
    from bitmill.jobs.preparation.prepare import prepare
    from bitmill.pipeline.dataset.dataset_folder import publish_totals
    from bitmill.pipeline.dataset.totals import committed_totals
    from bitmill.pipeline.isolation.source_events import DecodeSettings, Staged, source_events
    from bitmill.pipeline.shard.model_encoder import ModelEncoder
    from bitmill.pipeline.shard.shard_loop import tokenize_shard
    from bitmill.schemas.requests.job import load_job

    with pytest.MonkeyPatch.context() as patch:
        if toys is not None:
            patch.syspath_prepend(str(toys))
        prepared = prepare(load_job(job.read_text(), origin="job"), cluster_has_gpus=lambda: False)
        context, out = prepared.context, prepared.folder
        settings = DecodeSettings.of(
            prepared.job, context.sizes, pixel_rule=context.pixel_rule, geometry=context.geometry
        )
        for shard in prepared.shards:
            items = [
                (event for event in source_events(source, settings) if not isinstance(event, Staged))
                for source in shard.sources
            ]
            list(
                tokenize_shard(shard, items, ModelEncoder(load_files(prepared.tokenizer.files)), context, out)
            )
        ids = {shard.shard_id for shard in prepared.shards}
        publish_totals(out, prepared.card, committed_totals(out, prepared.shards, ids))


def expect_one_sentence(done: Finished, sentence: str) -> None:
    """A refused job: exit code 2 and one line of this pattern."""
    assert done.code == 2, done.out + done.err
    (line,) = done.err.splitlines()
    assert line.startswith("error: ")
    assert re.search(sentence, line), line


def expect_no_shard(tokens: Path) -> None:
    """Nothing of a shard was published. What actors had staged when they were ended, the next run sweeps."""
    assert not [path for name in ("shards", "ledger") for path in (tokens / name).rglob("*")]
