"""What training needs beside the model: clips to learn from and clips held out, a step, lines to read."""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bitmill import ClipFilter, FrameWindows, TokenBatches, TokenDataset, View
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.models.token_model_config import check_tokens

_EVALUATION_BATCH = 8
_WARM_UP_STEPS = 30


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Batches to learn from, shuffled and resumable, and batches of other sources to be judged by."""

    uri: str
    card: DatasetCard
    training: TokenBatches
    held_out: TokenBatches


def open_clips(
    dataset: str,
    *,
    held_out: str,
    view: View,
    group_bits: int | None = None,
    num_frames: int,
    batch_size: int,
    seed: int,
) -> Clips:
    """Windows of ``num_frames`` frames of clips; those of sources that match ``held_out`` are kept apart.

    Whole sources are held out: neighbouring clips of one video are too much alike to test anything.
    Raises UsageError where either side is left without a clip, or tokens are no bits.
    """
    check_tokens(TokenDataset(dataset, view="packed").card.geometry)
    apart = TokenDataset(
        dataset, view=view, group_bits=group_bits, columns=("clip_id",), where=ClipFilter(sources=[held_out])
    )
    rest = ClipFilter(without_clip_ids=[clip["clip_id"] for clip in apart])
    training = TokenDataset(dataset, view=view, group_bits=group_bits, where=rest)
    # Windows that overlap by half: a video cut elsewhere is another example.
    overlapping = FrameWindows(num_frames, stride=max(1, num_frames // 2))
    return Clips(
        uri=dataset,
        card=apart.card,
        training=TokenBatches(training, batch_size=batch_size, shuffle=True, seed=seed, shape=overlapping),
        held_out=TokenBatches(
            apart, batch_size=_EVALUATION_BATCH, shape=FrameWindows(num_frames), remainder="keep"
        ),
    )


def endless(batches: TokenBatches) -> Iterator[dict[str, Any]]:
    """Epoch after epoch, from where the state stands."""
    while True:
        yield from batches


def epoch_tokens(batches: TokenBatches) -> Tensor:
    """All tokens of an epoch in one tensor; for small datasets. Leaves the state as it was."""
    state = batches.state_dict()
    tokens = torch.cat([batch["tokens"] for batch in batches])
    batches.load_state_dict(state)
    return tokens


def update(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, step: int, peak: float) -> None:
    """One step of AdamW. The rate rises, then falls with 1/√step: it needs not know when the run will end."""
    for group in optimizer.param_groups:
        group["lr"] = peak * min(step / _WARM_UP_STEPS, (_WARM_UP_STEPS / step) ** 0.5)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


class Progress:
    """Training loss since the last line, and steps a second."""

    def __init__(self) -> None:
        self._losses: list[float] = []
        self._since_s = time.monotonic()

    def add(self, loss: Tensor) -> None:
        self._losses.append(loss.item())

    def line(self, step: int) -> str:
        """What there is to tell; begins anew."""
        mean = sum(self._losses) / len(self._losses)
        rate = len(self._losses) / (time.monotonic() - self._since_s)
        self._losses.clear()
        self._since_s = time.monotonic()
        return f"step {step:4}  training {mean:5.2f} bits/token  {rate:.1f} steps/s"


def argument_parser(description: str | None, *, out: Path, steps: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="demo-output/tokens", help="a dataset of bitmill (make demo)")
    parser.add_argument("--held-out", default="*carphone*", help="shell pattern of the sources held out")
    parser.add_argument("--out", type=Path, default=out, help="folder for what the run writes")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--seed", type=int, default=0)
    return parser
