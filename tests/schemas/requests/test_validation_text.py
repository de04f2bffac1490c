"""Mistakes in files are told in the words of files, not of Python."""

import pytest

from bitmill.schemas.errors import UsageError
from bitmill.schemas.requests.job import make_job

JOB = {"version": 1, "source": {"paths": ["/a"]}, "output": "/b", "tokenizer": {"bundled": "small"}}


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"sampling": {"fps": "fast"}}, "sampling.fps must be a number."),
        ({"sampling": {"min_frames": 1.5}}, "sampling.min_frames must be a whole number."),
        ({"compute": {"threads": 0}}, "compute.threads must be at least 1."),
        ({"compute": {"gpus_per_actor": 2}}, "compute.gpus_per_actor must be at most 1.0."),
        ({"frames": {"interpolate_positions": 7}}, "frames.interpolate_positions must be true or false."),
        ({"output": ["/b"]}, "output must be text."),
        ({"storage": "zstd"}, "storage must be keys with values."),
        ({"sampling": {"fpss": 8}}, "unknown key 'sampling.fpss' (did you mean 'sampling.fps'?)."),
        ({"fps": 8}, "unknown key 'fps' (did you mean 'sampling.fps'?)."),
        ({"decoder": "pyav"}, "unknown key 'decoder' (did you mean 'compute.decoder'?)."),
        ({"colour": 8}, "unknown key 'colour'."),
    ],
)
def test_each_is_told_plainly(section, told):
    with pytest.raises(UsageError) as caught:
        make_job({**JOB, **section}, origin="job.yaml")
    assert str(caught.value) == f"job.yaml: {told}"
