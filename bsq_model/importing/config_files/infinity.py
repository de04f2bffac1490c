"""Converts the arguments of Infinity's published loader to our config; admits no others."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.geometry import MAX_BITS_PER_TOKEN, grid_name
from bitmill.schemas.models.infinity.config import InfinityConfig
from bitmill.schemas.models.infinity.schedules import published_schedules
from bitmill.schemas.requests.validation_text import describe_validation
from bitmill.schemas.strict_model import StrictModel

_Side = Annotated[int, Field(ge=1)]
_Scales = Annotated[tuple[tuple[Literal[1], _Side, _Side], ...], Field(min_length=1)]


class _Arguments(StrictModel):
    vae_type: int
    apply_spatial_patchify: Literal[0, 1]
    patch_size: Literal[8, 16]
    encoder_ch_mult: tuple[int, ...]
    decoder_ch_mult: tuple[int, ...]
    codebook_dim: Annotated[int, Field(ge=1, le=MAX_BITS_PER_TOKEN)]
    codebook_size: int
    schedule_mode: Literal["dynamic"] = "dynamic"
    base_ch: int = 128
    num_res_blocks: int = 2
    # Not an argument of the loader's: what its encode() takes, for more sizes than those in the table.
    scale_schedules: dict[str, _Scales] = Field(default_factory=dict)


def infinity_config(document: dict[str, Any], *, origin: str) -> InfinityConfig:
    """Return the config of published arguments. Raises UsageError naming an unsupported one."""
    try:
        arguments = _Arguments.model_validate(document)
        wrong = _unsupported(arguments)
        if wrong:
            raise UsageError(f"{origin} describes a model that cannot be imported: {'; '.join(wrong)}.")
        return InfinityConfig(
            channels=arguments.base_ch,
            channel_multipliers=arguments.encoder_ch_mult,
            num_res_blocks=arguments.num_res_blocks,
            bits_per_token=arguments.codebook_dim,
            schedules=_schedules(arguments),
        )
    except ValidationError as error:
        raise UsageError(
            f"{origin} is no config of Infinity that can be imported: {describe_validation(error)}"
        ) from error


def _unsupported(arguments: _Arguments) -> list[str]:
    multipliers = arguments.encoder_ch_mult
    checks: list[tuple[str, object, object]] = [
        ("codebook_dim", arguments.codebook_dim, arguments.vae_type),
        ("codebook_size", arguments.codebook_size, 1 << arguments.codebook_dim),
        ("decoder_ch_mult", list(arguments.decoder_ch_mult), list(multipliers)),
        ("patch_size", arguments.patch_size, 1 << max(0, len(multipliers) - 1)),
        ("apply_spatial_patchify", arguments.apply_spatial_patchify, int(arguments.patch_size == 8)),
    ]
    wrong = [f"{name} is {value}, not {wanted}" for name, value, wanted in checks if value != wanted]
    for name, grids in arguments.scale_schedules.items():
        if grid_name(*grids[-1][1:]) != name:
            wrong.append(f"the last scale of scale_schedules.{name} is not of that size")
    return wrong


def _schedules(arguments: _Arguments) -> tuple[str, ...]:
    """Return the published schedules, and those given: these instead of the others where both have a size."""
    published = published_schedules(doubled=bool(arguments.apply_spatial_patchify))
    by_size = {schedule.rpartition(" ")[2]: schedule for schedule in published}
    for name, grids in arguments.scale_schedules.items():
        by_size[name] = " ".join(grid_name(*grid[1:]) for grid in grids)
    return tuple(by_size.values())
