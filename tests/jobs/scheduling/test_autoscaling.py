"""How many actors a cluster gets: decoding keeps its CPUs, GPUs are filled, limits hold."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bitmill.jobs.scheduling.autoscaling import (
    LEAST_VALUES,
    Capacity,
    actor_cpus,
    actors_too_many,
    actors_wanted,
    decode_window_size,
)
from bitmill.schemas.requests.job import ComputeSpec

counts = st.integers(0, 200)


@given(counts, st.none() | st.integers(1, 300), st.integers(1, 500))
def test_on_cpus_decoding_has_one_and_there_are_no_more_actors_than_shards(cpus, fixed, shards):
    capacity = Capacity(cpus=cpus, gpus=0)
    wanted = actors_wanted(ComputeSpec(actors=fixed), "cpu", capacity, shards)
    assert 1 <= wanted <= min(fixed or shards, shards)
    held = [actor_cpus("cpu", capacity)] * wanted
    if cpus:
        assert sum(held) < cpus
        assert actors_too_many(held, capacity) == 0
    assert decode_window_size(ComputeSpec(), held, capacity, clip_bytes=1).items >= 2
    assert decode_window_size(ComputeSpec(decoders=7), held, capacity, clip_bytes=1 << 40).items == 7


@pytest.mark.parametrize(
    ("share", "gpus", "fixed", "wanted"),
    [(1.0, 4, None, 4), (0.5, 4, None, 8), (0.4, 4, None, 8), (0.1, 1, None, 10), (1.0, 0, None, 1),
     (1.0, 2, 6, 6), (1.0, 4, 2, 2)],
)  # fmt: skip
def test_gpus_are_filled_and_a_fixed_number_waits_for_nodes(share, gpus, fixed, wanted):
    compute = ComputeSpec(gpus_per_actor=share, actors=fixed)
    assert actors_wanted(compute, "cuda", Capacity(cpus=8, gpus=gpus), 100) == wanted


@given(st.lists(st.integers(0, 1), max_size=20), counts)
def test_after_those_that_are_too_many_go_decoding_has_a_cpu(held, cpus):
    capacity = Capacity(cpus=cpus, gpus=0)
    too_many = actors_too_many(held, capacity)
    left = sorted(held, reverse=True)[too_many:]
    assert sum(left) == 0 or sum(left) < cpus
    if too_many:
        assert sum(sorted(held, reverse=True)[too_many - 1 :]) > cpus - 1


@given(
    st.lists(st.integers(0, 1), max_size=20),
    counts,
    st.integers(1, 1 << 40),
    st.integers(1, 1 << 30),
    st.none() | st.integers(1, 9),
)
# One item, and room for a fifth value of it.
@example([], 0, 10 << 20, 1, None)
def test_clips_in_flight_fill_half_of_the_object_stores_and_no_more(held, cpus, store, clip, decoders):
    compute, capacity = ComputeSpec(decoders=decoders), Capacity(cpus=cpus, gpus=0, object_store_bytes=store)
    found = decode_window_size(compute, held, capacity, clip_bytes=clip)
    free = decode_window_size(compute, held, Capacity(cpus=cpus, gpus=0), clip_bytes=clip)
    assert (1 <= found.items <= free.items, free.values(free.items)) == (True, LEAST_VALUES)
    values = found.values(found.items)
    actors, unit = max(1, len(held)), max(clip, 1 << 20)
    in_flight = actors * found.items * values * unit
    # Fewer items only where the least of one more would not fit.
    assert found.items == free.items or actors * (found.items + 1) * LEAST_VALUES * unit > store / 2
    if values > LEAST_VALUES or (decoders is None and found.items > 1):
        assert in_flight <= store / 2
    # Less is left than one more value for each task.
    assert found.items < free.items or in_flight + actors * (found.items + 2) * unit >= store / 2
    # An actor that waits for clips may decode more items at once, each with fewer clips in flight.
    assert found.items <= found.most
    assert decoders is None or found.most == decoders
    if decoders is None and found.most > 1:
        assert actors * found.most * found.values(found.most) * unit <= store / 2
