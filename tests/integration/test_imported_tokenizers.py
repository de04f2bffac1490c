"""Published tokenizers of each family from their files to the last command, as a user goes it."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from bitmill.jobs.cli import main
from bitmill.pipeline.decode.decode_media import decode_item
from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.items import DecodedClip
from bitmill.pipeline.reading import TokenDataset
from bitmill.schemas.models.tokenizer_origin import NOT_COMPARED
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec
from tests.bsq_model.published.golden import golden, indices
from tests.bsq_model.published.publishing import publish
from tests.support.commands import Finished, bitmill
from tests.support.media import jpeg_photo, real_pictures, write_video
from tests.support.toys import expect_one_sentence, tokenize_here

pytestmark = pytest.mark.ray

SIZE_PX = 48


@dataclass(frozen=True)
class Imported:
    """A case, the folder of its tokenizer, some media, and the finished dataset ``tokens`` of a job."""

    name: str
    folder: Path
    done: Finished | None
    """How the command ended that made it, if one did."""

    def path(self, name: str) -> str:
        return str(self.folder / name)


CASES = ["vidtok-v11", "cosmos-dv4x8x8", "cosmos-di8x8", "emu3", "infinity", "open-magvit2"]

COMMANDED = {"vidtok-v11", "infinity"}
"""Tokenized by the command, on Ray; the others by what its actors call, in this process."""

DISTINCT = pytest.mark.parametrize("imported", ["vidtok-v11", "emu3", "infinity"], indirect=True)
"""For commands that see of a tokenizer only its geometry: digits of a clip, an index, bits of a pyramid."""


@pytest.fixture(scope="module", params=CASES)
def imported(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    tokenize: Callable[..., Finished],
) -> Imported:
    folder = tmp_path_factory.mktemp("imported")
    *files, option, config = publish(request.param, folder / "published")
    done = bitmill("weights", "import", *files, str(folder / "t"), option, config)
    assert done.code == 0, done.err
    media = folder / "media"
    media.mkdir()
    write_video(media / "landscape.mp4", real_pictures(20, 80, 60), fps=10)
    write_video(media / "portrait.mp4", real_pictures(9, 60, 80, clip="carphone_pristine.mp4"), fps=10)
    jpeg_photo(media / "photo.jpg")
    document = {
        "version": 1,
        "source": {"paths": [str(media)]},
        "output": str(folder / "tokens"),
        "tokenizer": {"path": str(folder / "t")},
        "frames": {"size_px": SIZE_PX},
        "sharding": {"max_sources": 1},
        # Each further worker imports for seconds.
        "compute": {"actors": 1, "decoders": 1},
    }
    (folder / "job.yaml").write_text(json.dumps(document))
    if request.param in COMMANDED:
        return Imported(request.param, folder, tokenize(str(folder / "job.yaml")))
    tokenize_here(folder / "job.yaml")
    return Imported(request.param, folder, None)


def test_each_clip_has_the_codes_of_its_frames(imported):
    assert imported.done is None or imported.done.code == 0, imported.done.err
    tokenizer = golden(imported.name)
    clips = TokenDataset(imported.path("tokens"), view="integers", columns=("source", "start_ns"))
    stored = {(Path(clip["source"]).name, clip["start_ns"]): clip["tokens"] for clip in clips}
    for media in sorted((imported.folder / "media").iterdir()):
        events = decode_item(
            str(media),
            span_ns=(None, None),
            sampling=SamplingSpec(clip_frames=tokenizer.geometry.usual_frames),
            sizes=squares(SIZE_PX),
            limits=LimitsSpec(),
            pixel_rule=2,
        )
        for clip in events:
            if not isinstance(clip, DecodedClip):
                continue
            frames = torch.from_numpy(clip.frames_THWC)
            missing = (tokenizer.geometry.legal_at_least(len(frames)) or 0) - len(frames)
            padded = torch.cat((frames, frames[-1:].expand(missing, -1, -1, -1)))
            expected = indices(tokenizer.encode([padded])[0], tokenizer.config)
            assert torch.equal(stored.pop((media.name, clip.start_ns)), expected)
    assert not stored


def test_the_dataset_says_what_was_not_compared(imported):
    card = json.loads((imported.folder / "tokens" / "dataset.json").read_text())
    assert card["tokenizer_note"] == NOT_COMPARED
    architecture = golden(imported.name).config.architecture
    assert card["tokenizer"]["architecture"] == architecture
    assert card["format_version"] == (5 if architecture in {"emu3", "infinity", "open-magvit2"} else 4)
    assert imported.done is None or NOT_COMPARED in imported.done.out + imported.done.err
    assert NOT_COMPARED in bitmill("inspect", imported.path("tokens")).out
    origin = json.loads((imported.folder / "tokens" / "tokenizer" / "origin.json").read_text())
    assert origin["compared"] is False


@pytest.fixture
def here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, forked_children: None
) -> Callable[..., Finished]:
    """Run a command in this process, where another would import its decoders anew."""

    def run(*arguments: str) -> Finished:
        monkeypatch.setenv("COLUMNS", "400")
        monkeypatch.setattr(sys, "argv", ["bitmill", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return Finished(int(ended.value.code or 0), *capsys.readouterr())

    return run


@DISTINCT
def test_it_is_previewed_audited_and_exported(imported, here):
    tokens = imported.path("tokens")
    done = here("preview", tokens, "--out", imported.path("p.mp4"))
    assert (done.code, "PSNR of decoded against original" in done.out) == (0, True), done.err
    words = ("--out", imported.path("audit"), "--check-source", "--workers", "1")
    done = here("audit", tokens, *words)
    assert done.code == 0, done.out + done.err
    report = json.loads((imported.folder / "audit" / "audit.json").read_text())
    assert (report["verdict"], report["sample"]["differing_bits"]) == ("sound", 0)
    assert report["sample"]["compared"] > 2
    done = here("export", tokens, imported.path("hf"), "--to", "huggingface", "--workers", "1")
    assert done.code == 0, done.err
    clips = TokenDataset(tokens, view="integers", columns=("clip_id",))
    stored = {clip["clip_id"]: clip["tokens"].numpy() for clip in clips}
    for path in (imported.folder / "hf").rglob("*.parquet"):
        for row in pq.read_table(path).to_pylist():
            np.testing.assert_array_equal(np.array(row["tokens"]), stored.pop(row["clip_id"]))
    assert not stored


@DISTINCT
def test_it_is_compressed_and_evaluated(imported, here):
    shard = next((imported.folder / "tokens" / "shards").iterdir())
    shutil.copy(shard, imported.path("a.parquet"))
    assert here("compress", imported.path("a.parquet"), imported.path("a.bmz")).code == 0
    assert here("decompress", imported.path("a.bmz"), imported.path("b.parquet")).code == 0
    assert (imported.folder / "b.parquet").read_bytes() == shard.read_bytes()
    photo = imported.path("media/photo.jpg")
    words = ("--size", str(SIZE_PX), "--out", imported.path("e"))
    done = here("evaluate", imported.path("t"), photo, *words, "--codecs", "none")
    assert done.code == 0, done.err
    assert f"note       {NOT_COMPARED}" in done.out
    report = json.loads((imported.folder / "e" / "report.json").read_text())
    assert report["origin"]["compared"] is False
    assert (report["rows"][0]["name"], report["config"]["architecture"]) == (
        "t",
        golden(imported.name).config.architecture,
    )


@pytest.mark.parametrize("imported", sorted(COMMANDED), indirect=True)
def test_what_it_cannot_do_is_refused(imported, tmp_path):
    document = json.loads((imported.folder / "job.yaml").read_text()) | {"output": str(tmp_path / "tokens")}
    sizes = "several sizes" if imported.name == "infinity" else "any size"
    for key, value, told in (
        ("storage", {"shard_version": 1}, "shard_version 1 is for BSQ-ViT alone"),
        ("compute", {"dtype": "int8"}, "dtype int8 is for BSQ-ViT alone; use float32 or bfloat16"),
        ("frames", {}, f"The tokenizer takes frames of {sizes}: set frames.size_px"),
    ):
        (tmp_path / "job.yaml").write_text(json.dumps(document | {key: value}))
        expect_one_sentence(bitmill("tokenize", str(tmp_path / "job.yaml")), told)
