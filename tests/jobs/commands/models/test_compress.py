"""The commands as a user runs them, on real pictures and shards."""

import importlib

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import typer
from PIL import Image

from bitmill.bsq_model import save_tokenizer
from bitmill.bsq_model.presets import untrained_tokenizer
from bitmill.bsq_model.resolution import interpolating
from bitmill.bsq_model.token_models.token_model_files import make_token_model, save_token_model
from bitmill.jobs.commands.models.compress import compress
from bitmill.jobs.commands.models.decompress import decompress
from bitmill.jobs.preparation.models.find_tokenizers import load_tokenizer_spec
from bitmill.jobs.progress.units import bytes_text
from bitmill.schemas.dataset.card import shard_file
from bitmill.schemas.errors import FormatError, TokenizerMismatchError, UsageError
from bitmill.schemas.models.token_model_config import PriorConfig
from bitmill.schemas.requests.job import TokenizerSpec
from tests.bsq_model.small import SMALL, random_tokenizer
from tests.support.commands import bitmill
from tests.support.counting_tokenizers import OBLONG, CountingTokenizer
from tests.support.datasets import make_dataset
from tests.support.media import real_pictures, write_video

pytestmark = pytest.mark.usefixtures("forked_children")


@pytest.fixture
def tokenizer(tmp_path):
    made = random_tokenizer()
    save_tokenizer(made, tmp_path / "tokenizer")
    return made, str(tmp_path / "tokenizer")


def _decompress(*arguments, **options) -> int:
    with pytest.raises(typer.Exit) as ended:
        decompress(*arguments, **options)
    return ended.value.exit_code


@pytest.mark.slow
def test_an_image_goes_there_and_back_from_the_command_line(tmp_path):
    Image.fromarray(real_pictures(1, 300, 200)[0]).save(tmp_path / "a.png")
    done = bitmill("compress", str(tmp_path / "a.png"), str(tmp_path / "a.bmz"))
    assert done.code == 0, done.err
    assert "an image" in done.out
    done = bitmill("decompress", str(tmp_path / "a.bmz"), str(tmp_path / "b.png"))
    assert (done.code, done.out.splitlines()[-1]) == (0, f"wrote {tmp_path / 'b.png'}: 1 of 1 frame")
    assert Image.open(tmp_path / "b.png").size == (128, 128)
    (tmp_path / "a.bmz").write_bytes((tmp_path / "a.bmz").read_bytes()[:-9])
    done = bitmill("decompress", str(tmp_path / "a.bmz"), str(tmp_path / "c.png"))
    assert done.code == 2
    assert "truncated" in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "c.png").exists()


@pytest.mark.slow
def test_a_bundled_prior_that_does_not_fit_is_left_out_unless_it_is_named(tmp_path, capsys):
    # In frames seconds apart there is less of each other than the prior is sure of.
    write_video(tmp_path / "a.mp4", real_pictures(61, 128, 128)[::60], codec="libx264")
    streams = {name: tmp_path / f"{name}.bmz" for name in ("named", "none", "auto")}
    compress(str(tmp_path / "a.mp4"), streams["named"], prior="small-1")
    compress(str(tmp_path / "a.mp4"), streams["none"], prior="none")
    capsys.readouterr()
    compress(str(tmp_path / "a.mp4"), streams["auto"])
    said = " ".join(capsys.readouterr().out.split())
    longer = streams["named"].stat().st_size
    assert longer > streams["none"].stat().st_size
    assert streams["auto"].read_bytes() == streams["none"].read_bytes()
    assert f"without a prior (with the bundled one it would be {bytes_text(longer)})" in said


def test_a_video_comes_back_as_its_tokenizer_shows_it(tmp_path, tokenizer):
    made, folder = tokenizer
    write_video(tmp_path / "a.mp4", real_pictures(12, 48, 32), codec="libx264")
    compress(str(tmp_path / "a.mp4"), tmp_path / "a.bmz", tokenizer=folder, lanes=2)
    assert _decompress(tmp_path / "a.bmz", tmp_path / "b.mkv", tokenizer=folder) == 0
    assert _decompress(tmp_path / "a.bmz", tmp_path / "b.mp4", tokenizer=folder) == 0
    with av.open(str(tmp_path / "b.mkv")) as video:
        lossless = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    with av.open(str(tmp_path / "b.mp4")) as video:
        assert len(list(video.decode(video=0))) == len(lossless) == 12
    from bitmill.pipeline.compressing.media_streams import restore_pictures
    from bitmill.schemas.stream.compressed import CompressedStream

    stream = CompressedStream((tmp_path / "a.bmz").read_bytes(), origin="a")
    clips = restore_pictures(stream, made, None, origin="a")
    assert np.array_equal(np.concatenate([clip.frames_THWC for clip in clips]), np.stack(lossless))


def test_another_size_is_restored_at_that_size(tmp_path, tokenizer):
    _, folder = tokenizer
    Image.fromarray(real_pictures(1, 80, 60)[0]).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="add --interpolate-positions"):
        compress(str(tmp_path / "a.png"), tmp_path / "a.bmz", tokenizer=folder, size="40")
    compress(
        str(tmp_path / "a.png"), tmp_path / "a.bmz", tokenizer=folder, size="40", interpolate_positions=True
    )
    assert _decompress(tmp_path / "a.bmz", tmp_path / "b.png", tokenizer=folder) == 0
    assert Image.open(tmp_path / "b.png").size == (40, 40)


def test_a_frame_that_is_no_square_is_restored_as_tokenize_crops_it(tmp_path, tokenizer):
    _, folder = tokenizer
    source = str(tmp_path / "a.png")
    Image.fromarray(real_pictures(1, 96, 60)[0]).save(source)
    with pytest.raises(UsageError, match=r"--size 40x64 is not a multiple .* add --interpolate-positions"):
        compress(source, tmp_path / "a.bmz", tokenizer=folder, size="40x64")
    compress(source, tmp_path / "a.bmz", tokenizer=folder, size="40x64", interpolate_positions=True)
    assert _decompress(tmp_path / "a.bmz", tmp_path / "b.png", tokenizer=folder) == 0
    assert Image.open(tmp_path / "b.png").size == (64, 40)
    for size, said in (("40x65", "takes frames of multiples of 8×8 pixels"), ("40×64", "is no size")):
        with pytest.raises(UsageError, match=said):
            compress(source, tmp_path / "c.bmz", tokenizer=folder, size=size, interpolate_positions=True)
    assert not (tmp_path / "c.bmz").exists()


@pytest.mark.slow
def test_an_interpolating_tokenizer_codes_frames_of_each_size_whole(tmp_path, tokenizer):
    made, fixed = tokenizer
    folder = str(tmp_path / "interpolating")
    save_tokenizer(interpolating(made), folder)
    Image.fromarray(real_pictures(1, 80, 60)[0]).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="takes frames of any size: set --size, a multiple of 8 pixels"):
        compress(str(tmp_path / "a.png"), tmp_path / "a.bmz", tokenizer=folder)
    compress(str(tmp_path / "a.png"), tmp_path / "a.bmz", tokenizer=folder, size="48")
    assert _decompress(tmp_path / "a.bmz", tmp_path / "a2.png", tokenizer=folder) == 0
    compress(
        str(tmp_path / "a.png"), tmp_path / "b.bmz", tokenizer=fixed, size="48", interpolate_positions=True
    )
    assert _decompress(tmp_path / "b.bmz", tmp_path / "b2.png", tokenizer=fixed) == 0
    assert (tmp_path / "a2.png").read_bytes() == (tmp_path / "b2.png").read_bytes()


def test_a_larger_frame_is_coded_in_tiles_each_as_if_alone(tmp_path, tokenizer):
    made, folder = tokenizer
    picture = real_pictures(1, 72, 72)[0]
    Image.fromarray(picture).save(tmp_path / "a.png")
    compress(str(tmp_path / "a.png"), tmp_path / "a.bmz", tokenizer=folder, size="72", lanes=4)
    assert _decompress(tmp_path / "a.bmz", tmp_path / "b.png", tokenizer=folder) == 0
    whole = np.asarray(Image.open(tmp_path / "b.png"))
    tile = torch.from_numpy(picture[24:48, 48:].copy())[None]
    alone = made.decode(made.encode([tile]))[0][0].numpy()
    assert np.array_equal(whole[24:48, 48:], alone)


def test_another_tokenizer_is_refused(tmp_path, tokenizer):
    _, folder = tokenizer
    Image.fromarray(real_pictures(1, 80, 60)[0]).save(tmp_path / "a.png")
    compress(str(tmp_path / "a.png"), tmp_path / "a.bmz", tokenizer=folder)
    save_tokenizer(untrained_tokenizer(SMALL, seed=7), tmp_path / "other")
    with pytest.raises(TokenizerMismatchError, match="was made with tokenizer"):
        decompress(tmp_path / "a.bmz", tmp_path / "b.png", tokenizer=str(tmp_path / "other"))
    assert not (tmp_path / "b.png").exists()


def test_a_damaged_video_is_salvaged_up_to_the_damage(tmp_path, tokenizer, capsys):
    _, folder = tokenizer
    write_video(tmp_path / "a.mp4", real_pictures(12, 48, 32), codec="libx264")
    compress(str(tmp_path / "a.mp4"), tmp_path / "a.bmz", tokenizer=folder)
    data = bytearray((tmp_path / "a.bmz").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "a.bmz").write_bytes(data)
    with pytest.raises(FormatError, match="is damaged: clip 2 of 3"):
        decompress(tmp_path / "a.bmz", tmp_path / "b.mkv", tokenizer=folder)
    capsys.readouterr()
    assert _decompress(tmp_path / "a.bmz", tmp_path / "b.mkv", tokenizer=folder, salvage=True) == 3
    told = capsys.readouterr().out
    assert "lost       frames " in told
    assert "to 10" in told


def test_a_lost_tile_is_grey_and_told_and_the_others_are_there(tmp_path, tokenizer, capsys):
    _, folder = tokenizer
    Image.fromarray(real_pictures(1, 72, 72)[0]).save(tmp_path / "a.png")
    compress(str(tmp_path / "a.png"), tmp_path / "a.bmz", tokenizer=folder, size="72")
    assert _decompress(tmp_path / "a.bmz", tmp_path / "whole.png", tokenizer=folder) == 0
    data = (tmp_path / "a.bmz").read_bytes()
    (tmp_path / "a.bmz").write_bytes(data[: 2 * len(data) // 3])
    capsys.readouterr()
    assert _decompress(tmp_path / "a.bmz", tmp_path / "b.png", tokenizer=folder, salvage=True) == 3
    whole, left = (np.asarray(Image.open(tmp_path / name)) for name in ("whole.png", "b.png"))
    told = capsys.readouterr().out
    grey = 0
    for row in range(3):
        for column in range(3):
            here = slice(24 * row, 24 * row + 24), slice(24 * column, 24 * column + 24)
            is_told = f"the tile of row {row + 1}, column {column + 1}: grey" in told
            assert np.array_equal(left[here], whole[here]) != is_told
            assert bool((left[here] == 128).all()) == is_told
            grey += is_told
    assert 0 < grey < 9
    assert f"wrote {tmp_path / 'b.png'}: 1 of 1 frame\n" in told


def test_a_shard_goes_there_and_back(tmp_path):
    shards = make_dataset(str(tmp_path / "tokens"), [[16, 3], [5]])
    path = tmp_path / "tokens" / shard_file(shards[0].shard_id)
    compress(str(path), tmp_path / "a.bmz")
    assert _decompress(tmp_path / "a.bmz", tmp_path / "b.parquet") == 0
    assert pq.read_table(tmp_path / "b.parquet").equals(pq.read_table(path), check_metadata=True)


@pytest.mark.parametrize(
    ("source", "out", "sentence"),
    [
        ("no.png", "a.bmz", "no.png"),
        ("no.parquet", "a.bmz", "There is no"),
        ("no.png", "a.jpg", r"must end in \.bmz"),
    ],
)
def test_wrong_names_are_refused(tmp_path, source, out, sentence):
    with pytest.raises(UsageError, match=sentence):
        compress(str(tmp_path / source), tmp_path / out)


@pytest.mark.slow
def test_a_prior_is_named_by_its_folder_on_both_sides(tmp_path, tokenizer):
    made, folder = tokenizer
    config = PriorConfig(
        kind="prior", tokenizer_fingerprint=made.fingerprint, bits_per_token=18, width=32, layers=1
    )
    prior = str(tmp_path / "prior")
    save_token_model(make_token_model(config, seed=0), tmp_path / "prior")
    Image.fromarray(real_pictures(1, 80, 60)[0]).save(tmp_path / "a.png")
    compress(str(tmp_path / "a.png"), tmp_path / "a.bmz", tokenizer=folder, prior=prior)
    compress(str(tmp_path / "a.png"), tmp_path / "plain.bmz", tokenizer=folder, prior="none")
    with pytest.raises(UsageError, match="pass it with --prior"):
        decompress(tmp_path / "a.bmz", tmp_path / "b.png", tokenizer=folder)
    with pytest.raises(UsageError, match="There is no prior at"):
        decompress(tmp_path / "a.bmz", tmp_path / "b.png", tokenizer=folder, prior=str(tmp_path / "no"))
    assert _decompress(tmp_path / "a.bmz", tmp_path / "b.png", tokenizer=folder, prior=prior) == 0
    assert _decompress(tmp_path / "plain.bmz", tmp_path / "c.png", tokenizer=folder) == 0
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "c.png").read_bytes()


@pytest.fixture
def plugin(tmp_path, monkeypatch) -> str:
    """An installed package that offers a tokenizer of digits, with four frames per token."""
    about = tmp_path / "site" / "counting-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[bitmill.tokenizers]\ncounting = tests.support.counting_tokenizers:video\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    return "counting"


def test_a_video_goes_through_a_plugin_and_comes_back_with_its_own_frames(tmp_path, plugin):
    write_video(tmp_path / "a.mp4", real_pictures(12, 48, 32), codec="libx264")
    compress(str(tmp_path / "a.mp4"), tmp_path / "a.bmz", tokenizer=plugin)
    assert _decompress(tmp_path / "a.bmz", tmp_path / "b.mkv", tokenizer=plugin) == 0
    with av.open(str(tmp_path / "b.mkv")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert (len(frames), frames[0].shape) == (12, (32, 32, 3))
    with pytest.raises(UsageError, match="takes frames of 32 pixels alone, not of 40"):
        compress(
            str(tmp_path / "a.mp4"),
            tmp_path / "b.bmz",
            tokenizer=plugin,
            size="40",
            interpolate_positions=True,
        )
    # A dataset's folder names the plugin, which is missing elsewhere.
    files = load_tokenizer_spec(TokenizerSpec(plugin=plugin)).files
    (tmp_path / "tokenizer").mkdir()
    for name, data in files.items():
        (tmp_path / "tokenizer" / name).write_bytes(data)
    folder = str(tmp_path / "tokenizer")
    assert _decompress(tmp_path / "a.bmz", tmp_path / "c.mkv", tokenizer=folder) == 0
    (tmp_path / "site" / "counting-1.0.dist-info" / "entry_points.txt").unlink()
    importlib.invalidate_caches()
    with pytest.raises(UsageError, match=r"plugin 'counting' is not installed here: install counting 1\.0"):
        decompress(tmp_path / "a.bmz", tmp_path / "d.mkv", tokenizer=folder)
    with pytest.raises(UsageError, match=r"There is no tokenizer at .*counting.*a plugin that is installed"):
        decompress(tmp_path / "a.bmz", tmp_path / "d.mkv", tokenizer=plugin)


def test_a_tokenizer_of_many_sizes_asks_for_one(tmp_path, plugin, monkeypatch):
    made = CountingTokenizer(OBLONG)
    monkeypatch.setattr("tests.support.counting_tokenizers.video", lambda: made)
    Image.fromarray(real_pictures(1, 80, 60)[0]).save(tmp_path / "a.png")
    for size, said in ((None, "set --size, a multiple of 16"), ("24", "--size 24 is not divisible by 16")):
        with pytest.raises(UsageError, match=said):
            compress(str(tmp_path / "a.png"), tmp_path / "a.bmz", tokenizer=plugin, size=size)
    compress(str(tmp_path / "a.png"), tmp_path / "a.bmz", tokenizer=plugin, size="48")
    assert _decompress(tmp_path / "a.bmz", tmp_path / "b.png", tokenizer=plugin) == 0
    assert Image.open(tmp_path / "b.png").size == (48, 48)
    compress(str(tmp_path / "a.png"), tmp_path / "a.bmz", tokenizer=plugin, size="48x64")
    assert _decompress(tmp_path / "a.bmz", tmp_path / "b.png", tokenizer=plugin) == 0
    assert Image.open(tmp_path / "b.png").size == (64, 48)
