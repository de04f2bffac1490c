"""The prior in its full form: all groups of whole clips at once, for training and evaluation.

Tokens are in raster order, frame after frame; a token's groups follow in order. A transformer computes a
vector for each token from earlier tokens; a small MLP per group then advances it from group to group.
Position i of the sequence contains token i − 1 and predicts token i, so its query has position i and its key
position i − 1.

Axes: B clips, T frames, h and w tokens, N = T·h·w, D width, G groups of a token, K = 2^g values of a group.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.token_models.prior.stepper import PriorStepper
from bitmill.bsq_model.token_models.token_layers import (
    Block,
    GroupVectors,
    mlp,
    padded_logits,
    places,
    rotary_angles,
    values_of_codes,
)
from bitmill.bsq_model.token_models.token_model import TokenModel
from bitmill.schemas.models.token_model_config import PriorConfig


class Prior(TokenModel):
    """Predicts each group from all groups before it, within a window of frames."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.config = config
        self.window_frames = config.window_frames
        width = config.width
        self.vectors = GroupVectors(config.num_groups, config.value_bits, width)
        self.start_D = nn.Parameter(torch.zeros(width))
        # The token above and the one at the same place a frame earlier are the most informative inputs.
        self.above = nn.Linear(width, width, bias=False)
        self.before = nn.Linear(width, width, bias=False)
        self.blocks = nn.ModuleList(Block(width, config.mlp_ratio) for _ in range(config.layers))
        self.group_mlps = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), mlp(width, 2.0)) for _ in range(config.num_groups - 1)
        )
        self.norm = nn.LayerNorm(width)
        self.bias_GK = nn.Parameter(torch.zeros(config.num_groups, 2**config.value_bits))

    def forward(self, codes_BThwD: Tensor) -> Tensor:
        """Return natural logits, float32 [B, T, h, w, G, K]; every clip starts at its first frame."""
        values_BNG = values_of_codes(codes_BThwD, self.config).flatten(1, 3)
        vectors_GKD = self.vectors()
        groups = [functional.embedding(v, t) for v, t in zip(values_BNG.unbind(-1), vectors_GKD, strict=True)]
        grid = codes_BThwD.shape[1:4]
        x_BND = self._trunk(torch.stack(groups).sum(0).unflatten(1, grid))
        logits: list[Tensor] = []
        for g in range(self.config.num_groups):
            if g:
                x_BND = self.after_group(x_BND, groups[g - 1], g)
            logits.append(padded_logits(self.group_logits(x_BND, vectors_GKD[g], g), vectors_GKD.shape[1]))
        return torch.stack(logits, dim=2).unflatten(1, grid)

    def training_loss(
        self, codes_BThwD: Tensor, labels_B: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """See TokenModel; draws nothing."""
        del labels_B, generator
        return self.bits_per_group(codes_BThwD).sum(-1).mean()

    def held_out_bits(
        self, codes_BThwD: Tensor, labels_B: Tensor | None, generator: torch.Generator
    ) -> Tensor:
        """See TokenModel; the size that an ideal entropy coder would need, [B]."""
        del labels_B, generator
        return self.bits_per_group(codes_BThwD).sum(-1).mean((1, 2, 3))

    def bits_per_group(self, codes_BThwD: Tensor) -> Tensor:
        """Return each group's cost, −log2 of its probability: float32 [B, T, h, w, G]."""
        values_BThwG = values_of_codes(codes_BThwD, self.config)
        logits_nK = self.forward(codes_BThwD).flatten(0, -2)
        nats_n = functional.cross_entropy(logits_nK, values_BThwG.flatten(), reduction="none")
        return nats_n.view(values_BThwG.shape) / math.log(2)

    def stepper(self, num_clips: int, height: int, width: int) -> PriorStepper:
        """Return a stepper over ``num_clips`` clips of h × w tokens per frame."""
        return PriorStepper(self, num_clips, height, width)

    def carried(self, previous_xD: Tensor, above_xD: Tensor, before_xD: Tensor) -> Tensor:
        """Return the trunk's input that predicts a token: [..., D]."""
        return previous_xD + self.above(above_xD) + self.before(before_xD)

    def after_group(self, x_xD: Tensor, group_xD: Tensor, g: int) -> Tensor:
        """Return the vector that predicts group g, from that of group g − 1 and its value's embedding."""
        x_xD = x_xD + group_xD
        return x_xD + self.group_mlps[g - 1](x_xD)

    def group_logits(self, x_xD: Tensor, vectors_KD: Tensor, g: int) -> Tensor:
        """Return float32 [..., values of group g] even under autocast: probabilities near 1 need it."""
        size = self.config.group_sizes[g]
        with torch.autocast(x_xD.device.type, enabled=False):
            return functional.linear(
                self.norm(x_xD.float()), vectors_KD[:size].float(), self.bias_GK[g, :size].float()
            )

    def _trunk(self, tokens_BThwD: Tensor) -> Tensor:
        num_frames, height, width = tokens_BThwD.shape[1:4]
        tokens_BND = tokens_BThwD.flatten(1, 3)
        start_B1D = self.start_D.expand_as(tokens_BND[:, :1])
        previous_BND = torch.cat([start_B1D, tokens_BND[:, :-1]], dim=1)
        above_BThwD = functional.pad(tokens_BThwD, (0, 0, 0, 0, 1, 0))[:, :, :-1]
        before_BThwD = functional.pad(tokens_BThwD, (0, 0, 0, 0, 0, 0, 1, 0))[:, :-1]
        x_BND = self.carried(previous_BND, above_BThwD.flatten(1, 3), before_BThwD.flatten(1, 3))
        query_NR = rotary_angles(places(num_frames, height, width).to(x_BND.device))
        key_NR = torch.cat([query_NR[:1], query_NR[:-1]])
        mask_NN = self._mask(num_frames, height * width, x_BND.device)
        for block in self.blocks:
            x_BND = block(x_BND, query_NR, key_NR, mask_NN=mask_NN, is_causal=mask_NN is None)
        return x_BND

    def _mask(self, num_frames: int, tokens_per_frame: int, device: torch.device) -> Tensor | None:
        """Return the window mask, or None if all frames are in the window and causal attention suffices."""
        if num_frames <= self.window_frames:
            return None
        position_N = torch.arange(num_frames * tokens_per_frame, device=device)
        frame_N = position_N // tokens_per_frame
        near_NN = frame_N[:, None] - frame_N[None, :] < self.window_frames
        return near_NN & (position_N[:, None] >= position_N[None, :])
