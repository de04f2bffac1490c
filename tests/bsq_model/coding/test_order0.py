import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.bsq_model.coding.frequencies import TOTAL, frequencies_of_weights
from bitmill.bsq_model.coding.order0 import order0_model
from bitmill.schemas.models.geometry import Code


@settings(max_examples=20)
@given(st.integers(0, 99), st.sampled_from([1, 2, 3]), st.sampled_from([3, 1500, 2100]))
def test_counts_are_those_of_each_lane_and_place_alone(seed, group_bits, num_tokens):
    groups, lanes, num_values = 2, 2, 1 << group_bits
    symbols = np.random.default_rng(seed).integers(0, num_values, (num_tokens, groups, lanes))
    model = order0_model(Code.of_bits(groups * group_bits), group_bits).start(lanes, 1, 1)
    for token in symbols:
        for indices in token:
            assert (model.next_frequencies().sum(1) == TOTAL).all()
            model.push(indices)
    for group in range(groups):
        counts = [[16] * num_values for _ in range(lanes)]
        for number, token in enumerate(symbols, 1):
            for lane in range(lanes):
                counts[lane][token[group, lane]] += 32
            if number % 1024 == 0:
                counts = [[-(-count // 2) for count in row] for row in counts]
        assert np.array_equal(model.next_frequencies(), frequencies_of_weights(np.array(counts)))
        model.push(symbols[0, group])
