"""Why an actor died, as Ray's own errors and the logs of its processes tell it."""

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayError, RayTaskError

from bitmill.jobs.cluster.tokenizing.actor_death import cause_of, left_with_its_node, loss_of
from bitmill.jobs.scheduling.actor_events import Loss


def _killed(pid: int) -> ActorDiedError:
    told = "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR "
    context = ActorDiedErrorContext(
        class_name="TokenizerActor",
        actor_id=b"\x01" * 16,
        pid=pid,
        error_message=f"{told}Worker exit detail: Worker unexpectedly exits with code 2. End of file.",
    )
    return ActorDiedError(context)


def test_what_a_constructor_raised_is_the_cause():
    try:
        raise ModuleNotFoundError("No module named 'decord'")
    except ModuleNotFoundError as error:
        raised = RayTaskError("__init__", "Traceback …\nModuleNotFoundError: No module named 'decord'", error)
    assert cause_of(ActorDiedError(raised)) == "ModuleNotFoundError: No module named 'decord'"


def test_a_process_that_died_is_told_with_its_last_words(tmp_path):
    (tmp_path / "worker-ab-01000000-77.err").write_text("odd\nOSError: libav.so: not found\n\n")
    (tmp_path / "worker-cd-01000000-78.err").write_text("another's\n")
    told = cause_of(_killed(77), tmp_path)
    assert told.startswith("its process's last output was: OSError: libav.so: not found (in ")
    assert f"{tmp_path}/worker-ab" in told
    assert cause_of(_killed(79), tmp_path) == "Worker unexpectedly exits with code 2. End of file."


def _never_ran() -> ActorDiedError:
    """As Ray tells it of an actor whose node left before its process was there."""
    context = ActorDiedErrorContext(
        class_name="TokenizerActor",
        actor_id=b"\x01" * 16,
        never_started=True,
        error_message="The actor died because its node has died.",
    )
    return ActorDiedError(context)


def _raised() -> ActorDiedError:
    return ActorDiedError(RayTaskError("__init__", "Traceback …\nValueError: no", ValueError("no")))


@pytest.mark.parametrize(
    ("error", "loss", "left"),
    [
        (_never_ran(), Loss.NODE_LOST, True),
        (_killed(77), Loss.DIED, False),
        (OutOfMemoryError("The node was low on memory."), Loss.OUT_OF_MEMORY, False),
        (_raised(), Loss.NODE_LOST, False),
    ],
)
def test_nodes_that_come_and_go_are_no_fault_of_the_actors_that_start_on_them(
    error: RayError, loss: Loss, left: bool
):
    assert (loss_of(error), left_with_its_node(error)) == (loss, left)
