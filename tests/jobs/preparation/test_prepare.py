"""What is refused before anything is planned or written."""

import sys
from pathlib import Path

import pytest

from bitmill.bsq_model import save_tokenizer, tokenizer_from_files
from bitmill.bsq_model.bundled import bundled_files
from bitmill.bsq_model.presets import untrained_tokenizer
from bitmill.jobs.commands.dataset.estimate import estimate_job
from bitmill.jobs.preparation.prepare import prepare
from bitmill.pipeline.dataset.dataset_folder import require_card
from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig
from bitmill.schemas.requests.job import JobSpec, SamplingSpec
from tests.support.commands import finish

pytestmark = pytest.mark.usefixtures("briefly_timed", "forked_children")


def _job(
    tmp_path: Path, attention: str, num_frames: int, sampling: dict[str, object] | None = None
) -> JobSpec:
    sizes = {"width": 8, "layers": 1, "heads": 1}
    config = TokenizerConfig.model_validate(
        {
            "image_size_px": 16,
            "bits_per_token": 4,
            "num_frames": num_frames,
            "encoder": sizes,
            "decoder": sizes,
            "decoder_ffn_width": 8,
            "attention": attention,
        }
    )
    save_tokenizer(untrained_tokenizer(config), tmp_path / "tokenizer")
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.mp4").write_bytes(b"x")
    return JobSpec.model_validate(
        {
            "version": 1,
            "source": {"paths": [str(tmp_path / "media")]},
            "output": str(tmp_path / "out"),
            "tokenizer": {"path": str(tmp_path / "tokenizer")},
            "sampling": {"fps": 1, "clip_frames": num_frames} if sampling is None else sampling,
        }
    )


def _prepare(tmp_path: Path, attention: str, num_frames: int):
    return prepare(_job(tmp_path, attention, num_frames), cluster_has_gpus=lambda: False)


def test_a_tokenizer_that_looks_ahead_makes_no_dataset(tmp_path):
    with pytest.raises(UsageError, match=r"attention 'full': its tokens depend on later frames"):
        _prepare(tmp_path, "full", 4)
    assert not (tmp_path / "out").exists()


def test_decord_is_refused_where_it_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "decord", None)
    job = _job(tmp_path, "block-causal", 4)
    job = job.model_copy(update={"compute": job.compute.model_copy(update={"decoder": "decord"})})
    with pytest.raises(UsageError, match="decord, which is not installed here"):
        prepare(job, cluster_has_gpus=lambda: False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("attention", "num_frames"), [("block-causal", 4), ("full", 1)])
def test_a_tokenizer_that_cannot_look_ahead_does(tmp_path, attention, num_frames):
    assert len(_prepare(tmp_path, attention, num_frames).remaining) == 1


@pytest.mark.parametrize(("num_frames", "usual"), [(1, 1), (4, 4), (20, 16)])
def test_clips_are_by_default_as_long_as_the_tokenizer_goes_up_to_16(tmp_path, num_frames, usual):
    job = _job(tmp_path, "block-causal", num_frames, {"fps": 1})
    prepared = prepare(job, cluster_has_gpus=lambda: False)
    assert prepared.context.job.sampling.clip_frames == usual
    card = require_card(prepared.folder)
    stored = card.job["sampling"]["clip_frames"], card.fingerprint_fields["sampling.clip_frames"]
    assert stored == (usual, usual)
    said = job.model_copy(update={"sampling": SamplingSpec(fps=1, clip_frames=usual)})
    assert prepare(said, cluster_has_gpus=lambda: False).card == card
    assert estimate_job(job, sample=1).sources == 1


def test_a_dataset_whose_job_left_the_length_to_an_earlier_release_goes_on_with_it(tmp_path):
    job = _job(tmp_path, "block-causal", 20, {"fps": 1})
    earlier = job.model_copy(update={"sampling": SamplingSpec(fps=1, clip_frames=12)})
    first = prepare(earlier, cluster_has_gpus=lambda: False)
    again = prepare(job, cluster_has_gpus=lambda: False)
    assert (again.card, again.context) == (first.card, first.context)


def test_a_shortest_tail_beyond_the_tokenizers_frames_is_refused(tmp_path):
    job = _job(tmp_path, "block-causal", 1, {"min_frames": 2})
    with pytest.raises(UsageError, match="min_frames 2 is more than clip_frames 1"):
        prepare(job, cluster_has_gpus=lambda: False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("question", ["top_names", "read_bytes"])
def test_another_driver_that_begins_between_two_looks_is_joined(tmp_path, monkeypatch, question):
    """Its card and its first shard come right after this driver has listed the folder, or read no card."""
    job = _job(tmp_path, "block-causal", 4)
    other = []
    ask = getattr(Folder, question)

    def interrupted(folder: Folder, *arguments: str):
        try:
            return ask(folder, *arguments)
        finally:
            if not other and folder.uri == job.output:
                other.append(None)
                other.append(prepare(job, cluster_has_gpus=lambda: False))
                folder.write_bytes("shards/first.parquet", b"")

    monkeypatch.setattr(Folder, question, interrupted)
    prepared = prepare(job, cluster_has_gpus=lambda: False)
    assert prepared.card == other[1].card
    assert prepared.remaining == other[1].remaining


_PREPARED = """
import sys
from bitmill.jobs.commands.dataset import tokenize
from bitmill.jobs.execution import driver
from bitmill.jobs.preparation.job_request import requested_job
from bitmill.jobs.preparation.prepare import prepare
from bitmill.pipeline.dataset.without_pandas import without_pandas

without_pandas()
job = requested_job(sys.argv[1], sys.argv[2], tokenizer=None, overrides={"compute.device": "cpu"}, origin="x")
print(prepare(job, cluster_has_gpus=lambda: False).tokenizer.fingerprint)
print({"torch", "numba", "pandas"} & sys.modules.keys())
"""


@pytest.mark.slow
def test_a_command_needs_neither_torch_nor_numba_for_the_bundled_tokenizer(tmp_path):
    """Each takes longer to import than all the rest; actors import torch, decoders numba."""
    (tmp_path / "a.mp4").write_bytes(b"x")
    done = finish([sys.executable, "-c", _PREPARED, str(tmp_path / "a.mp4"), str(tmp_path / "tokens")])
    assert done.code == 0, done.err
    fingerprint = tokenizer_from_files(*bundled_files("small-1")).fingerprint
    assert done.out.splitlines() == [fingerprint, "set()"]
