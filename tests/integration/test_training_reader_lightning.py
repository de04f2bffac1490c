"""Lightning trains on a TokenLoader, stops anywhere, and takes up at the very next batch."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from bitmill.pipeline.reading import TokenLoader
from tests.support.readers import Ids, ids_of, odd_batches, write_odd_dataset

# Lightning gives advice as warnings, and meets those of torch.
pytestmark = pytest.mark.filterwarnings("ignore")

_EPOCH = 16


class Seeing(lightning.LightningModule):
    """Learns next to nothing, and notes whose tokens it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.trained: Ids = []
        self.validated: Ids = []

    def training_step(self, batch: dict[str, Any], _: int) -> torch.Tensor:
        self.trained.append(batch["clip_id"])
        return (self.weight - batch["tokens"].float().mean()).square().sum()

    def validation_step(self, batch: dict[str, Any], _: int) -> None:
        self.validated.append(batch["clip_id"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


@pytest.fixture(scope="module")
def uri(tmp_path_factory) -> str:
    uri = str(tmp_path_factory.mktemp("odd") / "tokens")
    write_odd_dataset(uri)
    return uri


@pytest.fixture(scope="module")
def sequence(uri) -> Ids:
    """Three epochs by plain iteration."""
    batches = odd_batches(uri)
    return [batch for _ in range(3) for batch in ids_of(batches)]


def _train(
    folder: Path,
    uri: str,
    *,
    resume: Path | None = None,
    num_workers: int = 0,
    save_every: int | None = None,
    **until: int,
) -> Seeing:
    """Train until so many steps or epochs; leaves ``last.ckpt``, and each ``step=N.ckpt`` asked for."""
    module = Seeing()
    trainer = lightning.Trainer(
        **until,
        callbacks=[_saving(folder, save_every)] if save_every else [],
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=save_every is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=2,
    )
    validation = TokenLoader(odd_batches(uri, shuffle=False, remainder="keep"))
    trainer.fit(
        module,
        TokenLoader(odd_batches(uri), num_workers=num_workers),
        validation,
        ckpt_path=str(resume) if resume else None,
    )
    trainer.save_checkpoint(folder / "last.ckpt")
    return module


def _saving(folder: Path, every: int) -> ModelCheckpoint:
    return ModelCheckpoint(folder, filename="{step}", every_n_train_steps=every, save_top_k=-1)


@pytest.mark.parametrize(("stop_at", "num_workers"), [(1, 0), (7, 2), (15, 0), (16, 0), (17, 0), (32, 0)])
def test_stopped_by_steps_it_takes_up_at_the_very_next_batch(tmp_path, uri, sequence, stop_at, num_workers):
    first = _train(tmp_path, uri, max_steps=stop_at, num_workers=num_workers)
    assert first.trained == sequence[:stop_at]
    second = _train(tmp_path, uri, resume=tmp_path / "last.ckpt", max_steps=3 * _EPOCH)
    assert second.trained == sequence[stop_at:]


def test_killed_it_takes_up_at_any_checkpoint(tmp_path, uri, sequence):
    _train(tmp_path, uri, max_epochs=2, save_every=5)
    for step in (5, 15, 20, 30):
        resumed = _train(tmp_path, uri, resume=tmp_path / f"step={step}.ckpt", max_epochs=3)
        assert resumed.trained == sequence[step:]


def test_stopped_between_epochs_it_takes_up_with_the_next(tmp_path, uri, sequence):
    first = _train(tmp_path, uri, max_epochs=1)
    assert first.trained == sequence[:_EPOCH]
    second = _train(tmp_path, uri, resume=tmp_path / "last.ckpt", max_epochs=3)
    assert second.trained == sequence[_EPOCH:]


def test_each_validation_sees_all_from_the_first_batch(tmp_path, uri):
    every = ids_of(odd_batches(uri, shuffle=False, remainder="keep"))
    module = _train(tmp_path, uri, max_epochs=2)
    assert module.validated == [*every[:2], *every, *every]
