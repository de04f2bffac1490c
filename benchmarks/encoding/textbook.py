"""The paper's network as a textbook would write it: ``nn.MultiheadAttention`` under full masks.

Independent of the package: it takes only parameters' values. The layer's "fast path" is off: it writes out
all scores, which takes three times as long at 16 frames. Axes: B clips, T frames, N tokens of a frame,
S = T·N, D width.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bitmill.bsq_model import BSQTokenizer
from bitmill.schemas.models.bsq_vit_config import TransformerConfig


class _Layer(nn.Module):
    def __init__(self, sizes: TransformerConfig) -> None:
        super().__init__()
        hidden = int(sizes.width * sizes.mlp_ratio)
        self.ln_1 = nn.LayerNorm(sizes.width)
        self.attn = nn.MultiheadAttention(sizes.width, sizes.heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(sizes.width)
        self.mlp = nn.Sequential(nn.Linear(sizes.width, hidden), nn.GELU(), nn.Linear(hidden, sizes.width))

    def forward(self, x_BSD: Tensor, mask: Tensor | None, padding_BS: Tensor | None) -> Tensor:
        y = self.ln_1(x_BSD)
        x_BSD = x_BSD + self.attn(y, y, y, attn_mask=mask, key_padding_mask=padding_BS, need_weights=False)[0]
        return x_BSD + self.mlp(self.ln_2(x_BSD))


class TextbookEncoder(nn.Module):
    """Clips of uint8 frames to latents: a convolution for the patches, a boolean mask over all pairs."""

    def __init__(self, tokenizer: BSQTokenizer) -> None:
        super().__init__()
        config = tokenizer.config
        sizes = config.encoder
        self.tokens_per_frame = config.tokens_per_frame
        self.patches = nn.Conv2d(3, sizes.width, config.patch_size_px, config.patch_size_px, bias=False)
        self.spatial = nn.Parameter(torch.zeros(config.tokens_per_frame, sizes.width))
        self.temporal = nn.Parameter(torch.zeros(config.num_frames, sizes.width))
        self.ln_pre = nn.LayerNorm(sizes.width)
        self.layers = nn.ModuleList(_Layer(sizes) for _ in range(sizes.layers))
        self.ln_post = nn.LayerNorm(sizes.width)
        self.to_latents = nn.Linear(sizes.width, config.bits_per_token)
        _copy(self, tokenizer.state_dict(), "encoder.")
        torch.backends.mha.set_fastpath_enabled(False)
        self.eval()

    @torch.inference_mode()
    def forward(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """Latents [T, N, L] of each clip uint8 [T, H, W, 3]; the shorter ones are padded to the longest."""
        longest, device = max(map(len, clips)), self.spatial.device
        frames = torch.zeros(len(clips), longest, *clips[0].shape[1:], device=device, dtype=torch.uint8)
        for row, clip in zip(frames, clips, strict=True):
            row[: len(clip)] = clip.to(device)
        pixels = (frames.flatten(0, 1).permute(0, 3, 1, 2).float() / 127.5 - 1).to(self.spatial.dtype)
        x_BSD = self.patches(pixels).flatten(2).transpose(1, 2).unflatten(0, (len(clips), longest))
        x_BSD = self.ln_pre(x_BSD + self.spatial + self.temporal[:longest, None]).flatten(1, 2)
        mask, padding = self._masks([len(clip) for clip in clips], longest, device)
        for layer in self.layers:
            x_BSD = layer(x_BSD, mask, padding)
        v_BTNL = self.to_latents(self.ln_post(x_BSD)).unflatten(1, (longest, -1))
        return [v_TNL[: len(clip)] for v_TNL, clip in zip(v_BTNL, clips, strict=True)]

    def _masks(self, lengths: list[int], longest: int, device: torch.device) -> tuple[Tensor | None, ...]:
        """True where a token must not look, as ``nn.MultiheadAttention`` has it."""
        frame_S = torch.arange(longest, device=device).repeat_interleave(self.tokens_per_frame)
        mask = frame_S[None, :] > frame_S[:, None] if longest > 1 else None
        if min(lengths) == longest:
            return mask, None
        return mask, frame_S[None, :] >= torch.tensor(lengths, device=device)[:, None]


class TextbookDecoder(nn.Module):
    """Bits of one image to its pixels, whole sequence; images alone, for the comparison of reconstruction."""

    def __init__(self, tokenizer: BSQTokenizer) -> None:
        super().__init__()
        config = tokenizer.config
        sizes = config.decoder
        self.grid, self.patch = config.grid_size, config.patch_size_px
        self.from_codes = nn.Linear(config.bits_per_token, sizes.width)
        self.spatial = nn.Parameter(torch.zeros(config.tokens_per_frame, sizes.width))
        self.temporal = nn.Parameter(torch.zeros(config.num_frames, sizes.width))
        self.ln_pre = nn.LayerNorm(sizes.width)
        self.layers = nn.ModuleList(_Layer(sizes) for _ in range(sizes.layers))
        self.ln_post = nn.LayerNorm(sizes.width)
        self.out = nn.Sequential(
            nn.Linear(sizes.width, config.decoder_ffn_width),
            nn.Tanh(),
            nn.Linear(config.decoder_ffn_width, 3 * self.patch**2),
        )
        _copy(self, tokenizer.state_dict(), "decoder.")
        self.eval()

    @torch.inference_mode()
    def forward(self, bits_BNL: Tensor) -> Tensor:
        """uint8 [B, H, W, 3] of bool bits [B, N, L]."""
        codes = torch.where(bits_BNL, 1.0, -1.0) / bits_BNL.shape[-1] ** 0.5
        x_BSD = self.ln_pre(self.from_codes(codes.to(self.spatial.dtype)) + self.spatial + self.temporal[:1])
        for layer in self.layers:
            x_BSD = layer(x_BSD, None, None)
        values = self.out(self.ln_post(x_BSD)).unflatten(1, (self.grid, self.grid))
        pixels = values.unflatten(-1, (3, self.patch, self.patch)).permute(0, 1, 4, 2, 5, 3)
        pixels = pixels.flatten(1, 2).flatten(2, 3)
        return ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def _copy(network: nn.Module, weights: Mapping[str, Tensor], side: str) -> None:
    """The tokenizer's weights under the textbook's names."""
    names = {
        "attn.in_proj_": "qkv.",
        "attn.out_proj.": "attention_out.",
        "mlp.0.": "mlp_in.",
        "mlp.2.": "mlp_out.",
    }
    tops = {
        "patches.": "embed.",
        "from_codes.": "embed.",
        "to_latents.": "head.",
        "out.": "head.",
        "spatial": "spatial_positions",
        "temporal": "temporal_positions",
        "layers.": "blocks.",
    }
    own = network.state_dict()
    for name, tensor in own.items():
        theirs = name
        for textbook, ours in {**tops, **names}.items():
            theirs = theirs.replace(textbook, ours)
        if side + theirs in weights:
            tensor.copy_(weights[side + theirs].view_as(tensor))
        elif not name.startswith("temporal"):
            raise KeyError(theirs)
