"""What a job of another dataset is told."""

import pytest

from bitmill.jobs.preparation.prepare import prepare
from bitmill.schemas.errors import OutputConflictError
from tests.support.fakes import make_job


def test_the_tokenizer_that_was_called_small_is_named(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")

    def job(name: str):
        source = {"paths": [str(tmp_path / "a.mp4")]}
        return make_job(source=source, output=str(tmp_path / "out"), tokenizer={"bundled": name})

    prepare(job("small-1"), cluster_has_gpus=lambda: False)
    with pytest.raises(OutputConflictError, match=r"called small before bitmill 0\.2, is small-1 now"):
        prepare(job("small"), cluster_has_gpus=lambda: False)
