"""How many actors a cluster gets: decoding keeps its CPUs, GPUs are filled, limits hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.sizing import Capacity, actor_cpus, actors_too_many, actors_wanted, window
from schemas.job import ComputeSpec

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
    assert window(ComputeSpec(), held, capacity) >= 2
    assert window(ComputeSpec(decoders=7), held, capacity) == 7


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
