"""A masked language model on bits: hides groups of bits, and tells them from all others, before and after.

make demo
python examples/masked_lm.py       # some hundred steps on a CPU; writes filled.png

The method in small, of arXiv 2406.07548 (section on visual generation): bits enter through one linear layer,
hidden groups as a learned vector, each group is predicted by a head of 2^g classes, and hidden groups are
filled in over a few rounds, the most confident first.
"""

import math
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from bitmill import TokenBatches  # noqa: E402
from bitmill.pipeline.inspection.make_preview import stored_tokenizer  # noqa: E402
from bitmill.pipeline.storage import Folder  # noqa: E402
from bitmill.schemas.errors import BitmillError, UsageError  # noqa: E402
from examples.token_training import (  # noqa: E402 - the repository is not installed for this script
    Clips,
    Progress,
    argument_parser,
    endless,
    epoch_tokens,
    open_clips,
    update,
)
from examples.token_transformer import (  # noqa: E402
    Block,
    GroupVectors,
    group_bits_of_indices,
    places,
    rotary_angles,
)

GROUP_BITS, NUM_FRAMES, BATCH_SIZE = 9, 4, 2
WIDTH, NUM_BLOCKS, LEARNING_RATE = 128, 2, 3e-3
TELL_STEPS, FILL_ROUNDS = 20, 8
_GREY, _GAP_PX, _ZOOM = 128, 4, 2


class MaskedLM(nn.Module):
    """Tells all groups of a clip from those that are not hidden. Axes as in ``token_transformer``."""

    def __init__(self, bits_per_token: int) -> None:
        super().__init__()
        num_groups = bits_per_token // GROUP_BITS
        self.embed = nn.Linear(bits_per_token, WIDTH)
        self.hidden_GD = nn.Parameter(torch.randn(num_groups, WIDTH) * 0.02)
        self.blocks = nn.ModuleList(Block(WIDTH) for _ in range(NUM_BLOCKS))
        self.norm = nn.LayerNorm(WIDTH)
        self.classes = GroupVectors(num_groups, GROUP_BITS, WIDTH)
        self.bias_GK = nn.Parameter(torch.zeros(num_groups, 2**GROUP_BITS))

    def forward(self, bits_BTHWL: Tensor, hidden_BTHWG: Tensor) -> Tensor:
        """Logits [B, T, H, W, G, K]; of bits (bool) in hidden groups nothing is seen."""
        _, *grid, _ = bits_BTHWL.shape
        signs = (bits_BTHWL.float() * 2 - 1).unflatten(-1, (-1, GROUP_BITS))
        signs = signs.masked_fill(hidden_BTHWG[..., None], 0).flatten(-2)
        x_BND = (self.embed(signs) + hidden_BTHWG.float() @ self.hidden_GD).flatten(1, 3)
        angles_NR = rotary_angles(places(*grid))
        for block in self.blocks:
            x_BND = block(x_BND, angles_NR, angles_NR, causal=False)
        logits = torch.einsum("bnd,gkd->bngk", self.norm(x_BND), self.classes()) + self.bias_GK
        return logits.unflatten(1, grid)


def hide(shape_BTHWL: torch.Size, share_B: Tensor, chance: torch.Generator, *, whole_tokens: bool) -> Tensor:
    """Bool [B, T, H, W, G]: about this share of each clip's groups, each by itself or by whole tokens."""
    *grid, bits_per_token = shape_BTHWL
    num_groups = bits_per_token // GROUP_BITS
    drawn = torch.rand(*grid, 1 if whole_tokens else num_groups, generator=chance)
    return (drawn < share_B.view(-1, 1, 1, 1, 1)).expand(*grid, num_groups)


def hidden_bits(logits: Tensor, bits_BTHWL: Tensor, hidden_BTHWG: Tensor) -> tuple[Tensor, Tensor]:
    """Of hidden groups: what they cost, in bits a token, and the share of their bits that is told right."""
    bits_ng = bits_BTHWL.unflatten(-1, (-1, GROUP_BITS))[hidden_BTHWG]
    logits_nK = logits[hidden_BTHWG]
    indices_n = (bits_ng * 2 ** torch.arange(GROUP_BITS - 1, -1, -1)).sum(-1)
    cost = F.cross_entropy(logits_nK, indices_n) / math.log(2) * hidden_BTHWG.shape[-1]
    expected_ng = logits_nK.detach().softmax(-1) @ group_bits_of_indices(GROUP_BITS)
    return cost, ((expected_ng > 0) == bits_ng).float().mean()


@torch.no_grad()
def evaluate(model: MaskedLM, batches: TokenBatches, seed: int) -> tuple[float, float]:
    """Cost and accuracy on held-out clips with half of their tokens hidden, the same ones each time."""
    chance = torch.Generator().manual_seed(seed)
    cost, right, num_clips = 0.0, 0.0, 0
    for batch in batches:
        bits = batch["tokens"]
        hidden = hide(bits.shape, torch.full((len(bits),), 0.5), chance, whole_tokens=True)
        batch_cost, batch_right = hidden_bits(model(bits, hidden), bits, hidden)
        cost += batch_cost.item() * len(bits)
        right += batch_right.item() * len(bits)
        num_clips += len(bits)
    return cost / num_clips, right / num_clips


def independent_bits(bits_nL: Tensor, of_nL: Tensor) -> tuple[float, float]:
    """Cost and accuracy of a model that knows only how often each bit is 1 in ``of``."""
    ones_L = (of_nL.float().sum(0) + 0.5) / (len(of_nL) + 1)
    chances_nL = torch.where(bits_nL, ones_L, 1 - ones_L)
    return -chances_nL.log2().sum(-1).mean().item(), (chances_nL > 0.5).float().mean().item()


@torch.no_grad()
def fill(model: MaskedLM, bits_BTHWL: Tensor, hidden_BTHWG: Tensor) -> Tensor:
    """The clips with hidden groups filled in by rounds: first a few, the most confident, then ever more."""
    codes_Kg = group_bits_of_indices(GROUP_BITS) > 0
    bits, hidden = bits_BTHWL.clone(), hidden_BTHWG.clone()
    num_hidden = int(hidden.sum())
    for number in range(1, FILL_ROUNDS + 1):
        confidence, indices = model(bits, hidden).softmax(-1).max(-1)
        left = int(num_hidden * math.cos(math.pi / 2 * number / FILL_ROUNDS))
        told = confidence.masked_fill(~hidden, -1).flatten().topk(int(hidden.sum()) - left).indices
        bits.view(-1, GROUP_BITS)[told] = codes_Kg[indices.flatten()[told]]
        hidden.view(-1)[told] = False
    return bits


def write_panes(path: Path, stored_HWC: Tensor, filled_HWC: Tensor, hidden_hw: Tensor) -> None:
    """A frame (uint8) as stored, with its hidden tokens in grey, and filled in, side by side."""
    stored, filled, grey = stored_HWC.numpy(), filled_HWC.numpy(), hidden_hw.numpy()
    patch_px = len(stored) // len(grey)
    grey = grey.repeat(patch_px, axis=0).repeat(patch_px, axis=1)
    masked = np.where(grey[..., None], np.uint8(_GREY), stored)
    gap = np.full((len(stored), _GAP_PX, 3), 255, dtype=np.uint8)
    row = np.concatenate([stored, gap, masked, gap, filled], axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(row.repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)).save(path)


def train(model: MaskedLM, clips: Clips, *, steps: int, seed: int) -> None:
    """Some steps of training; a line of progress each ``TELL_STEPS``."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
    chance = torch.Generator().manual_seed(seed)
    progress = Progress()
    for step, batch in zip(range(1, steps + 1), endless(clips.training), strict=False):
        bits = batch["tokens"]
        # The cosine schedule: an even draw u of [0, 1) hides a share cos(πu/2), rather much than little.
        share_B = torch.cos(math.pi / 2 * torch.rand(len(bits), generator=chance))
        hidden = hide(bits.shape, share_B, chance, whole_tokens=False)
        loss, _ = hidden_bits(model(bits, hidden), bits, hidden)
        update(model, optimizer, loss, step, LEARNING_RATE)
        progress.add(loss)
        if step % TELL_STEPS == 0 or step == steps:
            cost, right = evaluate(model, clips.held_out, seed)
            print(f"{progress.line(step)}  held out {_told(cost, right)}", flush=True)


def show(model: MaskedLM, clips: Clips, path: Path, seed: int) -> None:
    """Hide half of a held-out clip's tokens, fill them in, and write its last frame."""
    *_, batch = clips.held_out
    true = batch["tokens"][-1:]
    hidden = hide(true.shape, torch.tensor([0.5]), torch.Generator().manual_seed(seed), whole_tokens=True)
    filled = fill(model, true, hidden)
    right = (filled == true).unflatten(-1, (-1, GROUP_BITS))[hidden].float().mean().item()
    print(f"a clip, half of its tokens hidden and filled in {FILL_ROUNDS} rounds: {right:.1%} of bits right")
    tokenizer = stored_tokenizer(Folder(clips.uri), clips.card)
    stored_THWC, filled_THWC = tokenizer.decode([true[0], filled[0]])
    write_panes(path, stored_THWC[-1], filled_THWC[-1], hidden[0, -1, ..., 0])
    print(f"wrote {path}: a frame as stored, half of it hidden, filled in")


def main() -> None:
    options = argument_parser(__doc__, out=REPOSITORY / "demo-output" / "masked_lm", steps=300).parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(options.seed)
    clips = open_clips(
        options.dataset,
        held_out=options.held_out,
        view="bits",
        num_frames=NUM_FRAMES,
        batch_size=BATCH_SIZE,
        seed=options.seed,
    )
    bits_per_token = clips.card.geometry.code.bits_per_token
    if bits_per_token % GROUP_BITS:
        raise UsageError(f"The dataset's {bits_per_token} bits a token are no groups of {GROUP_BITS}.")
    training, held_out = (
        epoch_tokens(batches).flatten(0, -2) for batches in (clips.training, clips.held_out)
    )
    print(f"{len(training):,} tokens an epoch; {len(held_out):,} held out, of which half are hidden:")
    print(f"  {_told(*independent_bits(held_out, training))} by each bit's own frequency", flush=True)
    model = MaskedLM(bits_per_token)
    train(model, clips, steps=options.steps, seed=options.seed)
    show(model, clips, options.out / "filled.png", options.seed)


def _told(cost: float, right: float) -> str:
    return f"{cost:5.2f} bits/token, {right:.1%} of bits right"


if __name__ == "__main__":
    try:
        main()
    except BitmillError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
