"""Token models by name."""

import pytest

from bitmill.bsq_model.bundled import bundled_tokenizer
from bitmill.bsq_model.bundled.bundled_priors import BUNDLED_PRIORS
from bitmill.jobs.preparation.models.find_token_models import bundled_tokenizer_of, find_prior


@pytest.mark.parametrize("name", BUNDLED_PRIORS)
def test_a_bundled_prior_is_of_the_tokenizer_of_its_name(name: str):
    assert bundled_tokenizer_of(name) == name
    fingerprint = bundled_tokenizer(name).fingerprint
    prior = find_prior(fingerprint)
    assert prior is not None
    assert prior.tokenizer_fingerprint == fingerprint


def test_another_prior_is_taken_to_be_of_the_default_tokenizer():
    assert bundled_tokenizer_of("runs/prior/model") == "small-1"
