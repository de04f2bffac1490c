"""The block-causal vision transformer that encoder and decoder share; it maps tokens to tokens.

One set of weights runs in four ways: ``forward`` (masked, training), ``frame_by_frame`` (one clip on CPU),
``end_to_end`` (a batch on an accelerator) and ``stream`` (frames as they arrive). They agree up to rounding;
``frame_by_frame`` and ``stream`` are bit-identical. Full attention supports only ``forward``, without a mask.

Axes: B clips, T frames, N tokens of a frame, S = T·N, D width, F input and G output features of a token.
"""

from collections.abc import Callable, Sequence
from itertools import groupby, pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from bitmill.bsq_model.acceleration.graphs import CudaGraphs
from bitmill.bsq_model.acceleration.workspace import Workspace, Workspaces, gelu_in_place, linear_into
from bitmill.bsq_model.layers.attention import (
    KeyValueCache,
    block_causal_mask,
    cached_attention,
    masked_attention,
    prefix_attention,
)
from bitmill.bsq_model.layers.backbone import Backbone
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.tokenizer_config import TransformerConfig

_MOST_RECORDED_TOKENS = 16_384
"""With more tokens the GPU takes longer than the kernel launches, so a CUDA graph only costs memory."""


class Block(nn.Module):
    """A pre-norm transformer block, split before and after attention so that each form can insert its own."""

    def __init__(self, sizes: TransformerConfig) -> None:
        super().__init__()
        hidden = int(sizes.width * sizes.mlp_ratio)
        self.heads = sizes.heads
        self.ln_1 = nn.LayerNorm(sizes.width)
        self.qkv = nn.Linear(sizes.width, 3 * sizes.width)
        self.attention_out = nn.Linear(sizes.width, sizes.width)
        self.ln_2 = nn.LayerNorm(sizes.width)
        self.mlp_in = nn.Linear(sizes.width, hidden)
        self.mlp_out = nn.Linear(hidden, sizes.width)

    def project(self, x_xD: Tensor) -> Tensor:
        """Return queries, keys and values, in this order: [..., 3·D]."""
        return self.qkv(self.ln_1(x_xD))

    def finish(self, x_xD: Tensor, attended_xD: Tensor) -> Tensor:
        """Run everything after attention: its projection, the MLP (exact GELU), both residuals."""
        x_xD = x_xD + self.attention_out(attended_xD)
        return x_xD + self.mlp_out(functional.gelu(self.mlp_in(self.ln_2(x_xD))))

    def forward(self, x_BSD: Tensor, mask_SS: Tensor | None) -> Tensor:
        """Run whole clips under a mask: [B, S, D]."""
        return self.finish(x_BSD, masked_attention(self.project(x_BSD), self.heads, mask_SS))

    def step(self, x_ND: Tensor, cache: KeyValueCache, room: Workspace) -> Tensor:
        """Run the next frame of the clip whose earlier frames are in the cache, in place.

        Bit-identical to ``project`` and ``finish``, without their memory allocations.
        """
        width, hidden = x_ND.shape[1], self.mlp_out.in_features
        qkv_NE = linear_into(self.qkv, self.ln_1(x_ND), room.take("qkv", x_ND, 3 * width))
        attended_ND = cached_attention(qkv_NE, self.heads, cache)
        x_ND += linear_into(self.attention_out, attended_ND, room.take("residual", x_ND, width))
        inner_NX = linear_into(self.mlp_in, self.ln_2(x_ND), room.take("hidden", x_ND, hidden))
        x_ND += linear_into(self.mlp_out, gelu_in_place(inner_NX), room.take("residual", x_ND, width))
        return x_ND


class BlockCausalViT(Backbone):
    """``embed`` → positions → ``ln_pre`` → blocks → ``ln_post`` → ``head`` (arXiv 2406.07548, section 3).

    ``embed`` maps F features of a token to the width, ``head`` the width to G; both act on each token
    separately. ``causal=False`` lets every frame attend to all frames of its clip; it is for comparison and
    cannot stream.
    """

    def __init__(
        self,
        sizes: TransformerConfig,
        tokens_per_frame: int,
        num_frames: int,
        embed: nn.Module,
        head: nn.Module,
        *,
        causal: bool = True,
    ) -> None:
        super().__init__()
        self.tokens_per_frame = tokens_per_frame
        self.num_frames = num_frames
        self.causal = causal
        self.embed = embed
        self.spatial_positions = nn.Parameter(torch.zeros(tokens_per_frame, sizes.width))
        # An image tokenizer has no temporal positions, as in the published checkpoints.
        self.temporal_positions: nn.Parameter | None = None
        if num_frames > 1:
            self.temporal_positions = nn.Parameter(torch.zeros(num_frames, sizes.width))
        self.ln_pre = nn.LayerNorm(sizes.width)
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.layers))
        self.ln_post = nn.LayerNorm(sizes.width)
        self.head = head
        self._workspaces = Workspaces()
        self._graphs = CudaGraphs()

    def forward(self, x_BTNF: Tensor) -> Tensor:
        """Run the masked full-sequence form, for training: [B, T, N, G]; differentiable."""
        num_frames = x_BTNF.shape[1]
        x_BSD = self._enter(x_BTNF, self._positions(0, num_frames)).flatten(1, 2)
        mask_SS = None
        if num_frames > 1 and self.causal:
            mask_SS = block_causal_mask(num_frames, self.tokens_per_frame, x_BSD.device)
        for block in self._blocks():
            if self.checkpoint_blocks and torch.is_grad_enabled():
                x_BSD = checkpoint(block, x_BSD, mask_SS, use_reentrant=False)
            else:
                x_BSD = block(x_BSD, mask_SS)
        return self._leave(x_BSD).unflatten(1, (num_frames, -1))

    def infer(self, clips_TNF: Sequence[Tensor]) -> list[Tensor]:
        """Return each clip's [T, N, G]: ``frame_by_frame`` on CPU, else ``end_to_end``.

        Full attention runs ``forward``.
        """
        if not self.causal:
            return [self.forward(clip[None])[0] for clip in clips_TNF]
        if all(clip.device.type == "cpu" for clip in clips_TNF):
            return [self.frame_by_frame(clip) for clip in clips_TNF]
        num_tokens = sum(map(len, clips_TNF)) * self.tokens_per_frame
        recorded = clips_TNF[0].device.type == "cuda" and num_tokens <= _MOST_RECORDED_TOKENS
        if recorded and not torch.is_grad_enabled():
            return self._graphs.run(self.end_to_end, clips_TNF)
        return self.end_to_end(clips_TNF)

    @torch.inference_mode()
    def frame_by_frame(self, clip_TNF: Tensor) -> Tensor:
        """Run one clip layer by layer, every operation on exactly one frame's tokens.

        A frame's matrix products have the same shapes whatever follows it or is batched with it, so its
        result is bit-identical. On CPU this costs nothing at base size: a frame's 1,024 rows already fill the
        matrix unit, and intermediate results stay in cache (docs/model.md has the measurement).
        """
        frames = [self._enter(x_NF, self._positions(t, t + 1)[0]) for t, x_NF in enumerate(clip_TNF)]
        cache = KeyValueCache(capacity_frames=len(frames))
        with self._workspaces.one() as room:
            for block in self._blocks():
                cache.clear()
                for x_ND in frames:
                    block.step(x_ND, cache, room)
        return torch.stack([self._leave(x_ND) for x_ND in frames])

    def end_to_end(self, clips_TNF: Sequence[Tensor]) -> list[Tensor]:
        """Run all clips concatenated: linear layers over all tokens, attention over each clip's own prefix.

        This fills an accelerator without mask or padding. Clips of equal length share attention calls.
        """
        order = sorted(range(len(clips_TNF)), key=lambda i: clips_TNF[i].shape[0])
        lengths = [clips_TNF[i].shape[0] for i in order]
        groups = [(num_frames, len(list(same))) for num_frames, same in groupby(lengths)]
        positions_MND = torch.cat([self._positions(0, length) for length in lengths])
        x_MD = self._enter(torch.cat([clips_TNF[i] for i in order]), positions_MND).flatten(0, 1)
        for block in self._blocks():
            x_MD = block.finish(x_MD, self._grouped_attention(block.project(x_MD), block.heads, groups))
        frames_MNG = self._leave(x_MD).unflatten(0, (-1, self.tokens_per_frame))
        outputs: dict[int, Tensor] = dict(zip(order, frames_MNG.split(lengths), strict=True))
        return [outputs[i] for i in range(len(order))]

    def stream(self) -> "CachedStream":
        """Start a stream over one clip; raises UsageError with full attention."""
        if not self.causal:
            raise UsageError(
                "A tokenizer with attention 'full' cannot stream: its tokens depend on later frames. Encode "
                "whole clips, or use a tokenizer with attention 'block-causal'."
            )
        return CachedStream(self)

    @torch.inference_mode()
    def step(self, x_NF: Tensor, frame_index: int, caches: Sequence[KeyValueCache]) -> Tensor:
        """Run a clip's frame ``frame_index``; ``caches`` (one per layer) contain earlier frames: [N, G]."""
        x_ND = self._enter(x_NF, self._positions(frame_index, frame_index + 1)[0])
        with self._workspaces.one() as room:
            for block, cache in zip(self._blocks(), caches, strict=True):
                block.step(x_ND, cache, room)
        return self._leave(x_ND)

    def _grouped_attention(self, qkv_ME: Tensor, heads: int, groups: Sequence[tuple[int, int]]) -> Tensor:
        ends = [0]
        for num_frames, num_clips in groups:
            ends.append(ends[-1] + num_frames * num_clips * self.tokens_per_frame)
        attended: list[Tensor] = []
        for (start, end), (_, num_clips) in zip(pairwise(ends), groups, strict=True):
            qkv_BSE = qkv_ME[start:end].unflatten(0, (num_clips, -1))
            attended.append(prefix_attention(qkv_BSE, heads, self.tokens_per_frame).flatten(0, 1))
        return torch.cat(attended) if len(attended) > 1 else attended[0]

    def _positions(self, start: int, end: int) -> Tensor:
        """Return position embeddings of frames [start, end), spatial plus temporal: [frames, N, D]."""
        if self.temporal_positions is None:
            return self.spatial_positions[None]
        return self.spatial_positions[None] + self.temporal_positions[start:end, None]

    def _enter(self, x_xNF: Tensor, positions_xND: Tensor) -> Tensor:
        return self.ln_pre(self.embed(x_xNF) + positions_xND)

    def _leave(self, x_xD: Tensor) -> Tensor:
        return self.head(self.ln_post(x_xD))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "BlockCausalViT":
        """Drop CUDA graphs when weights move, because they read the weights at their old addresses."""
        self._graphs.clear()
        return super()._apply(fn, recurse)

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]


class CachedStream:
    """A stream over one clip; its state is a key-value cache per layer and the number of frames so far."""

    def __init__(self, network: BlockCausalViT) -> None:
        self._network = network
        self._caches = [KeyValueCache() for _ in network.blocks]
        self._frame_index = 0

    def push(self, x_NF: Tensor) -> Tensor:
        """Return the next frame's output [N, G], on CPU bit-identical to that of the whole clip."""
        self._network.check_frame(self._frame_index)
        out_NG = self._network.step(x_NF, self._frame_index, self._caches)
        self._frame_index += 1
        return out_NG
