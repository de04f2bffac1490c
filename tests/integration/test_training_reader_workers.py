"""Through DataLoader workers, any number of them, started in either way, stopped anywhere: one sequence."""

import random
from itertools import chain, islice

import pytest
from torch.utils.data import DataLoader

from bitmill.pipeline.reading import TokenDataset, TokenLoader
from bitmill.schemas.errors import UsageError
from tests.support.forked import context
from tests.support.readers import Ids, ids_of, odd_batches, write_odd_dataset

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")

_EPOCH = 16
_FORKED = {"num_workers": 2, "persistent_workers": True, "multiprocessing_context": "fork"}
_SPAWNED = {"num_workers": 1, "persistent_workers": True, "multiprocessing_context": "spawn"}
# As spawned ones, these get all by pickling, but import nothing anew.
_SERVED = {"num_workers": 2, "persistent_workers": True, "multiprocessing_context": "forkserver"}


@pytest.fixture(scope="module", autouse=True)
def _server() -> None:
    """The process that those are forked from."""
    context()


@pytest.fixture(scope="module")
def uri(tmp_path_factory) -> str:
    uri = str(tmp_path_factory.mktemp("odd") / "tokens")
    write_odd_dataset(uri)
    return uri


@pytest.fixture(scope="module")
def epochs(uri) -> list[Ids]:
    """Three epochs by plain iteration in one process."""
    batches = odd_batches(uri)
    epochs = [ids_of(batches) for _ in range(3)]
    assert [len(epoch) for epoch in epochs] == [_EPOCH] * 3
    assert epochs[0] != epochs[1] != epochs[2]
    return epochs


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"num_workers": 0},
        {"num_workers": 1},
        {"num_workers": 3},
        _FORKED,
        _SPAWNED,
    ],
)
def test_epochs_follow_each_other_as_by_plain_iteration(uri, epochs, options):
    loader = TokenLoader(odd_batches(uri), **options)
    assert len(loader) == _EPOCH
    assert [ids_of(loader) for _ in range(2)] == epochs[:2]
    loader.set_epoch(0)
    assert ids_of(loader) == epochs[0]
    loader.set_epoch(2)
    # Stopped in the middle, workers have made batches ahead that nobody got; none of them is lost.
    assert ids_of(islice(iter(loader), 5)) == epochs[2][:5]
    state = loader.state_dict()
    assert ids_of(loader) == epochs[2]
    loader.load_state_dict(state)
    assert ids_of(loader) == epochs[2][5:]
    assert loader.batches.epoch == 3


@pytest.mark.parametrize("options", [{}, _FORKED])
def test_who_counts_batches_need_not_ask_for_one_behind_the_last(uri, epochs, options):
    """As Lightning does: the iterator is dropped, not asked whether there is more."""
    loader = TokenLoader(odd_batches(uri), **options)
    seen = [ids_of(islice(iter(loader), len(loader))) for _ in range(3)]
    assert seen == epochs


def test_plain_loaders_hear_of_the_epoch_in_workers_that_live_on(uri, epochs):
    batches = odd_batches(uri)
    loader = DataLoader(batches, batch_size=None, **_FORKED)
    for epoch in (0, 1, 0, 2):
        batches.set_epoch(epoch)
        assert ids_of(loader) == epochs[epoch]


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"num_workers": 2}, _FORKED, _SERVED | {"num_workers": 1}])
def test_plain_loaders_that_were_not_told_the_epoch_are_refused(uri, epochs, options):
    """They would give the first epoch again and again."""
    batches = odd_batches(uri)
    loader = DataLoader(batches, batch_size=None, **options)
    untold = pytest.raises(UsageError, match=r"Use TokenLoader\(batches, num_workers=…\).*or call")
    with untold:
        next(iter(loader))
    batches.set_epoch(1)
    assert ids_of(loader) == epochs[1]
    with untold:
        next(iter(loader))
    # What this process iterates over by itself says nothing to workers.
    assert ids_of(batches) == epochs[1]
    with untold:
        next(iter(loader))
    batches.load_state_dict(batches.state_dict() | {"epoch": 2, "batch": 3})
    assert ids_of(loader) == epochs[2][3:]


@pytest.mark.slow
def test_stopped_anywhere_any_number_of_workers_and_ranks_goes_on(uri, epochs):
    """From one number of workers and ranks to another, again and again, through two epochs."""
    drawn = random.Random(7)
    expected = epochs[0] + epochs[1]
    for start_at in (0, 11):
        reached, state = start_at, odd_batches(uri).state_dict() | {"batch": start_at}
        while reached < len(expected):
            world_size, take = drawn.choice((1, 2, 3, 4)), drawn.randrange(1, 9)
            options = {"num_workers": drawn.randrange(4)}
            shares, states = _go_on(uri, state, world_size, take, options)
            assert len(set(map(str, states))) == 1
            together = [list(chain(*step)) for step in zip(*shares, strict=True)]
            assert together == expected[reached : reached + len(together)]
            reached, state = reached + len(together), states[0]


def _go_on(uri: str, state: dict[str, int], world_size: int, take: int, options: dict[str, int]):
    """At most ``take`` further batches of each rank, of one epoch, and the states behind them."""
    shares: list[Ids] = []
    states: list[dict[str, int]] = []
    for rank in range(world_size):
        loader = TokenLoader(odd_batches(uri, rank=rank, world_size=world_size), **options)
        loader.load_state_dict(state)
        shares.append(ids_of(islice(iter(loader), take)))
        states.append(loader.state_dict())
    return shares, states


@pytest.mark.slow
def test_workers_may_start_while_threads_of_this_process_read(uri, epochs):
    """A process that is forked inherits locks as they stand, but not the threads that would release them."""
    dataset = TokenDataset(uri, view="integers", columns=("clip_id",))
    training = iter(odd_batches(dataset))
    for _ in range(10):
        next(training)
        batches = odd_batches(dataset)
        batches.set_epoch(0)
        loader = DataLoader(
            batches, batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60
        )
        assert sorted(chain(*ids_of(loader))) == sorted(chain(*epochs[0]))
