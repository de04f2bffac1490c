"""``bitmill evaluate`` as a user runs it: every source is in the numbers or told with its reason."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bitmill.schemas.reports.evaluation_report import EvaluationReport
from tests.bsq_model.published.golden import golden
from tests.bsq_model.published.publishing import publish
from tests.support.commands import bitmill
from tests.support.media import real_pictures, write_video


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("held-out")
    for number, picture in enumerate(real_pictures(2, 160, 140)):
        Image.fromarray(picture).save(folder / f"[{number}] picture.png")
    write_video(folder / "clip.mp4", real_pictures(6, 160, 140))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return folder


@pytest.mark.slow
def test_a_tokenizer_is_measured_and_nothing_is_passed_over(media, tmp_path):
    out = tmp_path / "report"
    nowhere = {"BITMILL_NETWORKS": str(tmp_path / "none")}
    done = bitmill("evaluate", "tiny", str(media), "--out", str(out), "--clip-frames", "4", extra=nowhere)
    assert done.code == 3, done.err
    report = EvaluationReport.model_validate_json((out / "report.json").read_text(encoding="utf-8"))
    assert (report.sources, report.ok, report.clips, report.frames) == (4, 3, 4, 8)
    assert [(Path(failed.uri).name, failed.reason) for failed in report.failures] == [
        ("broken.jpg", "corrupt")
    ]
    assert "broken.jpg" in done.out
    names = [row.name for row in report.rows]
    assert names == ["tiny", "tiny, pictures", "JPEG", "WebP", "JPEG2000"]
    assert [row.clips for row in report.rows] == [4, 2, 2, 2, 2]
    assert "codecs on 2 clips of several frames: they encode single pictures" in report.left_out
    ours = report.rows[0]
    assert ours.bits_per_pixel == pytest.approx(18 / 64)
    assert 0 < ours.psnr_db < 40
    assert all(row.bits_per_pixel <= 18 / 64 for row in report.rows)
    assert (ours.lpips, ours.fvd) == (None, None)
    assert any("bitmill weights fetch lpips-alexnet" in sentence for sentence in report.left_out)
    assert report.code.tokens == 8 * 256
    sheet = np.asarray(Image.open(out / "pictures.png"))
    assert sheet.shape[0] > 3 * 128
    # The first pane of the first row is the original, whatever the file is called.
    assert json.loads((out / "report.json").read_text(encoding="utf-8"))["definitions"]["psnr_db"]


@pytest.mark.slow
def test_another_size_must_be_asked_for(media, tmp_path):
    refused = bitmill("evaluate", "tiny", str(media), "--out", str(tmp_path / "x"), "--size", "96")
    assert refused.code == 2
    assert "--interpolate-positions" in refused.err
    assert not (tmp_path / "x").exists()
    pictures = f"{media}/*.png"
    asked = bitmill(
        *("evaluate", "tiny", pictures, "--out", str(tmp_path / "y"), "--size", "96", "--codecs", "none"),
        "--interpolate-positions",
    )
    # A name with brackets is matched by the glob's star and read as it is.
    assert asked.code == 0, asked.err
    report = EvaluationReport.model_validate_json((tmp_path / "y" / "report.json").read_text())
    assert report.config.image_size_px == 96
    assert [row.name for row in report.rows] == ["tiny"]
    done = bitmill(
        *("evaluate", "tiny", pictures, "--out", str(tmp_path / "z"), "--size", "64x96", "--codecs", "none"),
        "--interpolate-positions",
    )
    assert done.code == 0, done.err
    oblong = EvaluationReport.model_validate_json((tmp_path / "z" / "report.json").read_text())
    assert oblong.code.tokens == report.code.tokens * 2 // 3
    assert oblong.rows[0].bits_per_pixel == report.rows[0].bits_per_pixel
    for size, said in (("64x", "is no size"), ("60x96", "takes frames of multiples of 8×8 pixels")):
        wrong = bitmill("evaluate", "tiny", pictures, "--size", size, "--interpolate-positions")
        assert wrong.code == 2
        assert said in " ".join(wrong.err.split())


@pytest.mark.slow
def test_tokenizers_of_several_families_are_measured_on_the_same_media(media, tmp_path):
    *files, option, config = publish("open-magvit2", tmp_path / "files")
    done = bitmill("weights", "import", *files, str(tmp_path / "magvit"), option, config)
    assert done.code == 0, done.err
    magvit, out = str(tmp_path / "magvit"), tmp_path / "out"
    words = ("--out", str(out), "--size", "61", "--clip-frames", "4", "--pictures", "1")
    nowhere = {"BITMILL_NETWORKS": str(tmp_path / "none")}
    done = bitmill(
        *("evaluate", "tiny", str(media), "--tokenizer", magvit, "--tokenizer", f"{magvit}/", *words),
        extra=nowhere,
    )
    assert done.code == 3, done.err
    reports = {
        name: EvaluationReport.model_validate_json((out / name / "report.json").read_text())
        for name in ("tiny", "magvit", "magvit-2")
    }
    # Of its own size, and of the nearest below that the other takes; one of clips, one of images.
    for name, clips, num_tokens in (("tiny", 4, 8 * 16**2), ("magvit", 8, 8 * 30**2)):
        assert (reports[name].clips, reports[name].code.tokens) == (clips, num_tokens)
        assert [row.name for row in reports[name].rows] == [name]
        assert name in done.out
    assert reports["magvit"].tokenizer_fingerprint == golden("open-magvit2").fingerprint
    assert reports["magvit-2"].rows[0].psnr_db == reports["magvit"].rows[0].psnr_db
    assert "4×128×128" in done.out
    assert "1×60×60" in done.out
    sheet = np.asarray(Image.open(out / "pictures.png"))
    # A label above each row, a gap below.
    row_px = 16 + 128 + 4
    assert sheet.shape[0] == 3 * row_px
    # Of one picture, a row for each tokenizer: both of the same weights show the same.
    assert np.array_equal(sheet[row_px + 20 : 2 * row_px], sheet[2 * row_px + 20 : 3 * row_px])
    refused = bitmill("evaluate", "tiny", str(media), "--tokenizer", magvit, *words, "--codecs", "all")
    assert (refused.code, "--codecs is for one tokenizer" in refused.err) == (2, True)


@pytest.mark.slow
def test_the_codecs_size_is_told_of_whole_files(media, tmp_path):
    out = tmp_path / "report"
    done = bitmill(
        *(
            "evaluate",
            "tiny",
            f"{media}/*.png",
            "--out",
            str(out),
            "--codecs",
            "bitmill",
            "--prior",
            "none",
        )
    )
    assert done.code == 0, done.err
    report = EvaluationReport.model_validate_json((out / "report.json").read_text())
    own, compressed = report.rows
    assert (compressed.name, compressed.note) == ("compressed, no prior", "whole files")
    assert compressed.psnr_db == own.psnr_db
    (tmp_path / "streams").mkdir()
    size = 0
    for number, path in enumerate(sorted(media.glob("*.png"))):
        stream = tmp_path / "streams" / f"{number}.bmz"
        made = bitmill("compress", str(path), str(stream), "--tokenizer", "tiny", "--prior", "none")
        assert made.code == 0, made.err
        size += stream.stat().st_size
    assert compressed.bits_per_pixel == pytest.approx(size * 8 / (2 * 128**2))


def test_options_of_codecs_that_do_nothing_are_refused(media, tmp_path):
    refused = bitmill("evaluate", "tiny", str(media), "--prior", "none")
    assert (refused.code, "--prior is of bitmill's codec" in " ".join(refused.err.split())) == (2, True)
    for former in ("--codec", "--no-codecs"):
        refused = bitmill("evaluate", "tiny", str(media), former)
        assert (refused.code, "--codecs" in refused.err.replace(former, "", 1)) == (2, True)
