"""The list of a file's keys is what its model takes."""

import re

import pytest
import yaml

from bitmill.schemas.requests.job import JobSpec
from bitmill.schemas.requests.keys import keys_of
from bitmill.schemas.requests.token_training import TokenTrainSpec
from bitmill.schemas.requests.training import TrainSpec
from tests.support.commands import REPOSITORY


@pytest.mark.parametrize(("model", "example"), [(JobSpec, "job"), (TrainSpec, "train")])
def test_every_key_of_the_example_is_listed_with_the_default_that_it_shows(model, example):
    text = (REPOSITORY / "schemas" / f"{example}.example.yaml").read_text()
    listed = {key.name: key for key in keys_of(model)}
    for name, value in _leaves(yaml.safe_load(text)):
        key = listed[name]
        if key.default is not None and _section(name) not in ("source", "tokenizer", "model"):
            assert yaml.safe_load(key.default) == value, name


def test_a_key_says_what_it_takes():
    listed = {key.name: key for key in keys_of(JobSpec)}
    assert listed["output"].default is None
    assert listed["sampling.clip_frames"].kind == "whole number, ≥ 1, ≤ 65,536 or null"
    assert listed["sampling.tail"].kind == "`pad` or `drop`"
    assert listed["frames.buckets"].kind.startswith("list of [whole number")
    assert "null takes every frame" in listed["sampling.fps"].meaning
    assert not [key.name for key in listed.values() if re.search(r"None|``", key.meaning)]


def test_kinds_of_models_list_their_shared_keys_once():
    names = [key.name for key in keys_of(TokenTrainSpec)]
    assert names.count("model.width") == 1
    assert names.count("model.kind") == 2
    assert {"model.window_frames", "model.labels", "data.frames"} <= set(names)


def _leaves(document, prefix=""):
    for name, value in document.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _section(name):
    return name.partition(".")[0]
