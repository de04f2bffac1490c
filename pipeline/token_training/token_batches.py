"""Batches for token models: windows of clips, shuffled and resumable, with whole sources held out.

Axes: B clips, T frames, h and w tokens, D dimensions of a code.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bitmill.pipeline.reading import ClipFilter, FrameWindows, TokenBatches, TokenDataset
from bitmill.pipeline.reading.samples.collate import TokenBatch
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.errors import TokenizerMismatchError, UsageError, WrongArgumentError
from bitmill.schemas.models.token_model_config import MaskedLMSizes, TokenModelSizes, check_tokens
from bitmill.schemas.requests.token_training import TokenDataSpec, TokenTrainSpec

_GOLDEN = (5**0.5 - 1) / 2


class LabelledCodes(NamedTuple):
    """Examples of equal length."""

    codes_BThwD: Tensor
    """Bool of bits, int64 of digits."""
    labels_B: Tensor | None
    """Int64, counted from 1 in the model's labels, 0 for none; None for a model without labels."""


class TokenTrainingData:
    """One stream per entry of ``spec.data``; each step takes one batch of one stream.

    The step's number and the shares alone decide which stream it takes. Whole sources are held out, because
    neighbouring clips of one video are too similar for a test. Raises UsageError if an entry has no training
    or no held-out clip, or the tokens are no bits or digits, TokenizerMismatchError if the datasets'
    tokenizers differ.
    """

    def __init__(self, spec: TokenTrainSpec) -> None:
        self.card = TokenDataset(spec.data[0].dataset, view="packed").cards[0]
        """The first dataset's card; the others have the same tokenizer."""
        check_tokens(self.card.geometry)
        self._labels = labels_of(spec.model)
        self._streams: list[TokenBatches] = []
        self.held_out: list[TokenBatches] = []
        for kind in spec.data:
            training, held_out, card = _open(kind, spec)
            self._streams.append(training)
            self.held_out.append(held_out)
            if card.tokenizer_fingerprint != self.card.tokenizer_fingerprint:
                raise TokenizerMismatchError(
                    f"{kind.dataset} contains tokens of tokenizer {card.tokenizer_fingerprint}, "
                    f"{spec.data[0].dataset} those of {self.card.tokenizer_fingerprint}."
                )
        self._endless: list[Iterator[TokenBatch] | None] = [None] * len(self._streams)
        total = sum(kind.share for kind in spec.data)
        self._bounds = np.cumsum([kind.share / total for kind in spec.data])

    def batch(self, step: int) -> LabelledCodes:
        """Return the batch of step number ``step`` (the first is 0); call it in order."""
        # With multiples of the golden ratio, every range of steps contains the streams in nearly their
        # shares.
        number = int(np.searchsorted(self._bounds[:-1], (step * _GOLDEN) % 1.0, side="right"))
        endless = self._endless[number]
        if endless is None:
            endless = self._endless[number] = _endless(self._streams[number])
        return labelled(next(endless), self._labels)

    def state(self) -> list[Any]:
        """Return each stream's position, as JSON-compatible values."""
        return [stream.state_dict() for stream in self._streams]

    def go_on(self, state: list[Any]) -> None:
        """Restore a state; call it before the first batch."""
        for stream, at in zip(self._streams, state, strict=True):
            stream.load_state_dict(at)


def labels_of(model: TokenModelSizes) -> tuple[str, ...]:
    """Return the model's label names; empty for a prior."""
    return model.labels if isinstance(model, MaskedLMSizes) else ()


def labelled(batch: TokenBatch, labels: tuple[str, ...]) -> LabelledCodes:
    """Add label numbers to a batch, from its column ``metadata`` if there are labels."""
    if not labels:
        return LabelledCodes(batch["tokens"], None)
    rows = {label: row for row, label in enumerate(labels, start=1)}
    found = [json.loads(text or "{}").get("label") for text in batch["metadata"]]
    return LabelledCodes(batch["tokens"], torch.tensor([rows.get(label, 0) for label in found]))


def _open(kind: TokenDataSpec, spec: TokenTrainSpec) -> tuple[TokenBatches, TokenBatches, DatasetCard]:
    apart = TokenDataset(
        kind.dataset,
        columns=("clip_id", "metadata"),
        where=ClipFilter(sources=spec.held_out, min_frames=kind.frames),
    )
    rest = TokenDataset(
        kind.dataset,
        columns=("metadata",),
        where=ClipFilter(without_clip_ids=[clip["clip_id"] for clip in apart], min_frames=kind.frames),
    )
    for name, dataset in (("held out", apart), ("to train on", rest)):
        if not len(dataset):
            raise UsageError(
                f"{kind.dataset}: no clip of {kind.frames} frames is {name}; check held_out, frames, "
                "and the sources that `bitmill inspect` lists."
            )
        sizes = {(height, width) for _, height, width in dataset.clips.distinct_shapes().tolist()}
        if len(sizes) > 1:
            raise UsageError(
                f"{kind.dataset} has frames of {len(sizes)} sizes in tokens "
                f"({', '.join(f'{height}×{width}' for height, width in sorted(sizes)[:4])}); a token model "
                "trains on frames of one size, so tokenize with one frames.size_px or one bucket."
            )
    training = TokenBatches(
        rest,
        batch_size=kind.batch,
        shuffle=True,
        seed=spec.seed,
        shape=FrameWindows(kind.frames, stride=kind.stride or max(1, kind.frames // 2)),
    )
    try:
        len(training)
    except WrongArgumentError as error:
        raise UsageError(
            f"{kind.dataset} has fewer windows of {kind.frames} frames to train on than a batch of "
            f"{kind.batch}; lower the batch of these clips, or tokenize more."
        ) from error
    held_out = TokenBatches(apart, batch_size=kind.batch, shape=FrameWindows(kind.frames), remainder="keep")
    return training, held_out, apart.cards[0]


def _endless(stream: TokenBatches) -> Iterator[TokenBatch]:
    """Yield epoch after epoch, from the stream's current position."""
    while True:
        yield from stream
