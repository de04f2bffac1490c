"""The block-causal vision transformer that encoder and decoder share; it maps tokens to tokens.

One set of weights runs in four ways: ``forward`` (masked, training), ``frame_by_frame`` (one clip on CPU),
``end_to_end`` (a batch on an accelerator) and ``stream`` (frames as they arrive). They agree up to rounding;
``frame_by_frame`` and ``stream`` are bit-identical. Full attention supports only ``forward``, without a mask.

Axes: B clips, T frames, h and w tokens of a frame, N = h·w, S = T·N, D width, F input and G output features
of a token.
"""

from collections.abc import Callable, Sequence
from functools import partial
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
from bitmill.bsq_model.layers.positions import Grid, InterpolatedPositions
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.bsq_vit_config import TransformerConfig

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
    cannot stream. ``interpolates`` allows frames of other grids than ``grid``.
    """

    def __init__(
        self,
        sizes: TransformerConfig,
        grid: Grid,
        num_frames: int,
        embed: nn.Module,
        head: nn.Module,
        *,
        causal: bool = True,
        interpolates: bool = False,
    ) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.causal = causal
        self.embed = embed
        self.spatial_positions = nn.Parameter(torch.zeros(grid[0] * grid[1], sizes.width))
        self.interpolated = InterpolatedPositions(grid) if interpolates else None
        """Positions of other grids; None if frames have one grid alone."""
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
        self.register_load_state_dict_post_hook(_forget_cast)

    def forward(self, x_BThwF: Tensor) -> Tensor:
        """Run the masked full-sequence form, for training: [B, T, h, w, G]; differentiable, but for
        interpolated positions."""
        num_frames, *grid = x_BThwF.shape[1:4]
        positions_TND = self._positions(self._spatial(x_BThwF), 0, num_frames)
        x_BSD = self._enter(x_BThwF.flatten(2, 3), positions_TND).flatten(1, 2)
        mask_SS = None
        if num_frames > 1 and self.causal:
            mask_SS = block_causal_mask(num_frames, grid[0] * grid[1], x_BSD.device)
        for block in self._blocks():
            if self.checkpoint_blocks and torch.is_grad_enabled():
                x_BSD = checkpoint(block, x_BSD, mask_SS, use_reentrant=False)
            else:
                x_BSD = block(x_BSD, mask_SS)
        return self._leave(x_BSD).unflatten(1, (num_frames, *grid))

    def infer(self, clips_ThwF: Sequence[Tensor]) -> list[Tensor]:
        """Return each clip's [T, h, w, G]: ``frame_by_frame`` on CPU, else ``end_to_end``.

        Full attention runs ``forward``.
        """
        if not self.causal:
            return [self.forward(clip[None])[0] for clip in clips_ThwF]
        if all(clip.device.type == "cpu" for clip in clips_ThwF):
            return [self.frame_by_frame(clip) for clip in clips_ThwF]
        num_tokens = sum(clip.shape[:3].numel() for clip in clips_ThwF)
        recorded = clips_ThwF[0].device.type == "cuda" and num_tokens <= _MOST_RECORDED_TOKENS
        if recorded and not torch.is_grad_enabled():
            # Outside the graph, which only reads it: a table is computed on CPU.
            spatial_ND = self._spatial(clips_ThwF[0])
            infer = partial(self.end_to_end, spatial_ND=spatial_ND)
            return self._graphs.run(infer, clips_ThwF, reads=spatial_ND)
        return self.end_to_end(clips_ThwF)

    @torch.inference_mode()
    def frame_by_frame(self, clip_ThwF: Tensor) -> Tensor:
        """Run one clip layer by layer, every operation on exactly one frame's tokens.

        A frame's matrix products have the same shapes whatever follows it or is batched with it, so its
        result is bit-identical. On CPU this costs nothing at base size: a frame's 1,024 rows already fill the
        matrix unit, and intermediate results stay in cache (docs/model.md has the measurement).
        """
        spatial_ND = self._spatial(clip_ThwF)
        frames = [
            self._enter(x_NF, self._positions(spatial_ND, t, t + 1)[0])
            for t, x_NF in enumerate(clip_ThwF.flatten(1, 2))
        ]
        cache = KeyValueCache(capacity_frames=len(frames))
        with self._workspaces.one() as room:
            for block in self._blocks():
                cache.clear()
                for x_ND in frames:
                    block.step(x_ND, cache, room)
        return torch.stack([self._leave(x_ND) for x_ND in frames]).unflatten(1, clip_ThwF.shape[1:3])

    def end_to_end(self, clips_ThwF: Sequence[Tensor], spatial_ND: Tensor | None = None) -> list[Tensor]:
        """Run all clips concatenated: linear layers over all tokens, attention over each clip's own prefix.

        This fills an accelerator without mask or padding. Clips, which have one grid, share attention calls
        if their lengths are equal.
        """
        if spatial_ND is None:
            spatial_ND = self._spatial(clips_ThwF[0])
        grid, tokens_per_frame = clips_ThwF[0].shape[1:3], len(spatial_ND)
        order = sorted(range(len(clips_ThwF)), key=lambda i: clips_ThwF[i].shape[0])
        lengths = [clips_ThwF[i].shape[0] for i in order]
        groups = [(num_frames, len(list(same))) for num_frames, same in groupby(lengths)]
        positions_MND = torch.cat([self._positions(spatial_ND, 0, length) for length in lengths])
        x_MNF = torch.cat([clips_ThwF[i] for i in order]).flatten(1, 2)
        x_MD = self._enter(x_MNF, positions_MND).flatten(0, 1)
        for block in self._blocks():
            attended_MD = _grouped_attention(block.project(x_MD), block.heads, groups, tokens_per_frame)
            x_MD = block.finish(x_MD, attended_MD)
        frames_MhwG = self._leave(x_MD).unflatten(0, (-1, *grid))
        outputs: dict[int, Tensor] = dict(zip(order, frames_MhwG.split(lengths), strict=True))
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
    def step(self, x_hwF: Tensor, frame_index: int, caches: Sequence[KeyValueCache]) -> Tensor:
        """Run a clip's frame ``frame_index``; ``caches`` (one per layer) have earlier frames: [h, w, G]."""
        positions_1ND = self._positions(self._spatial(x_hwF), frame_index, frame_index + 1)
        x_ND = self._enter(x_hwF.flatten(0, 1), positions_1ND[0])
        with self._workspaces.one() as room:
            for block, cache in zip(self._blocks(), caches, strict=True):
                block.step(x_ND, cache, room)
        return self._leave(x_ND).unflatten(0, x_hwF.shape[:2])

    def _spatial(self, x_xhwF: Tensor) -> Tensor:
        """Return the spatial positions of these tokens' grid: [N, D]."""
        if self.interpolated is None:
            return self.spatial_positions
        return self.interpolated.table(self.spatial_positions, (x_xhwF.shape[-3], x_xhwF.shape[-2]))

    def _positions(self, spatial_ND: Tensor, start: int, end: int) -> Tensor:
        """Return position embeddings of frames [start, end), spatial plus temporal: [frames, N, D]."""
        if self.temporal_positions is None:
            return spatial_ND[None]
        return spatial_ND[None] + self.temporal_positions[start:end, None]

    def _enter(self, x_xNF: Tensor, positions_xND: Tensor) -> Tensor:
        return self.ln_pre(self.embed(x_xNF) + positions_xND)

    def _leave(self, x_xD: Tensor) -> Tensor:
        return self.head(self.ln_post(x_xD))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "BlockCausalViT":
        """Drop CUDA graphs when weights move, because they read the weights at their old addresses."""
        self._graphs.clear()
        before_ND = self.spatial_positions.detach()
        super()._apply(fn, recurse)
        if self.interpolated is not None:
            self.interpolated.note_move(before_ND, self.spatial_positions.detach())
        return self

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]


def _grouped_attention(
    qkv_ME: Tensor, heads: int, groups: Sequence[tuple[int, int]], tokens_per_frame: int
) -> Tensor:
    """Attend in groups of (frames of a clip, clips of that length), which follow each other in ``qkv``."""
    ends = [0]
    for num_frames, num_clips in groups:
        ends.append(ends[-1] + num_frames * num_clips * tokens_per_frame)
    attended: list[Tensor] = []
    for (start, end), (_, num_clips) in zip(pairwise(ends), groups, strict=True):
        qkv_BSE = qkv_ME[start:end].unflatten(0, (num_clips, -1))
        attended.append(prefix_attention(qkv_BSE, heads, tokens_per_frame).flatten(0, 1))
    return torch.cat(attended) if len(attended) > 1 else attended[0]


def _forget_cast(module: nn.Module, incompatible_keys: object) -> None:
    del incompatible_keys
    if isinstance(module, BlockCausalViT) and module.interpolated is not None:
        module.interpolated.forget_cast()


class CachedStream:
    """A stream over one clip; its state is a key-value cache per layer and the number of frames so far."""

    def __init__(self, network: BlockCausalViT) -> None:
        self._network = network
        self._caches = [KeyValueCache() for _ in network.blocks]
        self._frame_index = 0

    def push(self, x_hwF: Tensor) -> Tensor:
        """Return the next frame's output [h, w, G], on CPU bit-identical to that of the whole clip."""
        self._network.check_frame(self._frame_index)
        out_hwG = self._network.step(x_hwF, self._frame_index, self._caches)
        self._frame_index += 1
        return out_hwG
