"""Measures the cost of a dataset's clips under a token model and under baselines.

Axes: T frames, h and w tokens, D dimensions of a code, G groups of a token, n tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from bitmill.bsq_model.token_models.token_layers import values_of_codes
from bitmill.bsq_model.token_models.token_model import TokenModel
from bitmill.pipeline.dataset.dataset_folder import require_card
from bitmill.pipeline.reading import ClipFilter, TokenDataset
from bitmill.pipeline.storage import Folder
from bitmill.pipeline.token_training import baselines
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.errors import TokenizerMismatchError, UsageError

_SEED = 0


@dataclass(frozen=True, kw_only=True)
class TokenCosts:
    """Costs in bits per token, all over the same clips."""

    clips: int
    frames: int
    tokens: int
    bits_per_token: int
    """As stored."""
    model: float
    static_groups: float
    adaptive_groups: float
    independent_bits: float
    """Of each bit, or each digit, by itself."""
    zstd: float


def evaluate_tokens(
    model: TokenModel,
    dataset: str,
    *,
    sources: tuple[str, ...],
    most_frames: int,
    device: torch.device,
    on_progress: Callable[[int, int], None] = lambda _clips, _of: None,
) -> TokenCosts:
    """Measure all clips, or those whose source matches ``sources``; calls ``on_progress(clips, total)``.

    A clip longer than ``most_frames`` is split into pieces, each coded without the previous one. Raises
    TokenizerMismatchError if the tokens are of another tokenizer than the model's, UsageError if no clip
    matches.
    """
    _check_tokenizer(model, require_card(Folder(dataset)), dataset)
    clips = TokenDataset(dataset, where=ClipFilter(sources=sources))
    if not len(clips):
        raise UsageError(f"{dataset}: no clip's source matches {', '.join(sources) or 'anything'}.")
    generator = torch.Generator().manual_seed(_SEED)
    model = model.to(device).eval()
    bits_in_all, frames = 0.0, 0
    seen: list[torch.Tensor] = []
    for number, clip in enumerate(clips, start=1):
        codes_ThwD: torch.Tensor = clip["tokens"]
        for piece in codes_ThwD.split(most_frames):
            with torch.inference_mode():
                cost_B = model.held_out_bits(piece[None].to(device), None, generator)
            bits_in_all += cost_B.item() * piece[..., 0].numel()
        seen.append(codes_ThwD.flatten(0, 2))
        frames += len(codes_ThwD)
        on_progress(number, len(clips))
    codes_nD, code = torch.cat(seen), clips.cards[0].geometry.code
    values_nG, sizes = values_of_codes(codes_nD, model.config).numpy(), model.config.group_sizes
    return TokenCosts(
        clips=len(clips),
        frames=frames,
        tokens=len(codes_nD),
        bits_per_token=code.bits_per_token,
        model=bits_in_all / len(codes_nD),
        static_groups=baselines.static_values(values_nG, sizes),
        adaptive_groups=baselines.adaptive_values(values_nG, sizes),
        independent_bits=baselines.static_values(codes_nD.long().numpy(), code.bases),
        zstd=baselines.zstd(codes_nD.numpy(), code),
    )


def _check_tokenizer(model: TokenModel, card: DatasetCard, dataset: str) -> None:
    known = model.config.tokenizer_fingerprint
    if card.tokenizer_fingerprint != known:
        raise TokenizerMismatchError(
            f"{dataset} contains tokens of tokenizer {card.tokenizer_fingerprint}, but the model was trained "
            f"on tokens of {known}. Use a model that was trained on this tokenizer's tokens."
        )
