"""``bitmill train`` of a token model: checks file and folder, trains here, prints the result."""

from pathlib import Path
from typing import Any

import torch

from bitmill.bsq_model.acceleration.freed_memory import keep_freed_memory
from bitmill.bsq_model.token_models.token_model import TokenModel
from bitmill.bsq_model.token_models.token_model_files import (
    load_token_model,
    make_token_model,
    token_model_fingerprint,
)
from bitmill.jobs.console import Console
from bitmill.jobs.preparation.models.slow_precision import slow_precision
from bitmill.jobs.preparation.run_folder import check_run_folder, raise_steps, write_spec
from bitmill.jobs.progress.training_view import TrainingView
from bitmill.jobs.scheduling.signals import asked_to_stop
from bitmill.pipeline.token_training.run_token_training import MODEL_FOLDER, train_token_model
from bitmill.pipeline.token_training.token_batches import TokenTrainingData
from bitmill.schemas.counted import counted
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.errors import InterruptedJobError, UsageError
from bitmill.schemas.models.token_model_config import token_fields, token_model_config
from bitmill.schemas.requests.token_training import TokenTrainSpec, fixed_token_fields


def train_token_job(spec: TokenTrainSpec, *, console: Console) -> None:
    """Train to the last step, resuming an earlier run of the same file."""
    folder = Path(spec.output)
    earlier = _check_folder(spec)
    if earlier is None and (folder / MODEL_FOLDER / "config.json").exists():
        console.print(f"nothing to do: the run in {spec.output} is complete.")
        return
    device = _device(spec)
    data = TokenTrainingData(spec)
    model = new_model(spec, data.card)
    folder.mkdir(parents=True, exist_ok=True)
    if earlier is not None:
        console.print(raise_steps(spec.output, earlier, spec.steps, (MODEL_FOLDER,)))
    write_spec(folder, spec)
    parameters = sum(p.numel() for p in model.parameters())
    console.print(f"{parameters:,} parameters, {counted(str(spec.steps), 'step')} on {device} …")
    if (note := slow_precision(spec.compute.precision, device)) is not None:
        console.print(note)
    with asked_to_stop() as asked, TrainingView(console) as view:
        ended = train_token_model(spec, model, data, device, on_progress=view.show, stop=asked.is_set)
    if not ended:
        raise InterruptedJobError("stopped; run the same command again to resume from here.")
    trained = load_token_model(folder / MODEL_FOLDER)
    console.print(f"model  {token_model_fingerprint(trained)}  {folder / MODEL_FOLDER}")


def new_model(spec: TokenTrainSpec, card: DatasetCard) -> TokenModel:
    """Returns an untrained model for the dataset's tokens."""
    try:
        fields = token_fields(card.geometry.code, spec.model)
        config = token_model_config({**fields, "tokenizer_fingerprint": card.tokenizer_fingerprint})
    except ValueError as error:
        raise UsageError(f"model does not fit the tokens of {spec.data[0].dataset}: {error}") from error
    return make_token_model(config, seed=spec.seed)


def _device(spec: TokenTrainSpec) -> torch.device:
    wanted = spec.compute.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("compute.device is cuda, but torch finds no GPU here; use auto or cpu.")
    if wanted != "cpu" and torch.cuda.is_available():
        return torch.device("cuda")
    if spec.compute.threads is not None:
        torch.set_num_threads(spec.compute.threads)
    keep_freed_memory()
    return torch.device("cpu")


def _check_folder(spec: TokenTrainSpec) -> int | None:
    def fixed_of_stored(document: Any) -> dict[str, Any]:
        return fixed_token_fields(TokenTrainSpec.model_validate(document))

    return check_run_folder(spec.output, fixed_token_fields(spec), fixed_of_stored)
