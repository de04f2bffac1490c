"""torchdata's StatefulDataLoader stops in the middle of an epoch, and goes on in another process."""

import json
import pickle
from itertools import islice

import pytest
from torchdata.stateful_dataloader import StatefulDataLoader

from bitmill.schemas.errors import UsageError
from tests.support.commands import WITH_TESTS, ended, script
from tests.support.readers import ids_of, odd_batches, write_odd_dataset

# torchdata meets warnings of torch.
pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")

_TAKEN = 7

_GOING_ON = """
import json, pickle, sys
from torchdata.stateful_dataloader import StatefulDataLoader
from tests.support.readers import ids_of, odd_batches

uri, place = sys.argv[1:]
with open(place, "rb") as file:
    states = pickle.load(file)
told = {}
for num_workers, state in states.items():
    batches = odd_batches(uri)
    loader = StatefulDataLoader(batches, batch_size=None, num_workers=num_workers)
    loader.load_state_dict(state)
    rest = ids_of(loader)
    batches.set_epoch(2)
    told[num_workers] = [rest, ids_of(loader)]
print(json.dumps(told))
"""


@pytest.mark.slow
def test_a_fresh_process_goes_on_with_the_next_batch(tmp_path):
    uri, place = str(tmp_path / "tokens"), tmp_path / "states"
    write_odd_dataset(uri)
    expected = odd_batches(uri)
    expected.set_epoch(1)
    epochs = [ids_of(expected) for _ in range(2)]
    states = {}
    for num_workers in (0, 1, 2):
        batches = odd_batches(uri)
        batches.set_epoch(1)
        loader = StatefulDataLoader(batches, batch_size=None, num_workers=num_workers)
        assert ids_of(islice(iter(loader), _TAKEN)) == epochs[0][:_TAKEN]
        states[num_workers] = loader.state_dict()
    place.write_bytes(pickle.dumps(states))
    (tmp_path / "going_on.py").write_text(_GOING_ON)
    done = ended(script(tmp_path / "going_on.py", uri, str(place), extra=WITH_TESTS))
    assert done.code == 0, done.err
    for rest, following in json.loads(done.out).values():
        assert rest == epochs[0][_TAKEN:]
        assert following == epochs[1]


@pytest.mark.slow
def test_any_step_is_one_to_stop_at(tmp_path):
    write_odd_dataset(str(tmp_path))
    expected = ids_of(odd_batches(tmp_path))
    for taken in range(len(expected) + 1):
        loader = StatefulDataLoader(odd_batches(tmp_path), batch_size=None)
        assert ids_of(islice(iter(loader), taken)) == expected[:taken]
        other = StatefulDataLoader(odd_batches(tmp_path), batch_size=None)
        other.load_state_dict(loader.state_dict())
        assert ids_of(other) == expected[taken:]


def test_a_workers_state_is_of_no_use_to_another_number_of_workers(tmp_path):
    write_odd_dataset(str(tmp_path))
    batches = odd_batches(tmp_path)
    batches.load_state_dict(batches.state_dict() | {"batch": 4, "worker": 0, "num_workers": 2})
    with pytest.raises(UsageError, match=r"to worker 0 of 2, not .* save TokenLoader's state"):
        next(iter(batches))
