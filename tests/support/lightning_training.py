"""Training by Lightning that notes what it sees. To import Lightning takes seconds: only where it runs."""

from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from bitmill.pipeline.reading import TokenLoader
from tests.support.readers import Ids, odd_batches


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


def train(
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
