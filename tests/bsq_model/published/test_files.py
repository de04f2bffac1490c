"""Published tokenizers as files: the same one comes back, and nothing else passes for one."""

import pytest
import torch

from bitmill.bsq_model.families import load_files
from bitmill.bsq_model.published.files import published_files
from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.bsq_vit_config import CONFIG_FILE, WEIGHTS_FILE
from tests.bsq_model.published.golden import CONFIGS, case, golden, items


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_tokenizer_comes_back(name):
    files = published_files(golden(name))
    again = load_files(files)
    assert (again.config, again.fingerprint) == (CONFIGS[name], golden(name).fingerprint)
    clip = case(name)[f"{items(name, 'indices')[0]}.input"]
    assert torch.equal(again.encode([clip])[0], golden(name).encode([clip])[0])


def test_weights_that_bfloat16_holds_take_half_the_bytes_and_are_the_same_tokenizer():
    whole, half = (
        published_files(golden("cosmos-di8x8")),
        published_files(golden("cosmos-di8x8"), dtype=torch.bfloat16),
    )
    assert len(half[WEIGHTS_FILE]) < 0.6 * len(whole[WEIGHTS_FILE])
    again = load_files(half)
    assert again.fingerprint == golden("cosmos-di8x8").fingerprint
    with pytest.raises(ValueError, match=r"are not exactly torch\.bfloat16"):
        published_files(golden("vidtok-v10"), dtype=torch.bfloat16)


def test_fingerprints_stay_what_they_were():
    """Datasets name them."""
    assert golden("vidtok-v11").fingerprint == "6373ba279c0a05c348eb635db9cb2d48"
    assert golden("cosmos-dv4x8x8").fingerprint == "886618faab4190ecaa7f4b8319cc64e6"
    assert golden("emu3").fingerprint == "2a024d14a953404e81ccca0439ba6b8a"
    assert golden("cosmos-di8x8").fingerprint == "2c99a554169d4babf08fa212c8e285a2"
    assert golden("open-magvit2").fingerprint == "68647404abc4c15e19733bc55fefd317"


def test_other_files_are_refused():
    one, other = published_files(golden("vidtok-v10")), published_files(golden("vidtok-v11"))
    with pytest.raises(FormatError, match=r"model\.safetensors does not fit config\.json"):
        load_files(one | {WEIGHTS_FILE: other[WEIGHTS_FILE]})
    with pytest.raises(FormatError, match=r"model\.safetensors is damaged"):
        load_files(one | {WEIGHTS_FILE: one[WEIGHTS_FILE][:-1]})
    with pytest.raises(FormatError, match=r"config\.json is not a tokenizer config"):
        load_files(one | {CONFIG_FILE: one[CONFIG_FILE].replace(b'"vidtok"', b'"vidtik"')})
