"""A GPT over video tokens: each token is one position, its groups of bits are predicted one after another.

make demo
python examples/gpt.py                         # some hundred steps on a CPU; 18 bits are 2 groups of 9
python examples/gpt.py --resume --steps 400    # goes on from the checkpoint, at the very next batch

What it prints is what a lossless coder driven by the model would need: bits a token on clips held out.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from bitmill import TokenBatches  # noqa: E402
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
from examples.token_transformer import Block, GroupVectors, mlp, places, rotary_angles  # noqa: E402

GROUP_BITS, NUM_FRAMES, BATCH_SIZE = 9, 4, 2
WIDTH, NUM_BLOCKS, LEARNING_RATE = 128, 2, 3e-3
TELL_STEPS, SAVE_STEPS = 20, 50


class GPT(nn.Module):
    """Position i carries token i − 1 and predicts token i. Axes as in ``token_transformer``."""

    def __init__(self, num_groups: int) -> None:
        super().__init__()
        self.vectors = GroupVectors(num_groups, GROUP_BITS, WIDTH)
        self.start_D = nn.Parameter(torch.zeros(WIDTH))
        self.blocks = nn.ModuleList(Block(WIDTH) for _ in range(NUM_BLOCKS))
        self.group_mlps = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(WIDTH), mlp(WIDTH)) for _ in range(num_groups - 1)
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.bias_GK = nn.Parameter(torch.zeros(num_groups, 2**GROUP_BITS))

    def forward(self, tokens_BTHWG: Tensor) -> Tensor:
        """Logits of each group given all tokens and groups before it: [B, T, H, W, G, K]."""
        _, *grid, num_groups = tokens_BTHWG.shape
        tokens_BNG = tokens_BTHWG.flatten(1, 3)
        vectors_GKD = self.vectors()
        groups_BND = [F.embedding(tokens_BNG[..., g], vectors_GKD[g]) for g in range(num_groups)]
        tokens_BND = torch.stack(groups_BND).sum(0)
        x_BND = torch.cat([self.start_D.expand_as(tokens_BND[:, :1]), tokens_BND[:, :-1]], dim=1)
        # A query stands where the token it predicts will be, a key where the token it carries is.
        query_NR = rotary_angles(places(*grid))
        key_NR = torch.cat([query_NR[:1], query_NR[:-1]])
        for block in self.blocks:
            x_BND = block(x_BND, query_NR, key_NR, causal=True)
        logits: list[Tensor] = []
        for g in range(num_groups):
            if g:
                x_BND = x_BND + groups_BND[g - 1]
                x_BND = x_BND + self.group_mlps[g - 1](x_BND)
            logits.append(F.linear(self.norm(x_BND), vectors_GKD[g], self.bias_GK[g]))
        return torch.stack(logits, dim=2).unflatten(1, grid)


def token_bits(logits_BTHWGK: Tensor, tokens_BTHWG: Tensor) -> Tensor:
    """Bits that each token costs under the model, [B, T, H, W]."""
    nats = F.cross_entropy(logits_BTHWGK.flatten(0, -2), tokens_BTHWG.flatten(), reduction="none")
    return nats.view(tokens_BTHWG.shape).sum(-1) / math.log(2)


@torch.no_grad()
def evaluate(model: GPT, batches: TokenBatches) -> list[float]:
    """Bits a token on held-out clips, by frame of the window."""
    bits = [token_bits(model(batch["tokens"]), batch["tokens"]) for batch in batches]
    return torch.cat(bits).mean((0, 2, 3)).tolist()


def histogram_bits(tokens_BTHWG: Tensor, of_BTHWG: Tensor, *, added: float, copying: bool = False) -> float:
    """Bits a token under the histogram of each group's indices in ``of``, with ``added`` to every count.

    With ``copying`` an index may also be that of the frame before, as often as it is in ``of``.
    """
    bits = 0.0
    for tokens_BTHW, of_BTHW in zip(tokens_BTHWG.unbind(-1), of_BTHWG.unbind(-1), strict=True):
        counts_K = torch.bincount(of_BTHW.flatten(), minlength=2**GROUP_BITS) + added
        chances_BTHW = (counts_K / counts_K.sum())[tokens_BTHW]
        if copying:
            copied = (of_BTHW[:, 1:] == of_BTHW[:, :-1]).float().mean()
            same = (tokens_BTHW[:, 1:] == tokens_BTHW[:, :-1]).float()
            chances_BTHW[:, 1:] = copied * same + (1 - copied) * chances_BTHW[:, 1:]
        bits -= chances_BTHW.log2().mean().item()
    return bits


def tell_baselines(clips: Clips, bits_per_token: int) -> None:
    """What a token of the held-out clips costs without a model."""
    training, held_out = epoch_tokens(clips.training), epoch_tokens(clips.held_out)
    own = histogram_bits(held_out, held_out, added=0)
    learned = histogram_bits(held_out, training, added=0.5)
    copying = histogram_bits(held_out, training, added=0.5, copying=True)
    print(f"{_num_tokens(training):,} tokens an epoch; {_num_tokens(held_out):,} held out, in bits/token:")
    print(f"  {bits_per_token:5.2f}  as stored")
    print(f"  {learned:5.2f}  by the histogram of each group in training clips")
    print(f"  {own:5.2f}  by that in the held-out clips themselves (order-0 entropy)")
    print(f"  {copying:5.2f}  by that in training clips, or as a copy from the frame before", flush=True)


def _num_tokens(tokens_BTHWG: Tensor) -> int:
    return tokens_BTHWG[..., 0].numel()


def save_checkpoint(path: Path, model: GPT, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Weights, AdamW's moments and, as JSON, step and reader's state: one file, so that they fit together."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(".staged")
    save_file(tensors, staged, metadata={"state": json.dumps(state)})
    staged.replace(path)


def load_checkpoint(path: Path, model: GPT, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Fill model and optimizer; gives the state that was saved with them."""
    weights: dict[str, Tensor] = {}
    moments: dict[int, dict[str, Tensor]] = {}
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - the file is no dict
            kind, _, rest = name.partition(".")
            if kind == "model":
                weights[rest] = file.get_tensor(name)
            else:
                number, _, moment = rest.partition(".")
                moments.setdefault(int(number), {})[moment] = file.get_tensor(name)
        state = json.loads(file.metadata()["state"])
    model.load_state_dict(weights)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return state


def train(model: GPT, clips: Clips, *, checkpoint: Path, steps: int, resume: bool) -> None:
    """Train up to ``steps`` steps in all; a line each ``TELL_STEPS``, a checkpoint each ``SAVE_STEPS``."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
    done = 0
    if resume:
        if not checkpoint.exists():
            raise UsageError(f"There is no {checkpoint} to resume from; run without --resume first.")
        state = load_checkpoint(checkpoint, model, optimizer)
        clips.training.load_state_dict(state["reader"])
        done = state["step"]
        print(f"resumed behind step {done}, in epoch {clips.training.epoch}")
    progress = Progress()
    for step, batch in zip(range(done + 1, steps + 1), endless(clips.training), strict=False):
        loss = token_bits(model(batch["tokens"]), batch["tokens"]).mean()
        update(model, optimizer, loss, step, LEARNING_RATE)
        progress.add(loss)
        if step % TELL_STEPS == 0 or step == steps:
            frames = evaluate(model, clips.held_out)
            by_frame = " ".join(f"{bits:.2f}" for bits in frames)
            mean = sum(frames) / len(frames)
            print(f"{progress.line(step)}  held out {mean:.2f} (by frame {by_frame})", flush=True)
        if step % SAVE_STEPS == 0 or step == steps:
            # Taken here, the reader's state stands behind this step's batch, in the middle of an epoch.
            reader = clips.training.state_dict()
            save_checkpoint(checkpoint, model, optimizer, {"step": step, "reader": reader})


def main() -> None:
    parser = argument_parser(__doc__, out=REPOSITORY / "demo-output" / "gpt", steps=200)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    options = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(options.seed)
    clips = open_clips(
        options.dataset,
        held_out=options.held_out,
        view="groups",
        group_bits=GROUP_BITS,
        num_frames=NUM_FRAMES,
        batch_size=BATCH_SIZE,
        seed=options.seed,
    )
    bits_per_token = clips.card.geometry.code.bits_per_token
    tell_baselines(clips, bits_per_token)
    model = GPT(bits_per_token // GROUP_BITS)
    checkpoint = options.out / "checkpoint.safetensors"
    train(model, clips, checkpoint=checkpoint, steps=options.steps, resume=options.resume)
    print(f"checkpoint: {checkpoint}")


if __name__ == "__main__":
    try:
        main()
    except BitmillError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
