"""Some nodes of a cluster lack the plugin's package: the job ends and says which, and what to install."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster as RayCluster

from tests.support.commands import ended, wait_until
from tests.support.ray_nodes import JOINING, NO_TOKEN, add_lean_node, lean_cluster
from tests.support.sabotage import Sabotage
from tests.support.toys import (
    bitmill_with_toys,
    expect_no_shard,
    expect_one_sentence,
    install_toys,
    make_media,
    toy_job,
    with_toys,
)

pytestmark = pytest.mark.ray


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    return install_toys(tmp_path / "toys")


@pytest.fixture
def sabotage(tmp_path: Path) -> Sabotage:
    (tmp_path / "sabotage").mkdir()
    return Sabotage(tmp_path / "sabotage")


@pytest.fixture
def nodes(toys: Path, sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayCluster]:
    """A head that has no CPU and needs no plugin, and a node that has it; nodes that join have it not."""
    for name, value in {**sabotage.environment, **NO_TOKEN}.items():
        monkeypatch.setenv(name, value)
    cluster = lean_cluster(num_cpus=0)
    site = os.environ["PYTHONPATH"]
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([site, str(toys)]))
        add_lean_node(cluster, num_cpus=2)
    yield cluster
    cluster.shutdown()


def test_they_are_named_when_they_join_and_when_a_job_begins(nodes, toys, sabotage, tmp_path):
    media = make_media(tmp_path / "media")
    job = toy_job(tmp_path / "job", media, "toy-video", compute={"actors": 2, "decoders": 1})
    words = ("tokenize", str(job), "--address", nodes.address)
    with sabotage.pause():
        process = with_toys(toys, *words, extra=JOINING)
        wait_until(sabotage.actors, "an actor at work")
        add_lean_node(nodes, num_cpus=4)
        joined = ended(process)
    expect_one_sentence(
        joined, r"On the node [\d.]+: The tokenizer plugin 'toy-video' is not .*: install bitmill-toys 1.0,"
    )
    began = bitmill_with_toys(toys, *words, extra=JOINING)
    expect_one_sentence(
        began, r"on 1 of 2 nodes of the cluster \([\d.]+\): install bitmill-toys 1.0 there, in the Python"
    )
    expect_no_shard(job.with_name("tokens"))
