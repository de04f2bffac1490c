"""Why an actor died in starting, as Ray's own errors and the logs of its processes tell it."""

from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError, RayTaskError

from bitmill.jobs.cluster.tokenizing.actor_death import cause_of


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
