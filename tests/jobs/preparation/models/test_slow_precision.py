"""Whoever trains in bfloat16 on a CPU without instructions for it is told so."""

import pytest
import torch

from bitmill.jobs.preparation.models.slow_precision import slow_precision


def test_a_cpu_of_avx2_alone_is_slow_in_bfloat16_alone(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    note = slow_precision("bfloat16", torch.device("cpu"))
    assert note is not None
    assert "compute.precision to float32" in note
    assert slow_precision("float32", torch.device("cpu")) is None
    assert slow_precision("bfloat16", torch.device("cuda")) is None


@pytest.mark.parametrize("capability", ["AVX512", "DEFAULT"])
def test_other_cpus_are_not_judged(monkeypatch, capability):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert slow_precision("bfloat16", torch.device("cpu")) is None
