"""Measures the cost of held-out clips under a token model."""

from itertools import islice

import torch
from torch import Tensor

from bitmill.bsq_model.token_models.token_model import TokenModel
from bitmill.pipeline.reading import TokenBatches
from bitmill.pipeline.token_training.token_batches import labelled, labels_of

_SEED = 0


@torch.inference_mode()
def judge(model: TokenModel, batches: TokenBatches, most_batches: int | None, device: torch.device) -> float:
    """Return mean bits per token over the first batches of an epoch; same batches and draws in each call."""
    state = batches.state_dict()
    generator = torch.Generator().manual_seed(_SEED)
    costs: list[Tensor] = []
    for batch in islice(batches, most_batches):
        codes_BThwD, labels_B = labelled(batch, labels_of(model.config))
        on_device = labels_B if labels_B is None else labels_B.to(device)
        costs.append(model.held_out_bits(codes_BThwD.to(device), on_device, generator).cpu())
    batches.load_state_dict(state)
    return torch.cat(costs).mean().item()
