import pytest
import torch

from bitmill.bsq_model import tokenizer_files
from bitmill.bsq_model.bundled import bundled_tokenizer
from bitmill.pipeline.load_tokenizer import load_tokenizer
from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import FormatError
from tests.bsq_model.small import random_tokenizer


def test_a_tokenizer_is_loaded_by_string_path_and_uri_from_any_store(tmp_path):
    tokenizer, local = random_tokenizer(), tmp_path / "a tokenizer"
    for place in (str(local), "memory://models/tokenizer"):
        for name, data in tokenizer_files(tokenizer).items():
            Folder(place).write_bytes(name, data)
    for given in (local, str(local), local.as_uri(), "memory://models/tokenizer"):
        assert load_tokenizer(given).fingerprint == tokenizer.fingerprint
    loaded = load_tokenizer("memory://models/tokenizer", dtype=torch.bfloat16)
    assert next(loaded.parameters()).dtype == torch.bfloat16


def test_a_bundled_tokenizer_is_loaded_by_its_name_whatever_lies_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    assert load_tokenizer("small").fingerprint == bundled_tokenizer("small").fingerprint
    with pytest.raises(FormatError, match="There is no tokenizer at "):
        load_tokenizer(tmp_path / "small")
    with pytest.raises(FormatError, match="did you mean 'small'"):
        load_tokenizer("smal")


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(FormatError, match=f"There is no tokenizer at {tmp_path} "):
        load_tokenizer(tmp_path)
