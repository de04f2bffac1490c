import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from bitmill.bsq_model import (
    load_tokenizer,
    round_weights,
    save_tokenizer,
    tokenizer_files,
    tokenizer_from_files,
)
from bitmill.schemas.errors import FormatError, OutputConflictError, UsageError
from bitmill.schemas.models.bsq_vit_config import CONFIG_FILE, WEIGHTS_FILE
from tests.bsq_model.small import IMAGE, random_clip, random_tokenizer


def test_a_loaded_tokenizer_is_the_saved_one(tmp_path: Path) -> None:
    saved, clip = random_tokenizer(), random_clip(4)
    save_tokenizer(saved, tmp_path / "tokenizer")
    loaded = load_tokenizer(tmp_path / "tokenizer")
    assert loaded.config == saved.config
    assert not loaded.training
    assert loaded.fingerprint == saved.fingerprint
    assert torch.equal(loaded.latents([clip])[0], saved.latents([clip])[0])
    assert sorted(p.name for p in (tmp_path / "tokenizer").iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]
    # Loaded weights are ordinary parameters: they train.
    loaded(torch.zeros(1, 2, 24, 24, 3)).reconstruction_BTHWC.sum().backward()
    assert loaded.encoder.embed.weight.grad is not None


def test_bytes_are_deterministic_and_saving_again_is_safe(tmp_path: Path) -> None:
    assert tokenizer_files(random_tokenizer()) == tokenizer_files(random_tokenizer())
    save_tokenizer(random_tokenizer(), tmp_path)
    save_tokenizer(random_tokenizer(), tmp_path)
    with pytest.raises(OutputConflictError, match="belongs to another tokenizer"):
        save_tokenizer(random_tokenizer(seed=1), tmp_path)
    assert load_tokenizer(tmp_path).fingerprint == random_tokenizer().fingerprint


def test_fingerprint_names_weights_and_config() -> None:
    tokenizer = random_tokenizer()
    before = tokenizer.fingerprint
    assert len(before) == 32
    with torch.no_grad():
        tokenizer.decoder.spatial_positions[0, 0] += 1e-3
    changed = tokenizer.fingerprint
    assert changed != before
    tokenizer.config = tokenizer.config.model_copy(update={"image_size_px": 48})
    assert tokenizer.fingerprint not in {before, changed}


def test_fingerprint_survives_casting_and_loading_in_another_dtype(tmp_path: Path) -> None:
    tokenizer = random_tokenizer()
    expected = tokenizer.fingerprint
    save_tokenizer(tokenizer, tmp_path)
    assert load_tokenizer(tmp_path, dtype=torch.bfloat16).fingerprint == expected
    assert tokenizer.to(torch.bfloat16).fingerprint == expected
    assert tokenizer.to(torch.float16).fingerprint == expected
    # What was rounded is another tokenizer, and says so.
    assert tokenizer.float().fingerprint != expected


def test_a_cast_tokenizer_with_new_weights_has_no_fingerprint_and_cannot_be_saved(tmp_path: Path) -> None:
    tokenizer = random_tokenizer().to(torch.bfloat16)
    with pytest.raises(UsageError, match="save it, or take its fingerprint, before you cast it"):
        save_tokenizer(tokenizer, tmp_path)
    tokenizer.load_state_dict(random_tokenizer(seed=1).to(torch.bfloat16).state_dict())
    with pytest.raises(UsageError, match=r"weights are torch\.bfloat16"):
        _ = tokenizer.fingerprint


def _damage(kind: str) -> tuple[bytes, bytes]:
    files = tokenizer_files(random_tokenizer())
    config, weights = json.loads(files[CONFIG_FILE]), safetensors.torch.load(files[WEIGHTS_FILE])
    match kind:
        case "missing":
            del weights["encoder.ln_pre.bias"]
        case "extra":
            weights["encoder.surplus"] = torch.zeros(1)
        case "shape":
            weights["encoder.head.bias"] = torch.zeros(19)
        case "dtype":
            weights["encoder.head.bias"] = torch.zeros(18, dtype=torch.float16)
        case "nan":
            weights["decoder.head.0.bias"][3] = float("nan")
        case "newer":
            config["format_version"] = 3
        case "field":
            config["surplus"] = 1
        case "geometry":
            config["encoder"]["heads"] = 5
        case "truncated":
            return files[CONFIG_FILE], files[WEIGHTS_FILE][:-5]
        case "no weights":
            return files[CONFIG_FILE], b""
        case "no json":
            return b"\xff{", files[WEIGHTS_FILE]
        case "list":
            return b"[]", files[WEIGHTS_FILE]
        case _:
            raise AssertionError(kind)
    return json.dumps(config).encode(), safetensors.torch.save(weights)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"encoder\.ln_pre\.bias is missing"),
        ("extra", r"encoder\.surplus is unknown"),
        ("shape", r"encoder\.head\.bias is torch\.float32 \[19\] instead of torch\.float32 \[18\]"),
        ("dtype", r"encoder\.head\.bias is torch\.float16 \[18\] instead of"),
        ("nan", r"not finite in decoder\.head\.0\.bias"),
        ("newer", "format_version 3, this release supports up to 2; upgrade bitmill"),
        ("field", "not a tokenizer config.*(?s:.*)surplus"),
        ("geometry", "not a tokenizer config(?s:.*)not divisible by heads 5"),
        ("truncated", "safetensors is damaged"),
        ("no weights", "safetensors is damaged"),
        ("no json", "config.json is not JSON"),
        ("list", "not a tokenizer config"),
    ],
)
def test_damaged_files_are_refused_by_name(kind: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        tokenizer_from_files(*_damage(kind))


def test_weights_of_another_geometry_name_a_few_tensors_only() -> None:
    config = tokenizer_files(random_tokenizer(IMAGE))[CONFIG_FILE]
    weights = tokenizer_files(random_tokenizer())[WEIGHTS_FILE]
    with pytest.raises(FormatError, match=r"does not fit config\.json: .* and 2 more; use the two"):
        tokenizer_from_files(config, weights)


def test_a_folder_may_be_a_text_or_a_file_uri(tmp_path: Path) -> None:
    folder = tmp_path / "a tokenizer"
    save_tokenizer(random_tokenizer(), folder.as_uri())
    for place in (folder, str(folder), folder.as_uri()):
        assert load_tokenizer(place).fingerprint == random_tokenizer().fingerprint
    with pytest.raises(
        ValueError, match=r"s3://bucket/tokenizer is on a remote store.*bitmill\.load_tokenizer"
    ):
        load_tokenizer("s3://bucket/tokenizer")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"cannot read .*config\.json \(No such file"):
        load_tokenizer(tmp_path)
    save_tokenizer(random_tokenizer(), tmp_path)
    (tmp_path / WEIGHTS_FILE).unlink()
    with pytest.raises(FormatError, match=r"cannot read .*model\.safetensors"):
        load_tokenizer(tmp_path)


def test_weights_that_are_not_finite_are_not_saved() -> None:
    tokenizer = random_tokenizer()
    with torch.no_grad():
        tokenizer.encoder.ln_post.bias[0] = float("inf")
    with pytest.raises(
        FormatError, match=r"to be saved contains values that are not finite in encoder\.ln_post\.bias"
    ):
        tokenizer_files(tokenizer)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rounded_weights_are_stored_in_half_the_bytes_and_read_as_the_same_tokenizer(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    tokenizer = random_tokenizer()
    before = tokenizer.fingerprint
    with pytest.raises(ValueError, match=r"are not exactly torch\.b?float16; round them"):
        tokenizer_files(tokenizer, dtype=dtype)
    round_weights(tokenizer, dtype)
    assert tokenizer.fingerprint != before
    assert {p.dtype for p in tokenizer.parameters()} == {torch.float32}
    narrow, wide = tokenizer_files(tokenizer, dtype=dtype), tokenizer_files(tokenizer)
    assert narrow[CONFIG_FILE] == wide[CONFIG_FILE]
    assert len(narrow[WEIGHTS_FILE]) < 0.52 * len(wide[WEIGHTS_FILE])
    save_tokenizer(tokenizer, tmp_path, dtype=dtype)
    loaded = load_tokenizer(tmp_path)
    assert loaded.fingerprint == tokenizer.fingerprint
    assert tokenizer_files(loaded) == wide
    # Twice is once.
    round_weights(loaded, dtype)
    assert loaded.fingerprint == tokenizer.fingerprint


def test_weights_too_large_for_float16_are_refused_before_any_is_rounded() -> None:
    tokenizer = random_tokenizer()
    with torch.no_grad():
        tokenizer.decoder.ln_post.bias[0] = 1e5
    before = tokenizer.fingerprint
    with pytest.raises(ValueError, match=r"decoder\.ln_post\.bias has values too large for torch\.float16"):
        round_weights(tokenizer, torch.float16)
    assert tokenizer.fingerprint == before


def test_other_dtypes_of_files_are_refused() -> None:
    with pytest.raises(ValueError, match=r"float32, float16 or bfloat16, not torch\.float64"):
        tokenizer_files(random_tokenizer(), dtype=torch.float64)
    files = tokenizer_files(random_tokenizer())
    weights = {n: t.double() for n, t in safetensors.torch.load(files[WEIGHTS_FILE]).items()}
    with pytest.raises(FormatError, match=r"is torch\.float64 .* instead of torch\.float32"):
        tokenizer_from_files(files[CONFIG_FILE], safetensors.torch.save(weights))
