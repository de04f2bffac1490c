"""What lies under a media's name and is no file: told as such, and never waited for."""

import os
import socket
from pathlib import Path

import pytest

from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.isolation.source_events import DecodeSettings, source_events
from bitmill.pipeline.items import ItemEnd
from bitmill.pipeline.sources.listing import find_sources
from bitmill.pipeline.training.data.make_sample import ClipMaker, ClipSettings, FailedTask, SampleTask
from bitmill.pipeline.training.data.sample_schedule import Draw
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.job import SourceSpec
from bitmill.schemas.requests.training_data import DataSpec
from tests.pipeline.decode.conftest import decode
from tests.support.fakes import make_job

SETTINGS = DecodeSettings.of(make_job(), squares(64), pixel_rule=2)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def closed_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize("name", ["x.mp4", "x.jpg", "x.tar"])
@pytest.mark.parametrize("make", [pipe, device, closed_socket])
def test_what_is_no_file_is_no_media(tmp_path, make, name) -> None:
    make(tmp_path / name)
    for path in (tmp_path, tmp_path / name):
        (source,) = find_sources(SourceSpec(paths=[str(path)])).sources
        *_, end = source_events(source, SETTINGS)
        assert isinstance(end, ItemEnd)
        assert (end.reason, end.facts.media) == (Reason.NOT_MEDIA, None)
        assert end.detail == "It is a pipe, socket or device, not a regular file."
    assert decode(tmp_path / name).end.reason is Reason.NOT_MEDIA


def test_a_folder_is_no_media(tmp_path) -> None:
    assert decode(tmp_path).end.reason is Reason.NOT_MEDIA


def test_training_does_not_wait_for_a_pipe(tmp_path) -> None:
    pipe(tmp_path / "x.mp4")
    (source,) = find_sources(SourceSpec(paths=[str(tmp_path)])).sources
    settings = ClipSettings(spec=DataSpec(), sizes=((64, 64),), num_frames=1, least_frames=1)
    draw = Draw(source_index=0, time=0.0, top=0.0, left=0.0, scale=0.5, flip=False)
    failed = ClipMaker(settings).make(SampleTask(source=source, draw=draw, num_frames=1, size_px=(64, 64)))
    assert isinstance(failed, FailedTask)
    assert failed.reason is Reason.NOT_MEDIA
