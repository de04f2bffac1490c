"""The published models that can be imported by their names: config, licence and where they are."""

from dataclasses import dataclass

from bitmill.bsq_model.importing.config_files.described_model import DescribedModel
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.cosmos_config import CosmosImageConfig, CosmosVideoConfig
from bitmill.schemas.models.emu3_config import Emu3Config
from bitmill.schemas.models.infinity.config import InfinityConfig
from bitmill.schemas.models.infinity.schedules import published_schedules
from bitmill.schemas.models.open_magvit2_config import OpenMagvit2Config
from bitmill.schemas.models.vidtok_config import VidTokConfig
from bitmill.schemas.nearest_name import did_you_mean


@dataclass(frozen=True, kw_only=True)
class PublishedModel(DescribedModel):
    """What its name says of a model."""

    source: str
    licence: str
    """Of the weights, as the model's card names it."""


def published_model(name: str) -> PublishedModel:
    """Return the model of this name. Raises UsageError listing the known names."""
    # Their repositories have both names.
    name = name.removeprefix("nvidia/").removeprefix("BAAI/").removeprefix("TencentARC/")
    name = name.replace("Cosmos-Tokenizer-", "Cosmos-0.1-Tokenizer-")
    name = name.replace("infinity_vae_d32_reg", "infinity_vae_d32reg")
    if name not in PUBLISHED_MODELS:
        near = did_you_mean(name, PUBLISHED_MODELS)
        raise UsageError(f"{name} is no known model{near}; there are {', '.join(PUBLISHED_MODELS)}.")
    return PUBLISHED_MODELS[name]


def _vidtok(name: str, config: VidTokConfig) -> tuple[str, PublishedModel]:
    return name, PublishedModel(
        config=config, source=f"{name} of microsoft/VidTok on Hugging Face", licence="MIT"
    )


def _cosmos(name: str, config: CosmosVideoConfig | CosmosImageConfig) -> tuple[str, PublishedModel]:
    return name, PublishedModel(
        config=config, source=f"nvidia/{name} on Hugging Face", licence="NVIDIA Open Model License"
    )


def _infinity(name: str, config: InfinityConfig) -> tuple[str, PublishedModel]:
    return name, PublishedModel(
        config=config, source=f"{name}.pth of FoundationVision/Infinity on Hugging Face", licence="MIT"
    )


def _open_magvit2(
    name: str, num_bits: int, channel_multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
) -> tuple[str, PublishedModel]:
    config = OpenMagvit2Config(bits_per_token=num_bits, channel_multipliers=channel_multipliers)
    return name, PublishedModel(
        config=config,
        averaged=True,
        source=f"TencentARC/{name} on Hugging Face",
        licence="Apache-2.0 (of the code; what the weights' card says was not seen)",
    )


def _dv(frames_per_token: int, patch_px: int) -> CosmosVideoConfig:
    return CosmosVideoConfig.model_validate({"frames_per_token": frames_per_token, "patch_px": patch_px})


_FIVE_LEVELS = (1, 2, 4, 4, 4)

PUBLISHED_MODELS = dict(
    (
        *(
            _vidtok(f"vidtok_fsq_causal_488_{8**digits}", VidTokConfig(version="1.0", levels=(8,) * digits))
            for digits in (4, 5, 6)
        ),
        _vidtok(
            "vidtok_fsq_causal_41616_262144",
            VidTokConfig(version="1.0", levels=(8,) * 6, channel_multipliers=_FIVE_LEVELS),
        ),
        _vidtok("vidtok_fsq_causal_488_32768_v1_1", VidTokConfig(version="1.1", levels=(8,) * 5)),
        _vidtok(
            "vidtok_fsq_causal_888_32768_v1_1",
            VidTokConfig(version="1.1", levels=(8,) * 5, frames_per_token=8),
        ),
        _vidtok(
            "vidtok_fsq_causal_41616_262144_v1_1",
            VidTokConfig(version="1.1", levels=(8,) * 6, channel_multipliers=_FIVE_LEVELS),
        ),
        *(
            _cosmos(f"Cosmos-0.1-Tokenizer-DV{frames}x{side}x{side}", _dv(frames, side))
            for frames, side in ((4, 8), (8, 8), (8, 16))
        ),
        *(
            _cosmos(f"Cosmos-0.1-Tokenizer-DI{side}x{side}", CosmosImageConfig(patch_px=side))
            for side in (8, 16)
        ),
        _cosmos("Cosmos-1.0-Tokenizer-DV8x16x16", _dv(8, 16)),
        (
            "Emu3-VisionTokenizer",
            PublishedModel(
                config=Emu3Config(),
                source="BAAI/Emu3-VisionTokenizer on Hugging Face",
                licence="Apache-2.0 (of the code; what the weights' card says was not seen)",
            ),
        ),
        *(
            _infinity(
                f"infinity_vae_d{kind}",
                InfinityConfig(bits_per_token=int(kind[:2]), schedules=published_schedules()),
            )
            for kind in ("16", "24", "32", "64", "32reg")
        ),
        _infinity(
            "infinity_vae_d56_f8_14_patchify",
            InfinityConfig(
                bits_per_token=14,
                channel_multipliers=_FIVE_LEVELS[:4],
                schedules=published_schedules(doubled=True),
            ),
        ),
        _open_magvit2("Open-MAGVIT2-Tokenizer-256-resolution", 18),
        _open_magvit2("Open-MAGVIT2-Tokenizer-128-resolution", 18, (1, 2, 2, 4)),
        _open_magvit2("Open-MAGVIT2-Tokenizer-262144-Pretrain", 18),
        _open_magvit2("Open-MAGVIT2-Tokenizer-16384-Pretrain", 14),
    )
)
"""By the names of the published files (VidTok, Infinity) and repositories (Cosmos, Emu3, Open-MAGVIT2)."""
