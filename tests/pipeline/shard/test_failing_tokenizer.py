"""A tokenizer that fails on some frames: the error says on which, and nothing is published."""

import pytest

from bitmill.pipeline.shard.encoder import ReadyCodes
from bitmill.pipeline.shard.shard_loop import tokenize_shard
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.plan_schema import PlannedShard
from bitmill.schemas.errors import InfrastructureError
from tests.support.fakes import HashEncoder, make_context, make_item, make_source


class Fails(HashEncoder):
    """Raises when it is given clips, or when their codes are fetched."""

    def __init__(self, error: Exception, *, when: str) -> None:
        super().__init__()
        self._error, self._when = error, when

    def begin(self, clips):
        if self._when == "begin":
            raise self._error
        return _Fails(self._error)


class _Fails(ReadyCodes):
    def __init__(self, error: Exception) -> None:
        self._error = error

    def wait(self):
        raise self._error


@pytest.mark.parametrize("when", ["begin", "wait"])
def test_an_unknown_error_names_the_frames_and_their_item(tmp_path, when):
    source = make_source(0)
    shard = PlannedShard(shard_id="s" * 32, shard_index=0, first_source_index=0, sources=(source,))

    def raised(error: Exception) -> BaseException:
        encoder, output = Fails(error, when=when), Folder(str(tmp_path))
        run = tokenize_shard(shard, [make_item(0, [4])], encoder, make_context(), output)
        with pytest.raises((InfrastructureError, RuntimeError)) as caught:
            list(run)
        return caught.value

    told = raised(ValueError("no such size"))
    height, width = next(iter(make_item(0, [4]))).frames_THWC.shape[1:3]
    what = f"clips of {height}×{width} pixels, the first of 1 of {source.uri}"
    assert str(told) == f"ValueError while encoding {what}: no such size"
    assert isinstance(told.__cause__, ValueError)
    assert str(raised(InfrastructureError("memory"))) == "memory"
    assert not [*tmp_path.rglob("*.parquet")]
