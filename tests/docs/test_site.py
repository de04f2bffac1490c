"""The site is built whole from the pages and the code, and needs nothing from elsewhere when it is read."""

import re

import pytest

import bitmill
from bitmill.jobs.cli import app
from bitmill.schemas.requests.job import JobSpec
from bitmill.schemas.requests.keys import keys_of
from tests.support.commands import run_module

_FETCHED = re.compile(r"""<(?:script|img|link|iframe)[^>]+(?:src|href)=["'](?:https?:)?//""")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    # Warnings are errors: a link to nowhere, a page that no list has, a docstring that cannot be read.
    options = ["-W", "--keep-going", "-q", "-b", "html", "-d", str(folder / "doctrees")]
    done = run_module("sphinx", *options, "docs", str(folder / "html"))
    assert done.code == 0, done.err
    return folder / "html"


@pytest.mark.slow
def test_the_references_have_every_name_command_and_key(site):
    names = (site / "reference.html").read_text()
    for name in bitmill.__all__:
        assert f"bitmill.{name}" in names or f"errors.{name}" in names, name
    commands = (site / "command-line.html").read_text()
    for command in app.registered_commands:
        assert command.callback is not None
        assert f"bitmill {command.callback.__name__.replace('_', '-')}<" in commands
    keys = (site / "keys.html").read_text()
    for key in keys_of(JobSpec):
        assert f">{key.name}<" in keys


def test_nothing_is_fetched_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        assert not _FETCHED.search(page.read_text()), page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(?:https?:)?//", style.read_text()), style
    assert (site / "searchindex.js").stat().st_size > 10_000
