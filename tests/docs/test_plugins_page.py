"""The tokenizer of docs/plugins.md is a plugin: its page's blocks make a package that conforms and loads."""

import re
from pathlib import Path

import pytest
import safetensors.torch
import torch

from bitmill.bsq_model.plugins import load_plugin
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.requests.job import load_job
from bitmill.testing import conformance_checks
from tests.docs.test_docs import runnable
from tests.support.commands import REPOSITORY
from tests.support.toys import install

PAGE = (REPOSITORY / "docs" / "plugins.md").read_text()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's package, installed, and two files of weights in the working folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    (toml,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (folder / "pyproject.toml").write_text(toml)
    (folder / "patch_fsq.py").write_text(runnable("docs/plugins.md")[0])
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        layers = {"encoder": torch.nn.Linear(192, 3), "decoder": torch.nn.Linear(3, 192)}
        safetensors.torch.save_file(
            torch.nn.ModuleDict(layers).state_dict(), tmp_path / f"{name}.safetensors"
        )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(install(folder, tmp_path / "site")))
    return folder


def test_the_pages_tokenizer_conforms_and_is_loaded_by_the_pages_job(project):
    source, checking = runnable("docs/plugins.md")
    code = [line for line in source.splitlines() if line.strip()]
    assert len(code) <= 40
    names: dict = {}
    for block in (source, checking):
        exec(compile(block, "plugins.md", "exec"), names)
    assert set(names["checked"]) == {check.name for check in conformance_checks()} - {"streams", "scales"}
    (job,) = runnable("docs/plugins.md", "yaml")
    spec = load_job(job, origin="the page").tokenizer
    assert spec.plugin is not None
    tokenizer = load_plugin(spec.plugin, {"weights": "a.safetensors"})
    assert list(spec.options) == list(tokenizer.config.options)
    assert tokenizer.config.package == "patch-fsq 1.0"
    assert tokenizer.origin is not None
    assert tokenizer.origin.licence == "MIT"


def test_the_page_names_every_check_and_every_field():
    told = set(re.findall(r"`([\w-]+)", PAGE))
    assert {check.name for check in conformance_checks()} <= told
    assert set(Geometry.model_fields) - {"layout"} <= told
    assert {f"Code.{name}" for name in vars(Code) if name.startswith("of_")} <= set(
        re.findall(r"`(Code\.\w+)", PAGE)
    )
