"""Samples tokens from a model: new pictures, inpainted pictures, continued clips.

Axes: B clips, T frames, t token rows, h and w tokens, D dimensions of a code, G groups of a token, K values
of a group.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bitmill.bsq_model.token_models.masked_lm import MaskedLM, SamplingSpec, fill
from bitmill.bsq_model.token_models.prior import Prior
from bitmill.bsq_model.token_models.token_layers import codes_of_values, no_codes, values_of_codes

OnRows = Callable[[int], None]
_AT_ONCE = 32


def draw_pictures(
    model: MaskedLM, count: int, grid: tuple[int, int], spec: SamplingSpec, *, label: int | None, seed: int
) -> Iterator[Tensor]:
    """Yield ``count`` pictures of h × w tokens, [1, h, w, D] each.

    ``label`` counts the model's labels from 1; None samples without a label. For a given seed, picture k does
    not depend on ``count``, except for rounding in batches of other sizes.
    """
    codes_hwD = no_codes(model.config, 1, *grid)
    hidden_hwG = torch.ones(1, *grid, model.config.num_groups, dtype=torch.bool)
    for first in range(0, count, _AT_ONCE):
        num = min(_AT_ONCE, count - first)
        yield from _fill(model, [codes_hwD] * num, hidden_hwG, spec, label=label, seed=seed + first)


def fill_in(
    model: MaskedLM,
    codes_ThwD: Tensor,
    hidden_Thw: Tensor,
    count: int,
    spec: SamplingSpec,
    *,
    label: int | None,
    seed: int,
) -> list[Tensor]:
    """Sample the hidden tokens of a picture ``count`` times, [T, h, w, D] each; others do not change."""
    hidden_ThwG = hidden_Thw[..., None].expand(*hidden_Thw.shape, model.config.num_groups)
    return _fill(model, [codes_ThwD] * count, hidden_ThwG, spec, label=label, seed=seed)


@torch.inference_mode()
def go_on(
    prior: Prior,
    codes_thwD: Tensor,
    num_rows: int,
    count: int,
    *,
    temperature: float,
    seed: int,
    on_rows: OnRows = lambda _: None,
) -> Tensor:
    """Sample ``count`` continuations of given token rows (or none) in parallel: [B, rows, h, w, D]."""
    _, height, width, _ = codes_thwD.shape
    stepper = prior.stepper(count, height, width)
    num_groups = prior.config.num_groups
    for value in values_of_codes(codes_thwD, prior.config).flatten().tolist():
        stepper.push(torch.full((count,), value))
    generator = torch.Generator().manual_seed(seed)
    drawn: list[Tensor] = []
    for _ in range(num_rows):
        values: list[Tensor] = []
        for _ in range(height * width * num_groups):
            chances_BK = (stepper.next_logits().cpu() / temperature).softmax(-1)
            values.append(torch.multinomial(chances_BK, 1, generator=generator)[:, 0])
            stepper.push(values[-1])
        drawn.append(torch.stack(values, dim=1).view(count, height, width, num_groups))
        on_rows(1)
    return codes_of_values(torch.stack(drawn, dim=1), prior.config)


def _fill(
    model: MaskedLM,
    codes: list[Tensor],
    hidden_ThwG: Tensor,
    spec: SamplingSpec,
    *,
    label: int | None,
    seed: int,
) -> list[Tensor]:
    device = next(model.parameters()).device
    return list(
        fill(
            model,
            torch.stack(codes).to(device),
            hidden_ThwG.expand(len(codes), *hidden_ThwG.shape).to(device),
            spec,
            generator=torch.Generator().manual_seed(seed),
            labels_B=None if label is None else torch.full((len(codes),), label, device=device),
        ).cpu()
    )
