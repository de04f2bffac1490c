"""Lightning trains on a TokenLoader, stops anywhere, and takes up at the very next batch."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.readers import Ids, ids_of, odd_batches, write_odd_dataset

# Lightning gives advice as warnings, and meets those of torch.
pytestmark = pytest.mark.filterwarnings("ignore")

_EPOCH = 16


@pytest.fixture(scope="module")
def uri(tmp_path_factory) -> str:
    uri = str(tmp_path_factory.mktemp("odd") / "tokens")
    write_odd_dataset(uri)
    return uri


@pytest.fixture(scope="module")
def train() -> Callable[..., Any]:
    """Trains, and gives the module that it trained."""
    from tests.support.lightning_training import train

    return train


@pytest.fixture(scope="module")
def sequence(uri) -> Ids:
    """Three epochs by plain iteration."""
    batches = odd_batches(uri)
    return [batch for _ in range(3) for batch in ids_of(batches)]


@pytest.mark.slow
@pytest.mark.parametrize(("stop_at", "num_workers"), [(1, 0), (7, 2), (15, 0), (16, 0), (17, 0), (32, 0)])
def test_stopped_by_steps_it_takes_up_at_the_very_next_batch(
    train, tmp_path, uri, sequence, stop_at, num_workers
):
    first = train(tmp_path, uri, max_steps=stop_at, num_workers=num_workers)
    assert first.trained == sequence[:stop_at]
    second = train(tmp_path, uri, resume=tmp_path / "last.ckpt", max_steps=3 * _EPOCH)
    assert second.trained == sequence[stop_at:]


@pytest.mark.slow
def test_killed_it_takes_up_at_any_checkpoint(train, tmp_path, uri, sequence):
    # Within epochs, and at their last batches.
    for save_every, steps in ((5, (5, 15, 20, 30)), (_EPOCH, (16, 32))):
        train(tmp_path, uri, max_epochs=2, save_every=save_every)
        for step in steps:
            resumed = train(tmp_path, uri, resume=tmp_path / f"step={step}.ckpt", max_epochs=3)
            assert resumed.trained == sequence[step:]


def test_stopped_between_epochs_it_takes_up_with_the_next(train, tmp_path, uri, sequence):
    first = train(tmp_path, uri, max_epochs=1)
    assert first.trained == sequence[:_EPOCH]
    second = train(tmp_path, uri, resume=tmp_path / "last.ckpt", max_epochs=3)
    assert second.trained == sequence[_EPOCH:]


def test_each_validation_sees_all_from_the_first_batch(train, tmp_path, uri):
    every = ids_of(odd_batches(uri, shuffle=False, remainder="keep"))
    module = train(tmp_path, uri, max_epochs=2)
    assert module.validated == [*every[:2], *every, *every]
