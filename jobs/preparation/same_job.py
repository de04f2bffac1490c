"""Decides whether a command continues what its output folder holds, and names what differs if it does not."""

from collections.abc import Mapping
from typing import Any

from bitmill.bsq_model.bundled import bundled_tokenizer
from bitmill.pipeline.storage import Folder, normalise
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.errors import OutputConflictError
from bitmill.schemas.requests.job import SourceSpec
from bitmill.schemas.requests.job_fingerprint import BEFORE_FIELD


def source_fields(source: SourceSpec) -> dict[str, Any]:
    """Returns what the job says of its sources, by dotted name, as the dataset's card keeps it."""
    return {
        "source.paths": sorted(map(normalise, source.paths)) if source.paths is not None else None,
        "source.manifest": normalise(source.manifest) if source.manifest is not None else None,
    }


def check_same_job(
    folder: Folder,
    card: DatasetCard,
    fields: dict[str, Any],
    sources: dict[str, Any],
    *,
    append: bool,
) -> None:
    """Raises OutputConflictError, naming each field that differs, unless the job is the dataset's own.

    ``fields`` are its ``fingerprint_fields``; ``sources`` may differ where they are appended.
    """
    stored, wanted = (BEFORE_FIELD | told for told in (card.fingerprint_fields, fields))
    advice = ""
    if not append and not card.names_sources(sources):
        advice = " To add these sources to that dataset, run it with --append." if stored == wanted else ""
        stored, wanted = {**stored, **card.source_fields}, {**wanted, **sources}
    differing = differences(stored, wanted)
    if differing and _was_called_small(card, wanted):
        advice += " Its tokenizer, called small before bitmill 0.2, is small-1 now."
    if differing:
        raise OutputConflictError(
            f"The output {folder.uri} contains another job's dataset: {'; '.join(differing)}. "
            f"Choose another output, or run the job that made it.{advice}"
        )


def _was_called_small(card: DatasetCard, wanted: dict[str, Any]) -> bool:
    is_another = card.tokenizer_fingerprint != wanted.get("tokenizer")
    return is_another and card.tokenizer_fingerprint == bundled_tokenizer("small-1").fingerprint


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Returns a phrase per differing field, sorted by name; a missing field counts as None: not set."""
    return [
        f"{name} is {_told(there.get(name))} there and {_told(here.get(name))} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]


def _told(value: Any) -> str:
    return "not set" if value is None else repr(value)
