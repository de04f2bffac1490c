"""A bidirectional transformer that predicts hidden groups from shown ones, with one head per group.

As in arXiv 2406.07548, section 4.3 (after MaskGIT, arXiv 2202.04200), with each group hidden independently.

Axes: B clips, T frames, h and w tokens, N = T·h·w, D width, or dimensions
of a code, G groups of a token, K values of a group.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.token_models.masked_lm.schedule import hide, shares
from bitmill.bsq_model.token_models.token_layers import (
    Block,
    GroupVectors,
    padded_logits,
    places,
    rotary_angles,
    values_of_codes,
)
from bitmill.bsq_model.token_models.token_model import TokenModel
from bitmill.schemas.models.token_model_config import MaskedLMConfig

_LABEL_DROP = 0.1
"""Share of examples whose label is dropped, so that the model also learns unlabelled logits (guidance)."""
_JUDGED_SHARE = 0.5


class MaskedLM(TokenModel):
    """Predicts every group from the shown groups and, if the model has labels, the picture's label."""

    def __init__(self, config: MaskedLMConfig) -> None:
        super().__init__()
        self.config = config
        self.label_names = config.labels
        width = config.width
        self.vectors = GroupVectors(config.num_groups, config.value_bits, width)
        self.hidden_GD = nn.Parameter(torch.randn(config.num_groups, width) * 0.02)
        # Row 0 means no label.
        self.labels = nn.Embedding(len(config.labels) + 1, width)
        self.blocks = nn.ModuleList(Block(width, config.mlp_ratio) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleList(nn.Linear(width, width) for _ in range(config.num_groups))
        self.bias_GK = nn.Parameter(torch.zeros(config.num_groups, 2**config.value_bits))

    def forward(self, codes_BThwD: Tensor, hidden_BThwG: Tensor, labels_B: Tensor | None = None) -> Tensor:
        """Return natural logits, float32 [B, T, h, w, G, K]; the values of hidden groups have no effect.

        ``labels`` index ``config.labels`` from 1, int64; 0 and None mean no label.
        """
        values_BNG = values_of_codes(codes_BThwD, self.config).flatten(1, 3)
        hidden_BNG = hidden_BThwG.flatten(1, 3)
        vectors_GKD = self.vectors()
        x_BND = torch.zeros((), device=codes_BThwD.device)
        for g in range(self.config.num_groups):
            shown_BND = functional.embedding(values_BNG[..., g], vectors_GKD[g])
            x_BND = x_BND + torch.where(hidden_BNG[..., g, None], self.hidden_GD[g], shown_BND)
        rows_B = labels_B if labels_B is not None else values_BNG.new_zeros(len(values_BNG))
        x_BND = x_BND + self.labels(rows_B)[:, None]
        angles_NR = rotary_angles(places(*codes_BThwD.shape[1:4]).to(codes_BThwD.device))
        for block in self.blocks:
            x_BND = block(x_BND, angles_NR, angles_NR, mask_NN=None, is_causal=False)
        x_BND = self.norm(x_BND)
        logits = [self._logits(x_BND, vectors_GKD[g], g) for g in range(self.config.num_groups)]
        return torch.stack(logits, dim=2).unflatten(1, codes_BThwD.shape[1:4])

    def training_loss(
        self, codes_BThwD: Tensor, labels_B: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """Return the cross-entropy of hidden groups in bits per token; a cosine schedule sets how many."""
        share_B = shares(len(codes_BThwD), generator)
        hidden = hide(codes_BThwD.shape[:4], share_B, self.config.num_groups, generator)
        if labels_B is not None:
            kept_B = torch.rand(len(labels_B), generator=generator) >= _LABEL_DROP
            labels_B = labels_B * kept_B.to(labels_B.device)
        return self._cost(codes_BThwD, hidden.to(codes_BThwD.device), labels_B).mean()

    def held_out_bits(
        self, codes_BThwD: Tensor, labels_B: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """Return the cost of hidden tokens when half of all are hidden, in bits per token: [B]."""
        share_B = torch.full((len(codes_BThwD),), _JUDGED_SHARE)
        hidden = hide(codes_BThwD.shape[:4], share_B, self.config.num_groups, generator, whole_tokens=True)
        return self._cost(codes_BThwD, hidden.to(codes_BThwD.device), labels_B)

    def _cost(self, codes_BThwD: Tensor, hidden_BThwG: Tensor, labels_B: Tensor | None) -> Tensor:
        """Return the mean cost of a hidden group times G, in bits: [B]; 0 if none is hidden."""
        logits_BThwGK = self.forward(codes_BThwD, hidden_BThwG, labels_B)
        values_BThwG = values_of_codes(codes_BThwD, self.config)
        nats = functional.cross_entropy(
            logits_BThwGK.flatten(0, -2), values_BThwG.flatten(), reduction="none"
        )
        hidden_Bn = hidden_BThwG.flatten(1).float()
        cost_Bn = nats.view_as(hidden_Bn) * hidden_Bn
        return cost_Bn.sum(1) / hidden_Bn.sum(1).clamp(min=1) * (self.config.num_groups / math.log(2))

    def _logits(self, x_BND: Tensor, vectors_KD: Tensor, g: int) -> Tensor:
        """Apply one group's head, tied to its values' input embeddings: float32 [B, N, K]."""
        y_BND, size = self.heads[g](x_BND), self.config.group_sizes[g]
        with torch.autocast(y_BND.device.type, enabled=False):
            logits = functional.linear(
                y_BND.float(), vectors_KD[:size].float(), self.bias_GK[g, :size].float()
            )
        return padded_logits(logits, len(vectors_KD))
