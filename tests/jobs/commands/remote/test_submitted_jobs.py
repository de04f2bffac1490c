"""Submitting: one job at a time for one dataset, whoever asks and however often; on a fake job server."""

import io
from pathlib import Path

import pytest

from bitmill.jobs.cluster.connection.job_api import SubmissionExistsError, SubmittedJob
from bitmill.jobs.commands.remote.submitted_jobs import follow_to_end, require_job, stop, submit
from bitmill.jobs.console import Console
from bitmill.jobs.preparation.submission_id import submission_of
from bitmill.pipeline.dataset.dataset_folder import require_card
from bitmill.pipeline.dataset.dataset_status import dataset_status
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import DATASET_FILE
from bitmill.schemas.errors import InfrastructureError, InterruptedJobError, UsageError
from bitmill.schemas.requests.job import JobSpec
from tests.support.datasets import make_dataset
from tests.support.fakes import make_job


class FakeApi:
    """Remembers jobs as a head does; a followed job ends as ``outcome`` says."""

    address = "http://head:8265"

    def __init__(self, outcome: tuple[str, int | None] = ("SUCCEEDED", 0)) -> None:
        self.known: dict[str, SubmittedJob] = {}
        self.outcome = outcome
        self.submitted: list[str] = []
        self.taken_by_another = False

    def put(self, name: str, state: str, exit_code: int | None = None, message: str = "") -> None:
        self.known[name] = SubmittedJob(
            submission_id=name, state=state, message=message, exit_code=exit_code, metadata={}
        )

    def submit(self, name: str, entrypoint: str, package: Path, variables: dict, metadata: dict) -> None:
        assert package.stat().st_size > 0
        self.put(name, "RUNNING")
        if self.taken_by_another:
            raise SubmissionExistsError(name)
        self.submitted.append(name)

    def jobs(self) -> list[SubmittedJob]:
        return list(self.known.values())

    def job(self, name: str) -> SubmittedJob | None:
        return self.known.get(name)

    def follow(self, name: str):
        yield "log\n"
        self.put(name, *self.outcome)

    def stop(self, name: str) -> bool:
        self.put(name, "STOPPED")
        return True


@pytest.fixture
def job(tmp_path) -> JobSpec:
    return make_job(output=str(tmp_path / "tokens"))


def _submit(job: JobSpec, api: FakeApi, *, follow: bool = True) -> tuple[int, str]:
    out = io.StringIO()
    code = submit(job, api, follow=follow, console=Console(file=out, width=400))  # type: ignore[arg-type]
    return code, out.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, 3, 4])
def test_a_followed_jobs_exit_code_is_the_commands(job, capsys, code):
    api = FakeApi(("SUCCEEDED" if code == 0 else "FAILED", code))
    assert _submit(job, api)[0] == code
    assert api.submitted == [submission_of(job)]
    assert capsys.readouterr().out == "log\n"


@pytest.mark.slow
def test_paths_are_told_as_places_that_every_node_must_see(job):
    _, out = _submit(job, FakeApi())
    assert f"note: {job.output} is a local path; every node" in out


@pytest.mark.slow
def test_a_running_job_is_followed_and_not_started_again(job):
    api = FakeApi()
    assert _submit(job, api, follow=False)[0] == 0
    code, out = _submit(job, api)
    assert code == 0
    assert "is already running on http://head:8265" in out
    assert len(api.submitted) == 1


@pytest.mark.slow
@pytest.mark.parametrize("state", ["FAILED", "STOPPED"])
def test_after_a_bad_end_the_next_attempt_resumes(job, state):
    api = FakeApi()
    base = submission_of(job)
    api.put(base, state, 5)
    api.put(f"{base}-2", state, 5)
    api.put("raysubmit_x", "RUNNING")
    _submit(job, api)
    assert api.submitted == [f"{base}-3"]


def test_a_complete_dataset_is_left_alone(job):
    make_dataset(job.output, [[4], [2]])
    place = Folder(job.output)
    card = require_card(place).model_copy(update={"totals": None})
    place.write_bytes(DATASET_FILE, card.to_json())
    totals = dataset_status(place).totals
    place.write_bytes(DATASET_FILE, card.model_copy(update={"totals": totals}).to_json())
    api = FakeApi()
    api.put(submission_of(job), "SUCCEEDED", 0)
    code, out = _submit(job, api)
    assert (code, api.submitted) == (0, [])
    assert "nothing to do" in out


@pytest.mark.slow
def test_a_dataset_that_is_gone_is_made_anew(job):
    api = FakeApi()
    api.put(submission_of(job), "SUCCEEDED", 0)
    _submit(job, api)
    assert api.submitted == [f"{submission_of(job)}-2"]


@pytest.mark.slow
def test_two_submitters_at_one_moment_follow_one_job(job):
    api = FakeApi()
    api.taken_by_another = True
    code, out = _submit(job, api)
    assert code == 0
    assert "by someone else" in out


@pytest.mark.parametrize(
    ("outcome", "message", "error", "sentence"),
    [
        (("STOPPED", None), "", InterruptedJobError, "was stopped; committed shards stay"),
        (("FAILED", -9), "", InfrastructureError, r"killed \(signal 9\)"),
        (
            ("FAILED", None),
            "no disk\nat line 3",
            InfrastructureError,
            r"did not run: no disk Fix that and submit it",
        ),
    ],
)
def test_how_a_job_ended_badly_is_a_sentence(outcome, message, error, sentence):
    api = FakeApi(outcome)
    api.put("bitmill-x", "RUNNING")
    put = api.put
    api.put = lambda name, state, code=None: put(name, state, code, message)  # type: ignore[method-assign]
    with pytest.raises(error, match=sentence):
        follow_to_end(api, "bitmill-x")  # type: ignore[arg-type]


def test_a_name_means_the_newest_attempt(job):
    api = FakeApi()
    base = submission_of(job)
    for name in (base, f"{base}-2", f"{base}-10"):
        api.put(name, "FAILED", 5)
    assert require_job(api, base).submission_id == f"{base}-10"  # type: ignore[arg-type]
    assert require_job(api, f"{base}-2").submission_id == f"{base}-2"  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="knows no job raysubmit_y"):
        require_job(api, "raysubmit_y")  # type: ignore[arg-type]


def test_stopping_waits_for_the_end_and_twice_does_no_harm():
    api, out = FakeApi(), io.StringIO()
    api.put("raysubmit_x", "RUNNING")
    for _ in range(2):
        stop(api, "raysubmit_x", Console(file=out, width=400))  # type: ignore[arg-type]
    assert "raysubmit_x has ended (stopped). Submit it again to resume." in out.getvalue()
    assert "has already ended (stopped)" in out.getvalue()
